"""`unified checkpoint` on the checkpoints of real runs."""

import json

import pytest
import torch
from processes import ROOT, run
from safetensors.torch import load_file

from unified.cli import main
from unified.specs.load import to_yaml
from unified.training.checkpoints import complete

RUNS = [(0, 0.9), *(pytest.param(run, marks=pytest.mark.slow) for run in [(2, None), (3, None), (3, 0.9)])]
"""ZeRO stage, decay of the running mean."""


@pytest.fixture(scope="module", params=RUNS, ids=str)
def trained(request, tmp_path_factory, run_config):
    """The folder of a run of two ranks, and its ZeRO stage."""
    zero, ema = request.param
    folder = tmp_path_factory.mktemp("checkpoint")
    changes = {"engine": {"zero": zero}, "ema": ema, "optim": {"lr": 0.01, "steps": 2}}
    (folder / "x.yaml").write_text(to_yaml({**run_config, **changes}))
    results = run(2, ROOT / "train.py", "x.yaml", cwd=folder)
    assert [code for code, *_ in results] == [0, 0], results
    return folder / "runs/x", zero


def test_info(trained, capsys):
    folder, zero = trained
    assert main(["checkpoint", "info", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "2, 16 examples" in out and f"2 rank(s), engine.zero={zero}, fp32, adamw" in out
    assert "toybox_depth@v1:" in out and "25.000%" in out


def test_export_is_what_training_exports(trained, tmp_path, capsys):
    folder, _ = trained
    assert main(["checkpoint", "export", str(folder), "--out", str(tmp_path / "again")]) == 0
    theirs, ours = (load_file(f / "model/model.safetensors") for f in (folder, tmp_path / "again"))
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        torch.testing.assert_close(weight, theirs[name], atol=1e-6, rtol=0)
    history = json.loads((tmp_path / "again/model/history.json").read_text())
    assert history[-1]["steps"] == 2 and "checkpoint export" in history[-1]["command"]


def test_convert(trained, tmp_path, capsys):
    folder, zero = trained
    code = main(["checkpoint", "convert", str(folder), "--out", str(tmp_path / "universal")])
    if zero == 0:
        assert code == 2 and "any number of ranks can continue it as it is" in capsys.readouterr().err
        return
    assert code == 0 and (tmp_path / "universal/zero/token_embedder.weight/exp_avg.pt").exists()
    assert not list(tmp_path.glob("*.tmp"))
    assert main(["checkpoint", "convert", str(folder), "--out", str(tmp_path / "universal")]) == 2
    assert "is there already" in capsys.readouterr().err


def test_damage_is_one_message(trained, tmp_path, capsys):
    folder, zero = trained
    (newest,) = complete(folder)
    assert main(["checkpoint", "info", str(tmp_path)]) == 2
    assert "no complete checkpoint" in capsys.readouterr().err
    for file in newest.glob("*.pt"):
        file.write_bytes(file.read_bytes()[:100])
    assert main(["checkpoint", "export", str(folder), "--out", str(tmp_path / "again")]) == 2
    assert "its weights cannot be read" in capsys.readouterr().err and not (tmp_path / "again").exists()
