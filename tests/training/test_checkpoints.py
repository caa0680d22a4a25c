"""Which folders count as checkpoints, without an engine behind them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from unified.errors import UserError
from unified.training import checkpoints
from unified.training.checkpoints import (
    Meta,
    check_fits,
    complete,
    find_checkpoint,
    needs_conversion,
    save_checkpoint,
)
from unified.training.launch import Ranks

ALONE = Ranks(0, 1, 0, torch.device("cpu"), None)
META = Meta(
    step=1, seconds=2.0, seed=3, world=1, batch_size=8, zero=0, precision="fp32", optimizer="adamw",
    tokenizer="0123456789abcdef", tasks={"a": "a@v1:00", "b": "b@v1:11"}, rows={"a": 9, "b": 5},
    rates={"a": 0.5, "b": 0.5}, model={"d_model": 32, "dropout": 0.0}, config={},
)  # fmt: skip


class Engine:
    """Writes one file; may be interrupted while it does."""

    def __init__(self, interrupted=False):
        self.interrupted = interrupted

    def save(self, folder, tag):
        (folder / tag).mkdir()
        (folder / tag / "weights").write_text("half" if self.interrupted else "whole")
        if self.interrupted:
            raise KeyboardInterrupt


def save(run: Path, step: int, keep=2, **engine):
    return save_checkpoint(Engine(**engine), ALONE, run, replace(META, step=step), keep)


def test_the_newest_are_kept(tmp_path):
    for step in (1, 2, 10):
        save(tmp_path, step)
    assert [path.name for path in complete(tmp_path)] == ["step_00000002", "step_00000010"]
    assert find_checkpoint("auto", tmp_path) == tmp_path / "checkpoints" / "step_00000010"
    assert Meta.load(complete(tmp_path)[-1]).step == 10


def test_an_interrupted_save_never_counts(tmp_path):
    assert find_checkpoint("auto", tmp_path) is None
    save(tmp_path, 1)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, 2, interrupted=True)
    half = tmp_path / "checkpoints" / "step_00000002"
    assert half.is_dir() and not (half / "COMPLETE").exists()
    assert find_checkpoint("auto", tmp_path).name == "step_00000001"
    with pytest.raises(UserError, match="is no complete checkpoint"):
        find_checkpoint(str(half), tmp_path)
    assert (save(tmp_path, 2) / "weights").read_text() == "whole"


def test_an_interrupted_save_over_a_complete_one_never_counts(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, 2, interrupted=True)
    assert find_checkpoint("auto", tmp_path).name == "step_00000001"


def test_half_saved_folders_are_swept(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, 1, interrupted=True)
    save(tmp_path, 2)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_00000002"]


def test_a_conversion_that_was_killed_is_swept_and_never_counts(tmp_path):
    half = tmp_path / "checkpoints" / ".universal_step_00000001.tmp"
    half.mkdir(parents=True)
    (half / "COMPLETE").write_text("half")
    assert find_checkpoint("auto", tmp_path) is None
    save(tmp_path, 1)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_00000001"]


def test_what_interrupted_saves_left_gives_its_room_before_the_next(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, 1, interrupted=True)

    class Full(Engine):
        def save(self, folder, tag):
            assert [path.name for path in folder.iterdir()] == []
            raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="the checkpoint of step 2 could not be written .no space left"):
        save_checkpoint(Full(), ALONE, tmp_path, replace(META, step=2), 2)
    assert complete(tmp_path) == []


def test_the_marker_is_the_last_thing_written(tmp_path, monkeypatch):
    def fail(path):
        assert (path.parent / "meta.json").exists() and (path.parent / "weights").exists()
        raise OSError("disk full")

    monkeypatch.setattr(checkpoints, "_write_marker", fail)
    with pytest.raises(OSError, match="disk full"):
        save(tmp_path, 1)
    assert complete(tmp_path) == []


def test_resume_takes_auto_none_a_run_or_a_checkpoint(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    path = save(old, 5)
    assert find_checkpoint("none", new) is None
    assert find_checkpoint(str(old), new) == path == find_checkpoint(str(path), new)
    with pytest.raises(UserError, match="holds the checkpoints of an earlier run"):
        find_checkpoint("none", old)
    with pytest.raises(UserError, match="there is no such folder"):
        find_checkpoint(str(tmp_path / "gone"), new)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"tokenizer": "fedcba98765432"}, "its tokenizer set is 0123456789ab, this run's fedcba987654"),
        ({"tasks": {"a": "a@v2:00", "b": "b@v1:11"}}, "task a: was a@v1:00, is a@v2:00"),
        ({"tasks": {"a": "a@v1:00"}, "rates": {"a": 1.0}}, "task b: was b@v1:11, is not there"),
        ({"rows": {"a": 9, "b": 6}}, "rows of b: was 5, is 6"),
        ({"rates": {"a": 0.4, "b": 0.6}}, "mixed at other rates"),
        ({"model": {"d_model": 64, "dropout": 0.0}}, "the model's d_model: was 32, is 64"),
        ({"seed": 4}, "seed was 3 and is 4"),
        ({"batch_size": 16}, "data.batch_size was 8 and is 16"),
        ({"optimizer": "adafactor"}, "optim.name was adamw and is adafactor"),
        ({"zero": 3}, "cannot bring the optimizer state of engine.zero=0 to 3"),
        ({"zero": 1}, "continue with engine.zero=0 engine.precision=fp32"),
        ({"precision": "bf16"}, "its optimizer state is in fp32, this run's would be in bf16"),
    ],
)
def test_a_run_that_differs_is_refused(tmp_path, change, message):
    path = save(tmp_path, 1)
    with pytest.raises(UserError) as caught:
        check_fits(path, replace(META, **change))
    assert message in str(caught.value) and "run=..." in str(caught.value)


def test_what_may_change(tmp_path):
    path = save(tmp_path, 1)
    now = replace(META, model={"d_model": 32, "dropout": 0.1}, config={"optim": {"lr": 1.0}}, step=0)
    assert check_fits(path, now).step == 1


@pytest.mark.parametrize(
    "then, now, converted",
    [
        ({"world": 2}, {"world": 1}, False),  # stage 0 has the whole state on each rank
        ({"world": 2, "zero": 1}, {"world": 2, "zero": 1}, False),
        ({"world": 2, "zero": 1}, {"world": 3, "zero": 1}, True),
        ({"world": 2, "zero": 2}, {"world": 2, "zero": 1}, True),
        ({"world": 2, "zero": 3}, {"world": 1, "zero": 3}, True),
    ],
)
def test_other_ranks_and_stages(tmp_path, then, now, converted):
    path = save_checkpoint(Engine(), ALONE, tmp_path, replace(META, **then), 2)
    assert needs_conversion(check_fits(path, replace(META, **now)), replace(META, **now)) is converted


def test_adafactor_is_not_split_anew(tmp_path):
    meta = replace(META, optimizer="adafactor", world=2, zero=1)
    path = save_checkpoint(Engine(), ALONE, tmp_path, meta, 2)
    with pytest.raises(UserError, match="splits the state of adafactor anew for no other number of ranks"):
        check_fits(path, replace(meta, world=1))


def test_a_broken_meta_is_one_message(tmp_path):
    path = save(tmp_path, 1)
    (path / "meta.json").write_text("{")
    with pytest.raises(UserError, match=r"meta\.json: cannot be read"):
        check_fits(path, META)
