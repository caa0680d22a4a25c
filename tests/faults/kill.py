"""Kills -9 a run of two ranks at random moments, resumes it, and compares every loss with a whole run's.

    python -m tests.faults.kill --kills 100

The moments are drawn from a seed: half of them lie inside the writing of a checkpoint, the others anywhere
between the start of the processes and the export of the model. Most kills take all processes at once, as a
host that dies; some take one rank, and then the other must end by itself, with a message. The ranks run
`train.main`; they are forked from this process, which has imported what they need, so a start takes a second.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import statistics
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORLD = 2
TIMES = {"seconds", "tokens_per_second", "examples_per_second", "data_wait"}
CONFIG = {
    "run": "runs/x",
    "model": {
        "size": "toy",
        "overrides": {
            "d_model": 32, "num_heads": 2, "head_dim": 16, "encoder_layers": 1, "decoder_layers": 1,
            "d_ff": 48, "dropout": 0.1,
        },
    },
    "tokenizer": "toy",
    "tasks": ["toybox_vqa_count", "toybox_refer", "toybox_paraphrase"],
    "data": {"batch_size": 8, "workers": 1},
    "optim": {"lr": 0.01, "steps": 40, "warmup_steps": 3},
    "checkpoint": {"every_steps": 2, "keep": 2},
    "ema": 0.9,
    "eval": {"at_end": False},
    "track": ["jsonl"],
    "log_every": 1,
}  # fmt: skip
PATIENCE = 60.0
"""Seconds in which a rank must end after another died."""


class Job:
    """The ranks of one start of a run, each with its data workers a process group of its own."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.log = folder / "log.txt"
        self.start_of_log = self.log.stat().st_size if self.log.exists() else 0
        self.codes: dict[int, int] = {}
        self.begun = time.time()
        self.pids = [self._fork(folder, rank, port, overrides) for rank in range(WORLD)]
        self.started = time.monotonic()

    def _fork(self, folder: Path, rank: int, port: int, overrides: tuple[str, ...]) -> int:
        pid = os.fork()
        if pid:
            with contextlib.suppress(OSError):  # it did so itself
                os.setpgid(pid, pid)
            return pid
        try:
            os.setpgid(0, 0)
            os.chdir(folder)
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(log, 1), os.dup2(log, 2)
            os.environ |= {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(WORLD),
                "LOCAL_WORLD_SIZE": str(WORLD), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            }  # fmt: skip
            import train

            code = train.main(["x.yaml", *overrides])
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(99)

    def running(self) -> list[int]:
        """The ranks that have not ended."""
        for rank, pid in enumerate(self.pids):
            if rank not in self.codes:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    self.codes[rank] = os.waitstatus_to_exitcode(status)
        return [rank for rank in range(WORLD) if rank not in self.codes]

    def wait(self, patience: float) -> bool:
        """Whether all ranks ended within `patience` seconds."""
        end = time.monotonic() + patience
        while self.running():
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def kill(self, ranks: list[int]) -> None:
        """SIGKILL: to all with their data workers, or to one rank alone."""
        for rank in ranks:
            if rank not in self.codes:
                (os.killpg if len(ranks) == WORLD else os.kill)(self.pids[rank], signal.SIGKILL)

    def said(self) -> str:
        return self.log.read_bytes()[self.start_of_log :].decode(errors="replace")


def newest(run: Path) -> str:
    """The newest complete checkpoint, or an empty string."""
    return max((p.parent.name for p in (run / "checkpoints").glob("step_*/COMPLETE")), default="")


def touched(path: Path, since: float) -> bool:
    """Whether a folder is there and was changed after a moment of the system's clock: an earlier kill may
    have left it."""
    try:
        return path.stat().st_mtime > since
    except FileNotFoundError:
        return False


