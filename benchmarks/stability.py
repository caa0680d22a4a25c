"""A run of two ranks that is killed again and again, beside one that is not: the same losses to the bit?

    python benchmarks/stability.py --minutes 60 --every 5

Both train the toy shape on the toybox, packed, from random weights. Every few minutes all processes of the
first get SIGKILL, wherever they are, and the same command starts again. After the time both are asked to
stop. Prints the number of kills, of steps done again, and the largest difference between the two curves; exit
code 1 where they differ.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from unified.specs.load import to_yaml
from unified.training.loop import TIMES

TRAIN = Path(__file__).parents[1] / "train.py"
CONFIG = {
    "model": {"size": "toy"},
    "tokenizer": "toy",
    "mixture": "toybox",
    "data": {"batch_size": 16, "workers": 1, "packing": {"encoder": 432, "decoder": 168}},
    "optim": {"lr": 1e-3, "embedding_lr": 10, "warmup_steps": 100, "schedule": "constant", "steps": 10**6},
    "engine": {"zero": 1},
    "checkpoint": {"every_steps": 25, "keep": 2},
    "track": ["jsonl"],
    "log_every": 1,
}


class Job:
    """Two ranks of one run, each a process group of its own with one thread."""

    def __init__(self, run: Path) -> None:
        self.run, self.config = run, run.with_suffix(".yaml")
        self.config.write_text(to_yaml({"run": str(run), **CONFIG}))
        self.ranks: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        shared = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
                  "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}  # fmt: skip
        with self.run.with_suffix(".log").open("ab") as log:
            self.ranks = [
                subprocess.Popen(
                    [sys.executable, TRAIN, self.config],
                    env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                    stdout=log, stderr=log, start_new_session=True,
                )
                for rank in range(2)
            ]  # fmt: skip

    def signal(self, number: int) -> list[int]:
        """Sends a signal to every process of the job; the exit codes of the ranks."""
        for rank in self.ranks:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(rank.pid, number)
        return [rank.wait() for rank in self.ranks]

    def alive(self) -> bool:
        return all(rank.poll() is None for rank in self.ranks)

    def curve(self) -> dict[int, dict[str, float]]:
        """What was logged of each step, without times."""
        lines = (self.run / "metrics.jsonl").read_text().splitlines()
        steps = [json.loads(line) for line in lines if line.endswith("}")]
        return {s["step"]: {k: v for k, v in s.items() if k not in TIMES} for s in steps}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--every", type=float, default=5, help="minutes between kills")
    parser.add_argument("--out", type=Path, default=None, help="folder to keep both runs in")
    args = parser.parse_args()
    folder = args.out or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    killed, calm = Job(folder / "killed"), Job(folder / "calm")
    for job in (killed, calm):
        job.start()
    end, kills = time.monotonic() + 60 * args.minutes, 0
    again = 0
    while time.monotonic() < end:
        time.sleep(min(60 * args.every, max(0.0, end - time.monotonic())))
        if not (killed.alive() and calm.alive()):
            print(f"a run has ended by itself; see {folder}/*.log")
            return 1
        if time.monotonic() < end:
            before = max(killed.curve(), default=0)
            killed.signal(signal.SIGKILL)
            kept = sorted((killed.run / "checkpoints").glob("step_*/COMPLETE"))
            again += before - (int(kept[-1].parent.name.removeprefix("step_")) if kept else 0)
            killed.start()
            kills += 1
            print(f"kill {kills} at step {before:,}", flush=True)
    codes = [job.signal(signal.SIGTERM) for job in (killed, calm)]
    ours, theirs = killed.curve(), calm.curve()
    common = sorted(ours.keys() & theirs.keys())
    worst = max((abs(ours[s]["loss"] - theirs[s]["loss"]) for s in common), default=float("nan"))
    same = [step for step in common if ours[step] == theirs[step]]
    print(f"{kills} kills in {args.minutes:g} minutes, {again:,} steps done again; exit codes {codes}")
    print(f"steps {len(ours):,} (killed) and {len(theirs):,} (calm), {len(common):,} in both")
    for step in (common[0], common[-1]) if common else ():
        print(f"loss at step {step:,}: {ours[step]['loss']:.6f} and {theirs[step]['loss']:.6f}")
    print(f"largest difference {worst:g}; all values equal in {len(same):,} of {len(common):,} steps")
    return 0 if common and len(same) == len(common) else 1


if __name__ == "__main__":
    sys.exit(main())
