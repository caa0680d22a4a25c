"""Jobs of several ranks, what they log, and how far they are."""

import json

from processes import ROOT, finish, run, start

from unified.training.loop import TIMES

__all__ = ["TRAIN", "curve", "finish", "run", "run_until", "start"]
TRAIN = ROOT / "train.py"


def curve(run):
    """The logged values of each step without those that are times."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


def run_until(step, world, *arguments, **options):
    """The processes of a job whose rank 0 has said that a step is done."""
    processes = start(world, TRAIN, "x.yaml", *arguments, **options)
    for line in processes[0].stdout:
        if line.startswith(f"step {step} "):
            break
    return processes
