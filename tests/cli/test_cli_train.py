"""Bad input to train.py: configs, changes to them, weights, checkpoints."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def train(monkeypatch, refused):
    """Runs train.py in this process, up to its engine; what it says when it refuses."""
    import torch

    import train
    from unified.training import launch

    class Reached(Exception):
        """The engine would be built now: nothing was refused."""

    def engine(*_):
        raise Reached

    environment = dict(os.environ)
    alone = launch.Ranks(0, 1, 0, torch.device("cpu"), None)
    monkeypatch.setattr(launch, "start", lambda: alone)
    monkeypatch.setattr("unified.training.engine.TrainEngine", engine)
    yield lambda *argv: refused(*argv, run=train.main)
    os.environ.clear()
    os.environ.update(environment)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("gone.yaml", "gone.yaml: there is no such file"),
        ("gone", "unknown config 'gone'; there are demo, "),
        ("tyo", "unknown config 'tyo' (did you mean 'toy'?)"),
        ("empty.yaml", "empty.yaml:1: optim: a required key is missing"),
        ("list.yaml", "list.yaml:1: must be a mapping"),
        ("broken.yaml", "broken.yaml:2: not valid YAML"),
        ("binary.yaml", "binary.yaml:1: the file is not UTF-8 text"),
        ("folder.yaml", "folder.yaml: cannot be read: Is a directory"),
        ("run.yaml seed", "seed: write a change as key=value"),
        ("run.yaml sed=1", "override sed=1: sed: unknown key 'sed' (did you mean 'seed'?)"),
        ("run.yaml optim.lrate=1", "override optim.lrate=1: optim.lrate: unknown key 'lrate'"),
        ("run.yaml data=1", "override data=1: data: must be a mapping, not 1"),
        (
            "run.yaml data.batch_size=-1",
            "override data.batch_size=-1: data.batch_size: must be at least 1, not -1",
        ),
        ("run.yaml optim.lr=inf", "override optim.lr=inf: optim.lr: "),
        ("run.yaml optim.betas=[2,3]", "optim.betas[0]: must be less than 1, not 2"),
        ("run.yaml optim.lr=[1", "optim.lr=[1: the value is not valid YAML"),
        ("run.yaml seed=99999999999999999999", "override seed=99999999999999999999: seed: must be less than"),
        ("run.yaml track=[tensorbord]", "unknown tracker 'tensorbord' (did you mean 'tensorboard'?)"),
        ("run.yaml tasks=[] mixture=toybx", "unknown mixture 'toybx' (did you mean 'toybox'?)"),
        ("run.yaml tasks=[toybox_refr]", "unknown task 'toybox_refr' (did you mean 'toybox_refer'?)"),
        ("run.yaml tasks=[tag:nonsense]", "no task has the tag 'nonsense'"),
        ("run.yaml tasks=[gone.yaml]", "gone.yaml: there is no such file"),
        ("run.yaml tasks=[broken.yaml]", "broken.yaml:2: not valid YAML"),
        ("run.yaml tasks=[gone_task.yaml]", "source.splits.train: no such file: "),
        ("run.yaml tasks=[empty_task.yaml]", "empty.csv holds no rows under a header"),
        ("run.yaml tasks=[toybox_story]", "images, but the model takes at most 2 (max_images)"),
        (
            "run.yaml tasks=[rows_task.yaml] eval.at_end=true",
            "eval.split: no task has a split 'validation'; there are",
        ),
        ("run.yaml eval.at_end=true eval.split=validatoin", "'validatoin' (did you mean 'validation'?)"),
        ("run.yaml tokenizer=gone", "tokenizer set 'gone': no such set"),
        ("run.yaml tokenizer=tyo", "tokenizer set 'tyo': no such set (did you mean 'toy'?)"),
        ("run.yaml model.size=huge", "model size 'huge' is not known; there are toy, small, base, large, xl"),
        ("run.yaml model.overrides.d_modl=8", "unknown field 'd_modl' (did you mean 'd_model'?)"),
        ("run.yaml model.overrides.d_model=-3", "d_model is -3, must be a whole number of at least 1"),
        ("run.yaml model.overrides.d_model=x", "d_model is 'x', must be a whole number of at least 1"),
        ("run.yaml model.overrides.patch_size=7", "image_size 32 is not a multiple of patch_size 7"),
        ("run.yaml model.overrides.image_mean=3", "image_mean and image_std have three numbers each"),
        (
            "run.yaml model.overrides.encoder_max_text_length=9",
            "encoder_max_text_length is 9, must be a multiple",
        ),
        ("run.yaml model.overrides.d_model=99999999999", "the memory of this machine does not hold it"),
        ("run.yaml init=gone model.size=null", "gone: there is no such model"),
        ("run.yaml init=folder model.size=null", "folder: is no model folder"),
        ("run.yaml init={run} model.size=null tokenizer=unified_io", ": made with the tokenizer set "),
        ("run.yaml init={run} model.size=null model.overrides.d_ff=64", "weights have other shapes"),
        (
            "run.yaml init={run} model.size=null model.overrides.dropout=x",
            "dropout is 'x', must be in [0, 1)",
        ),
        ("run.yaml run=rows.csv", "run: rows.csv: a file of that name is in the way of a folder"),
        ("run.yaml run=rows.csv/x", "run: rows.csv/x: a part of that path is a file"),
        ("run.yaml --resume gone", "--resume gone: there is no such folder"),
        ("run.yaml --resume folder", "folder: is no complete checkpoint (its file COMPLETE is missing)"),
    ],
)
def test_train(run, train, arguments, message):
    assert message in train(*arguments.format(run=run).split())


def checkpoint(run, files=(), **changes):
    """A complete checkpoint of the run in run.yaml at step 1, as its meta.json has it, with `changes`."""
    from unified.data.dataset import open_tasks
    from unified.evaluation.model_folder import build_processor
    from unified.tokenization.tokenizer_set import TokenizerSet
    from unified.training import checkpoints, setup
    from unified.training.config import load_config

    config = load_config("run.yaml", [f"run={run}"])
    tokenizers = TokenizerSet.load(config.tokenizer)
    model = setup.build_model(config, tokenizers)
    build_processor(model.config, tokenizers)
    data = open_tasks(setup.load_tasks(config), "train")
    tasks = {d.task.name: d.task.identity for d in data}
    rows = {d.task.name: len(d.source) for d in data}
    meta = checkpoints.Meta.of(
        config, 1, 1.0, 1, tokenizers.hash, tasks, rows, dict.fromkeys(tasks, 1.0), model.config.to_dict()
    )
    folder = Path(run) / checkpoints.FOLDER / checkpoints.tag_of(1)
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps({**meta.__dict__, **changes}))
    for name in (*files, "COMPLETE"):
        (folder / name).write_bytes(b"\x93\xfa\x00\xff")
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokenizer": "0" * 64}, "its tokenizer set is 000000000000, this run's "),
        ({"tasks": {"other": "other@v1:1"}}, "task other: was other@v1:1, is not there"),
        ({"seed": 7}, "seed was 7 and is 0"),
        ({"zero": 3}, "cannot bring the optimizer state of engine.zero=3 to 0"),
        ({"step": "two"}, "meta.json: cannot be read (step: "),
        ({"model": {}}, "the model's d_model: was not there, is 16"),
    ],
)
def test_a_checkpoint_of_another_run(train, here, changes, message):
    checkpoint("runs/new", **changes)
    assert message in train("run.yaml")


@pytest.mark.parametrize("text", [b"{", b"[]", b"\x93\xfa\x00\xff", b'{"step": 1}'])
def test_a_checkpoint_with_a_broken_meta(train, here, text):
    (checkpoint("runs/new") / "meta.json").write_bytes(text)
    assert "meta.json: cannot be read" in train("run.yaml")


def test_none_never_overwrites(train, here):
    checkpoint("runs/new")
    assert "holds the checkpoints of an earlier run" in train("run.yaml", "--resume", "none")


def test_a_damaged_checkpoint_stays(here, contents):
    """Its state is read by DeepSpeed, in a process of its own; another complete one is named."""
    folder = checkpoint("runs/new", files=["mp_rank_00_model_states.pt"])
    other = folder.with_name("step_00000000")
    shutil.copytree(folder, other)
    before = contents(here / "runs/new/checkpoints")
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", "run.yaml"], capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "step_00000001: its state cannot be read (" in done.stderr
    assert f"continue from another: --resume {other}" in done.stderr
    assert contents(here / "runs/new/checkpoints") == before
