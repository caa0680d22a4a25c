"""One rank of a run whose ranks hold different kinds of examples in each step; rank 0 writes the losses.

python zero3_worker.py OUT CASE...    where a case is NAME:KEY=VALUE,... of `losses`
"""

import json
import sys
from pathlib import Path

from unified.training.launch import prepare_environment

prepare_environment()

import synthetic  # noqa: E402
import torch  # noqa: E402

from unified.objectives.base import build_objective  # noqa: E402
from unified.training import engine as engines  # noqa: E402
from unified.training import launch  # noqa: E402
from unified.training.config import RunConfig  # noqa: E402
from unified.training.loop import Trainer  # noqa: E402

RANKS = launch.start()
STEPS = 6
EXAMPLES = 4
# so small that every weight is split and gathered, and gradients are sent a few at a time
engines.BUCKET, engines.PERSISTENT = 3000, 0


def losses(zero=1, packed=False, checkpointing=False, precision="fp32", micro=1, offload=None, alike=False):
    """Loss and gradient norm of each step. In step n rank r holds the kind n + r, so that all pairs occur."""
    config = RunConfig.model_validate(
        {
            "run": "unused",
            "model": {"size": "toy"},
            "tokenizer": "toy",
            "mixture": "made_up",
            "data": {"batch_size": EXAMPLES * micro * RANKS.world},
            "optim": {"lr": 0.01, "steps": 100},
            "engine": {
                "zero": zero, "precision": precision, "activation_checkpointing": checkpointing,
                "offload": offload,
            },
        }
    )  # fmt: skip
    engine = engines.TrainEngine(synthetic.model(), config, RANKS, EXAMPLES)
    if zero == 3:
        split = [p for p in engine.module.parameters() if p.data.numel() == 0]
        assert len(split) == len(list(engine.module.parameters())), "some weights are not split: no test"
    assert engine.deepspeed.zero_use_cpu_optimizer() == (offload is not None)
    assert (engine.deepspeed.zero_offload_param() is not None) == (offload == "all")
    trainer = Trainer(
        engine, build_objective("seq2seq", synthetic.TASKS), synthetic.TASKS, config, RANKS, None
    )
    out = []
    for n in range(STEPS):
        mine = []
        for part in range(micro):
            kind = synthetic.TASKS[(n + part + (0 if alike else RANKS.rank)) % 3]
            first = 100 * n + 10 * part + 50 * RANKS.rank
            examples = [synthetic.example(first + i, kind) for i in range(EXAMPLES)]
            # another number of rows on each rank, too
            mine.append(synthetic.packed(examples, 1 + RANKS.rank) if packed else synthetic.batch(examples))
        report = trainer.step(n, mine, trainer.agree(mine, 0.0, 0, False), 0.0)
        out.append([float(report.sums[0].sum() / report.sums[1].sum()), report.grad_norm])
    return out


def parse(text):
    name, _, options = text.partition(":")
    return name, {
        key: json.loads(value) for key, value in (item.split("=") for item in options.split(",") if item)
    }


torch.manual_seed(0)
results = {name: losses(**options) for name, options in map(parse, sys.argv[2:])}
if RANKS.main:
    Path(sys.argv[1]).write_text(json.dumps(results))
launch.stop()