def half_saved(run: Path, since: float) -> list[Path]:
    """Checkpoints that are being written, or were when the run was killed."""
    found = sorted((run / "checkpoints").glob("step_*"))
    return [p for p in found if p.name > newest(run) and touched(p, since)]


def half_dropped(run: Path, since: float) -> list[Path]:
    """Older checkpoints that are being deleted."""
    found = (run / "checkpoints").glob("step_*")
    return [p for p in found if p.name < newest(run) and touched(p, since) and not (p / "COMPLETE").exists()]


def curve(run: Path) -> list[dict[str, float]]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


class Harness:
    """One setting (ZeRO stage), its whole run, and as many killed ones as it takes."""

    def __init__(self, folder: Path, draw: random.Random, zero: int) -> None:
        self.folder, self.draw = folder, draw
        self.overrides = (f"engine.zero={zero}",)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "x.yaml").write_text(json.dumps(CONFIG))
        self.whole = folder / "runs/whole"
        job = Job(folder, "run=runs/whole", *self.overrides)
        began: dict[str, float] = {}
        saves: dict[str, float] = {}
        while job.running():
            now = time.monotonic()
            for path in half_saved(self.whole, 0.0):
                saves[path.name] = now - began.setdefault(path.name, now)
            time.sleep(0.001)
        self.seconds = time.monotonic() - job.started
        self.to_first_save = min(began.values()) - job.started
        self.saves = len(saves)
        self.save_seconds = max(0.01, statistics.median(saves.values()))
        assert set(job.codes.values()) == {0}, job.said()
        self.expected = curve(self.whole)
        self.weights = (self.whole / "model/model.safetensors").read_bytes()

    def run(self, kills: int, counts: Counter[str]) -> list[str]:
        """Kills runs until `kills` are spent, the last run then ends in peace. Returns what went wrong."""
        problems: list[str] = []
        n = 0
        while kills or n == 0:
            n += 1
            run = self.folder / f"runs/killed_{n}"
            while True:
                killed, ended, problem = self._attempt(run, kills > 0, counts)
                kills -= killed
                if problem:
                    return [*problems, problem]
                if ended:
                    break
            counts["runs"] += 1
            ours = curve(run)
            if ours != self.expected:
                problems.append(first_difference(run, ours, self.expected))
            elif (run / "model/model.safetensors").read_bytes() != self.weights:
                problems.append(f"{run}: the losses are equal, the exported weights are not")
            counts["losses compared"] += len(ours)
            shutil.rmtree(run)
        return problems

    def _attempt(self, run: Path, kill: bool, counts: Counter[str]) -> tuple[int, bool, str | None]:
        """One start of the run: (kills, whether it came to its end, what is wrong)."""
        job = Job(self.folder, f"run=runs/{run.name}", *self.overrides)
        counts["starts"] += 1
        is_time = self._moment(run, job) if kill else lambda: False
        while job.running() and not is_time():
            time.sleep(0.0005)
        if not job.running():
            codes = set(job.codes.values())
            return 0, True, None if codes == {0} else f"{run}: ended with {codes}:\n{job.said()[-3000:]}"
        one = self.draw.random() < 0.15 and "step " in job.said()  # once they have met: see launch.MEETING
        victims = [self.draw.randrange(WORLD)] if one else list(range(WORLD))
        job.kill(victims)
        counts["kills"] += 1
        counts["kills of one rank"] += len(victims) == 1
        where = self._where(run, job)
        in_order = job.wait(PATIENCE)
        counts[f"kills {self._where(run, job) if len(victims) == WORLD else where}"] += 1
        problem = None
        if not in_order:
            job.kill(job.running())
            problem = f"{run}: rank {victims} was killed, the other ran on for {PATIENCE:.0f} s"
        elif len(victims) == 1:
            other = job.codes[1 - victims[0]]
            over = other == 0 and "done: " in job.said()
            if not over and (other != 1 or f"rank {victims[0]} " not in job.said()):
                problem = (
                    f"{run}: rank {victims} was killed, the other ended with {other}:\n{job.said()[-3000:]}"
                )
        return 1, False, problem

    def _where(self, run: Path, job: Job) -> str:
        if half_saved(run, job.begun):
            return "in a save"
        if half_dropped(run, job.begun):
            return "while an old checkpoint is dropped"
        said = job.said()
        if touched(run / ".model.new", job.begun):
            return "in the export"
        if re.search(r"^step ", said, flags=re.M):
            return "in training"
        return "before the first step"

    def _moment(self, run: Path, job: Job) -> Callable[[], bool]:
        """A condition that becomes true at a drawn moment of what is left of the run."""
        kind = self.draw.random()
        done = int(newest(run).removeprefix("step_") or 0)
        saves_left = (CONFIG["optim"]["steps"] - done) // CONFIG["checkpoint"]["every_steps"]
        if not saves_left and kind < 0.5:
            return lambda: False  # let it end
        if kind < 0.5:  # a while after the nth new checkpoint folder has appeared
            left, after = self.draw.randint(1, min(4, saves_left)), self.draw.uniform(0, self.save_seconds)
            known: set[str] = set()
            since = 0.0

            def in_a_save() -> bool:
                nonlocal left, since
                for path in half_saved(run, job.begun):
                    if path.name not in known:
                        known.add(path.name)
                        left -= 1
                        since = time.monotonic()
                return left <= 0 and time.monotonic() - since >= after

            return in_a_save
        if kind < 0.6:  # while the model is exported
            after = self.draw.uniform(0, 0.1)
            seen: list[float] = []

            def in_the_export() -> bool:
                if not seen and touched(run / ".model.new", job.begun):
                    seen.append(time.monotonic())
                return bool(seen) and time.monotonic() - seen[0] >= after

            return in_the_export
        left_seconds = (self.seconds - self.to_first_save) * saves_left / self.saves
        late = 0 if kind < 0.7 else 0.9 * left_seconds  # before the first save, or anywhere
        moment = job.started + self.draw.uniform(0, self.to_first_save + late)
        return lambda: time.monotonic() >= moment


