"""Jobs of several ranks, what they log, and how far they are."""

import json

from processes import ROOT, finish, run, start

from unified.training.loop import TIMES

__all__ = ["TRAIN", "curve", "finish", "run", "run_until", "start", "write_config"]
TRAIN = ROOT / "train.py"
SHAPE = {
    "d_model": 32, "num_heads": 2, "head_dim": 16, "encoder_layers": 1, "decoder_layers": 1, "d_ff": 48,
}  # fmt: skip
CONFIG = {
    "run": "runs/x", "model": {"size": "toy", "overrides": SHAPE}, "tokenizer": "toy",
    "tasks": ["toybox_vqa_count", "toybox_refer"], "data": {"batch_size": 8, "workers": 1},
    "optim": {"lr": 0.01, "steps": 24, "schedule": "constant"}, "engine": {"zero": 2},
    "checkpoint": {"every_steps": 2, "keep": 2}, "eval": {"at_end": False}, "track": ["jsonl"],
    "log_every": 1,
}  # fmt: skip


def write_config(folder, **changes):
    (folder / "x.yaml").write_text(json.dumps({**CONFIG, **changes}))
    return folder


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
