"""What is built from a config, and what is refused."""

import json
import platform
import shutil
from pathlib import Path

import pytest
import torch

from unified.data.dataset import TaskData
from unified.data.streaming import StreamedRows
from unified.devices import computes_bf16, uses_bf16
from unified.errors import UserError
from unified.specs.load import load_mixture
from unified.tokenization.tokenizer_set import TokenizerSet
from unified.training import setup
from unified.training.config import RunConfig
from unified.training.export import export
from unified.training.launch import Ranks


@pytest.fixture(scope="module")
def tokenizers(tokenizer_set):
    return TokenizerSet.load(tokenizer_set)


@pytest.fixture
def config(run_config):
    def config(**changes):
        return RunConfig.model_validate({**run_config, **changes})

    return config


@pytest.fixture
def exported(tmp_path, config, tokenizers):
    """A run folder with a model in it."""
    done = config(run=str(tmp_path / "done"))
    model = setup.build_model(done, tokenizers)
    tasks = [entry.task for entry in setup.load_tasks(done).entries]
    export(model.state_dict(), model, tokenizers, tasks, done, step=1, command=["train.py"])
    return tmp_path / "done"


def test_tasks_by_name_and_tag(config):
    mixture = setup.load_tasks(config(tasks=["toybox_refer", "tag:grounding", "toybox_refer"]))
    names = [entry.task.name for entry in mixture.entries]
    assert names[0] == "toybox_refer" and len(names) == len(set(names)) > 2
    assert mixture.spec.rate.by == "constant"
    assert setup.load_tasks(config(tasks=[], mixture="demo")).name == load_mixture("demo").name


def test_unknown_tasks_and_tags(config):
    with pytest.raises(UserError, match=r"unknown task 'toybox_reffer' \(did you mean 'toybox_refer'\?\)"):
        setup.load_tasks(config(tasks=["toybox_reffer"]))
    with pytest.raises(UserError, match=r"no task has the tag 'groundin' \(did you mean 'grounding'\?\)"):
        setup.load_tasks(config(tasks=["tag:groundin"]))


def test_rows_to_learn(config):
    (entry,) = setup.load_tasks(config(tasks=["toybox_refer"])).entries
    task = TaskData(entry.task, range(100))
    assert setup.rows_to_learn(task, None) == 100
    assert setup.rows_to_learn(task, 64) == 64
    assert setup.rows_to_learn(task, 300) == 100
    stream = TaskData(entry.task, object.__new__(StreamedRows))
    with pytest.raises(UserError, match="data.overfit: the rows of toybox_refer are a stream"):
        setup.rows_to_learn(stream, 64)


def test_the_vocabulary_is_that_of_the_set(config, tokenizers):
    model = setup.build_model(config(), tokenizers)
    assert model.config.vocab_size == tokenizers.vocabulary.text_size
    assert model.config.image_vocab_size == 64 and model.config.d_model == 32
    again = setup.build_model(config(), tokenizers)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    other = setup.build_model(config(seed=1), tokenizers)
    assert not torch.equal(other.token_embedder.weight, model.token_embedder.weight)


@pytest.mark.parametrize(
    "overrides, message",
    [
        ({"d_modle": 64}, r"unknown field 'd_modle' \(did you mean 'd_model'\?\)"),
        ({"vocab_size": 99}, r"model\.overrides\.vocab_size: is \d+ with the tokenizer set 'tiny'"),
        ({"patch_size": 7}, "not a multiple of patch_size 7"),
    ],
)
def test_overrides_that_are_refused(config, tokenizers, overrides, message):
    with pytest.raises(UserError, match=message):
        setup.build_model(config(model={"size": "toy", "overrides": overrides}), tokenizers)


def test_unknown_size(config, tokenizers):
    with pytest.raises(UserError, match=r"'smal' is not known \(did you mean 'small'\?\)"):
        setup.build_model(config(model={"size": "smal"}), tokenizers)


def test_init_gives_weights_shape_and_tokenizers(exported, config, tokenizers):
    start = config(init=str(exported), model={"overrides": {"dropout": 0.3}}, tokenizer=None, seed=5)
    assert setup.load_tokenizers(start).hash == tokenizers.hash
    model, first = setup.build_model(start, tokenizers), setup.build_model(config(), tokenizers)
    assert model.config.dropout == 0.3 and model.config.d_model == 32
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), first.parameters(), strict=True))


