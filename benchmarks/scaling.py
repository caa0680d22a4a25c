"""Tokens a second of one process and of two, each with one thread: what is lost in exchanging gradients.

    python benchmarks/scaling.py
    python benchmarks/scaling.py data.batch_size=128 data.micro_batch=16  # gradients are exchanged less often

The same steps on one process and on two (half a batch each), each reading its own data (`data.workers=0`: a
worker of the one process would use the second core); the second half of the steps counts. A ratio of 2 would
be perfect; memory bandwidth, which two cores share, is part of what is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def tokens_per_second(processes: int, config: str, steps: int, overrides: list[str]) -> float:
    """The median over the second half of the steps, by the run's own log."""
    with tempfile.TemporaryDirectory() as folder:
        changes = [
            f"run={folder}/run", f"optim.steps={steps}", "optim.minutes=null", "eval.at_end=false",
            "log_every=1", "track=[jsonl]", "data.workers=0", *overrides,
        ]  # fmt: skip
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        subprocess.run(
            [sys.executable, *launch, str(ROOT / "train.py"), config, *changes],
            env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        lines = (Path(folder) / "run/metrics.jsonl").read_text().splitlines()
    rates = [json.loads(line)["tokens_per_second"] for line in lines]
    return statistics.median(rates[len(rates) // 2 :])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="demo", help="name or path of a run config")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_intermixed_args()
    rates = {n: tokens_per_second(n, args.config, args.steps, args.overrides) for n in (1, 2)}
    print(f"{args.config}, {args.steps} steps, one thread a process, {os.cpu_count()} cores")
    print(f"{'processes':>10}{'tokens/s':>12}{'ratio':>8}")
    for n, rate in rates.items():
        print(f"{n:>10}{rate:>12,.0f}{rate / rates[1]:>8.2f}")


if __name__ == "__main__":
    main()