def first_difference(run: Path, ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> str:
    for a, b in zip(ours, theirs, strict=False):
        if a != b:
            keys = [k for k in a.keys() | b.keys() if a.get(k) != b.get(k)]
            return f"{run}: step {b['step']} differs: " + ", ".join(
                f"{k} {a.get(k)} != {b.get(k)}" for k in keys
            )
    return f"{run}: has {len(ours)} steps, the whole run {len(theirs)}"


def preload() -> None:
    """Imports what a rank imports, so that a fork has it. Starts no thread."""
    import deepspeed  # noqa: F401
    import torch  # noqa: F401

    import train  # noqa: F401
    from unified.evaluation import evaluator, model_folder  # noqa: F401
    from unified.training import checkpoints, engine, export, launch, loop, setup  # noqa: F401


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Kill a run of two ranks, resume it, compare its losses.")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--zero", type=int, nargs="+", default=[0, 2], help="ZeRO stages, kills in turn")
    args = parser.parse_args(argv)
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.path.insert(0, str(ROOT))
    preload()
    counts: Counter[str] = Counter()
    problems = []
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for i, zero in enumerate(args.zero):
            share = len(range(i, args.kills, len(args.zero)))
            harness = Harness(Path(folder) / f"zero{zero}", random.Random(f"{args.seed} {zero}"), zero)
            print(f"zero {zero}: a whole run takes {harness.seconds:.1f} s, a save "
                  f"{1000 * harness.save_seconds:.0f} ms", flush=True)  # fmt: skip
            problems += harness.run(share, counts)
    print(f"{time.monotonic() - started:.0f} s; " + ", ".join(f"{v} {k}" for k, v in sorted(counts.items())))
    print(
        "\n".join(problems) or "every loss and all exported weights are those of the whole runs, bit for bit"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