def test_init_that_does_not_fit(exported, config, tokenizers, tmp_path):
    with pytest.raises(UserError, match="made with the tokenizer set"):
        setup.load_tokenizers(config(init=str(exported), model={}, tokenizer="unified_io"))
    wider = config(init=str(exported), model={"overrides": {"d_ff": 64}}, tokenizer=None)
    with pytest.raises(UserError, match=r"do not fit model\.overrides"):
        setup.build_model(wider, tokenizers)
    with pytest.raises(UserError, match="there is no such model"):
        setup.load_tokenizers(config(init=str(tmp_path / "gone"), model={}))
    shutil.rmtree(exported / "model" / "tokenizer")
    with pytest.raises(UserError, match="carry no tokenizer set"):
        setup.load_tokenizers(config(init=str(exported), model={}, tokenizer=None))


def test_image_weights_are_read_where_they_are_needed(config, tokenizers):
    shape = setup.build_model(config(), tokenizers).config
    words = setup.load_tasks(config(tasks=["toybox_refer"]))
    assert setup.image_tokenizer(words, shape, tokenizers) is None
    assert setup.image_tokenizer(setup.load_tasks(config()), shape, tokenizers) is tokenizers.image
    shape.image_input = "codes"
    with pytest.raises(UserError, match="stands for 4 pixels a side, so patch_size must be that, not 8"):
        setup.image_tokenizer(words, shape, tokenizers)
    shape.patch_size = 4
    assert setup.image_tokenizer(words, shape, tokenizers) is tokenizers.image


def test_an_export_replaces_the_one_before(exported, config, tokenizers):
    done = config(run=str(exported))
    model = setup.build_model(done, tokenizers)
    (exported / "model" / "left_over").touch()
    tasks = [entry.task for entry in setup.load_tasks(done).entries][:1]
    export(model.state_dict(), model, tokenizers, tasks, done, step=7, command=["train.py", "a b"])
    assert sorted(p.name for p in exported.iterdir()) == ["model"]
    assert not (exported / "model" / "left_over").exists()
    modes = {file.stat().st_mode for file in (exported / "model").glob("*.*")}
    assert len(modes) == 1  # others may read the weights if they may read the rest
    index = json.loads((exported / "model/tasks/index.json").read_text())
    assert list(index) == ["toybox_vqa_count"]
    card = (exported / "model/README.md").read_text()
    assert "1. `train.py 'a b'`: 7 steps of 8 examples, seed 0, from random weights" in card


def test_an_export_tells_of_the_runs_before(exported, config, tokenizers, tmp_path):
    later = config(run=str(tmp_path / "later"), init=str(exported), model={}, seed=5)
    model = setup.build_model(later, tokenizers)
    tasks = [entry.task for entry in setup.load_tasks(later).entries][:1]
    export(model.state_dict(), model, tokenizers, tasks, later, step=9, command=["train.py", "more"])
    card = (tmp_path / "later/model/README.md").read_text()
    assert "1. `train.py`: 1 steps of 8 examples, seed 0, from random weights" in card
    assert f"2. `train.py more`: 9 steps of 8 examples, seed 5, from {exported}" in card


@pytest.mark.parametrize(
    ("able", "precision"),
    [((True, True), "autocast_bf16"), ((True, False), "fp32"), ((False, False), "fp32")],
)
def test_automatic_precision_is_what_all_ranks_compute(config, monkeypatch, able, precision):
    class Two(Ranks):
        def sum(self, values):
            return values + able[1]

    monkeypatch.setattr(setup, "computes_bf16", lambda device: able[0])
    ranks = Two(rank=0, world=2, local_rank=0, device=torch.device("cpu"), group=None)
    chosen = setup.settle_precision(config(engine={"precision": "auto", "zero": 1}), ranks)
    assert chosen.engine.precision == precision and chosen.engine.zero == 1
    given = config(engine={"precision": "fp32"})
    assert setup.settle_precision(given, ranks) is given


@pytest.mark.parametrize(
    ("precision", "able", "warned"),
    [
        ("autocast_bf16", False, True),
        ("bf16", False, True),
        ("autocast_bf16", True, False),
        ("fp32", False, False),
    ],
)
def test_emulated_precision_is_warned_of(config, monkeypatch, precision, able, warned):
    monkeypatch.setattr(setup, "computes_bf16", lambda device: able)
    ranks = Ranks(rank=0, world=1, local_rank=0, device=torch.device("cpu"), group=None)
    text = setup.device_text(config(engine={"precision": precision, "zero": 1}), ranks)
    assert ("no bfloat16 in hardware" in text) is warned


def test_bfloat16_of_this_processor():
    flags = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or not flags.exists():
        pytest.skip("reads the flags of an x86 processor from /proc/cpuinfo")
    assert computes_bf16("cpu") == ("avx512_bf16" in flags.read_text())
    assert uses_bf16("auto", "cpu") == computes_bf16("cpu")
    assert [uses_bf16(name, "cpu") for name in ("fp32", "bf16", "autocast_bf16")] == [False, True, True]
