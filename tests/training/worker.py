"""One rank of the engine tests: runs stages one after another, rank 0 writes what they returned as JSON.

python worker.py OUT ACCUMULATION STAGE...
"""

import json
import sys
from pathlib import Path

from unified.training.launch import prepare_environment

prepare_environment()

import synthetic  # noqa: E402
import torch  # noqa: E402

from unified.errors import UserError  # noqa: E402
from unified.objectives.base import build_objective  # noqa: E402
from unified.training import checkpoints, launch  # noqa: E402
from unified.training.config import RunConfig  # noqa: E402
from unified.training.engine import TrainEngine  # noqa: E402
from unified.training.loop import Trainer  # noqa: E402

RANKS = launch.start()
OUT, ACCUMULATION = Path(sys.argv[1]), int(sys.argv[2])


class Run:
    """A model of made-up tasks in training."""

    def __init__(
        self, zero, *, precision="fp32", ema=None, dropout=0.0, lr=1e-2, name="adamw", on_nan="stop"
    ):
        self.config = RunConfig.model_validate(
            {
                "run": str(OUT.parent / f"run_{OUT.stem}_{zero}"),
                "model": {"size": "toy"},
                "tokenizer": "toy",
                "mixture": "made_up",
                "data": {"batch_size": 12},
                "optim": {
                    "name": name,
                    "lr": lr,
                    "steps": 100,
                    "clip": 1.0,
                    "weight_decay": 0.1,
                    "embedding_lr": 3.0,
                },
                "engine": {"zero": zero, "precision": precision},
                "ema": ema,
                "on_nan": on_nan,
            }
        )
        model = synthetic.model(dropout=dropout)
        self.engine = TrainEngine(model, self.config, RANKS, 12 // (RANKS.world * ACCUMULATION))
        objective = build_objective("seq2seq", synthetic.TASKS)
        self.trainer = Trainer(self.engine, objective, synthetic.TASKS, self.config, RANKS, None)

    def step(self, n, batches=None):
        batches = batches or synthetic.micro_batches(n, RANKS.rank, RANKS.world, ACCUMULATION)
        agreed = self.trainer.agree(batches, 0.0, 0, False)
        report = self.trainer.step(n, batches, agreed, 0.0)
        return [float(report.sums[0].sum() / agreed.weight), report.grad_norm, report.tokens]

    def steps(self, first, last):
        return [self.step(n) for n in range(first, last)]

    def digest(self):
        """Sum and absolute sum of the exported weights, with their names and shapes."""
        weights = self.engine.weights()
        values = [w.double() for w in weights.values()]
        return {
            "shapes": {k: list(v.shape) for k, v in weights.items()},
            "sums": [sum(float(v.sum()) for v in values), sum(float(v.abs().sum()) for v in values)],
        }

    def meta(self, step):
        return checkpoints.Meta.of(self.config, step, 0.0, RANKS.world, "hash", {}, {}, {}, {})


def losses():
    out = {str(zero): Run(zero).steps(0, 3) for zero in range(4)}
    out["adafactor"] = Run(0, name="adafactor").steps(0, 3)
    out["autocast"] = Run(0, precision="autocast_bf16").steps(0, 3)
    return out


def bf16():
    out = {}
    for zero in (1, 2, 3):
        run = Run(zero, precision="bf16", ema=0.9)
        out[str(zero)] = {"steps": run.steps(0, 3), "digest": run.digest()}
    return out


def unlike_ranks():
    """Under ZeRO-3 the first rank sees words only, the last one pictures and picture answers only."""
    run = Run(3)
    out = []
    for n in range(3):
        task = "text" if RANKS.rank == 0 else "paint"
        mine = [synthetic.batch([synthetic.example(100 * n + i, task) for i in range(6)])] * ACCUMULATION
        out.append(run.step(n, mine))
    return out


def resume():
    """Four steps at a stretch, and two, a save, another engine, two more."""
    out = {}
    for zero in (0, 2, 3):
        whole = Run(zero, dropout=0.1, ema=0.9)
        expected = whole.steps(0, 4)
        first = Run(zero, dropout=0.1, ema=0.9)
        got = first.steps(0, 2)
        path = checkpoints.save_checkpoint(first.engine, RANKS, first.config.folder, first.meta(2), keep=1)
        second = Run(zero, dropout=0.1, ema=0.9)
        second.step(7)  # so that its state is another
        checkpoints.load_checkpoint(second.engine, path, first.meta(2))
        got += second.steps(2, 4)
        out[str(zero)] = {"expected": expected, "got": got, "digests": [whole.digest(), second.digest()]}
    return out


def weights():
    out = {}
    for zero in (0, 3):
        plain, mean = Run(zero), Run(zero, ema=0.9)
        plain.steps(0, 2)
        mean.steps(0, 2)
        out[str(zero)] = {"plain": plain.digest(), "mean": mean.digest()}
    return out


def not_a_number():
    run = Run(0)
    batches = synthetic.micro_batches(0, RANKS.rank, RANKS.world, ACCUMULATION)
    for batch in batches:
        if "images" in batch.inputs:
            batch.inputs["images"][batch.inputs["patch_mask"].any(-1)] = torch.nan
    try:
        run.step(0, batches)
    except UserError as error:
        return str(error)
    return None


def poisoned(n):
    """The batches of step n with a picture of this step, on the last rank alone, that is no number."""
    batches = synthetic.micro_batches(n, RANKS.rank, RANKS.world, ACCUMULATION)
    if RANKS.rank == RANKS.world - 1:
        batches[0].inputs["images"][batches[0].inputs["patch_mask"].any(-1)] = torch.nan
    return batches


def left_out():
    """Steps 1 and 2 alone, and between steps 0 and 3, which are left out; the records of those."""
    out = {}
    for zero in range(4):
        plain = Run(zero, ema=0.9)
        expected = plain.steps(1, 3)
        run = Run(zero, ema=0.9, on_nan="skip")
        if RANKS.main:
            run.config.folder.mkdir(exist_ok=True)
        skipped = [run.step(0, poisoned(0))]
        got = run.steps(1, 3)
        skipped.append(run.step(3, poisoned(3)))
        records = sorted((run.config.folder / "not_a_number").glob("*.json")) if RANKS.main else []
        out[str(zero)] = {
            "expected": expected,
            "got": got,
            "skipped": [norm for _, norm, _ in skipped],
            "digests": [plain.digest(), run.digest()],
            "records": {file.name: json.loads(file.read_text()) for file in records},
        }
    return out


def too_many_left_out():
    run = Run(0, on_nan="skip")
    try:
        for n in range(100):
            run.step(n, poisoned(n))
    except UserError as error:
        return [n, str(error)]
    return None


def agreement():
    trainer = Run(0).trainer
    last = RANKS.rank == RANKS.world - 1
    batches = synthetic.micro_batches(0, RANKS.rank, RANKS.world, ACCUMULATION)
    calm = trainer.agree(batches, 5.0 + RANKS.rank, 0, False)
    stopped = trainer.agree(None if last else batches, 5.0, 15 if last else 0, last)
    return [[a.weight, a.seconds, a.signal, a.failed] for a in (calm, stopped)]


results = {name: globals()[name]() for name in sys.argv[3:]}
if RANKS.main:
    OUT.write_text(json.dumps(results))
launch.stop()
