import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "training"))

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


@pytest.fixture
def config(tmp_path):
    """Writes x.yaml, a run of a tiny model, with changes to it; the folder that it is in."""
    return lambda **changes: write_config(tmp_path, **changes)


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """What two ranks log of that run when nothing happens to them."""
    from jobs import TRAIN, curve, run

    folder = write_config(tmp_path_factory.mktemp("whole"))
    results = run(2, TRAIN, "x.yaml", cwd=folder)
    assert [code for code, *_ in results] == [0, 0], results
    return curve(folder / "runs/x")
