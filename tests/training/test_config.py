import pytest

from unified.errors import UserError
from unified.training.config import load_config

GOOD = """\
run: runs/x
model: {size: toy}
tokenizer: toy
mixture: toybox
data:
  batch_size: 32
optim:
  lr: 1e-3
  steps: 100
"""


@pytest.fixture
def load(tmp_path):
    def load(text=GOOD, *overrides, **replaced):
        path = tmp_path / "x.yaml"
        path.write_text(text)
        return load_config(path, overrides)

    return load


def problems(load, *arguments):
    with pytest.raises(UserError) as caught:
        load(*arguments)
    return str(caught.value)


def test_yaml_and_overrides(load):
    config = load(
        GOOD, "optim.lr=3e-4", "engine.zero=2", "ema=0.999", "tasks=[a, 'tag:b']", "mixture=null",
        "model.overrides.d_model=64", "optim.betas=[0.9, 0.95]",
    )  # fmt: skip
    assert config.optim.lr == 3e-4 and config.optim.steps == 100
    assert config.engine.zero == 2 and config.engine.precision == "fp32"
    assert config.tasks == ["a", "tag:b"] and config.mixture is None
    assert config.model.overrides == {"d_model": 64}
    assert config.optim.betas == (0.9, 0.95)


def test_all_problems_at_once_each_at_its_line(load, tmp_path):
    text = GOOD.replace("  lr: 1e-3\n", "  lrr: 1e-3\n").replace("batch_size: 32", "batch_size: none")
    lines = problems(load, text).splitlines()
    assert any("x.yaml:8: optim.lrr: unknown key 'lrr' (did you mean 'lr'?)" in line for line in lines)
    assert any("x.yaml:6: data.batch_size: must be a whole number, not 'none'" in line for line in lines)


def test_an_override_is_blamed_as_such(load):
    message = problems(load, GOOD, "optim.schedul=cosine", "engine.precision=bf17")
    assert "override optim.schedul=cosine: optim.schedul: unknown key" in message
    assert "(did you mean 'schedule'?)" in message
    assert "override engine.precision=bf17: engine.precision: unknown value 'bf17'" in message
    assert "write a change as key=value" in problems(load, GOOD, "fast")
    assert "not valid YAML" in problems(load, GOOD, "tasks=[a")


@pytest.mark.parametrize(
    "override, message",
    [
        ("mixture=null", "give exactly one of `mixture` and `tasks`"),
        ("tasks=[a]", "give exactly one of `mixture` and `tasks`"),
        ("init=toy", "give exactly one of `init` (weights to start from) and `model.size`"),
        ("tokenizer=null", "needs a tokenizer set"),
        ("optim.steps=null", "nothing ends the run"),
        ("data.micro_batch=5", "32 examples a step do not divide into micro-batches of 5"),
        ("engine.precision=bf16", "set `zero: 1`"),
        ("optim.lr=-1", "must be more than 0, not -1"),
        ("engine.zero=4", "engine.zero"),
        ("engine.attention=flex", "flex is for packed rows"),
        ("data.patches=4", "unseen patches are padding unless rows are packed"),
        ("engine.offload=optimizer", "engine.offload: needs the optimizer state that ZeRO keeps apart"),
    ],
)
def test_rules(load, override, message):
    assert message in problems(load, GOOD, override)


def test_weights_are_offloaded_by_zero_3_only(load):
    message = problems(load, GOOD, "engine.zero=2", "engine.offload=all")
    assert "engine.offload: only ZeRO-3" in message and "`offload: optimizer`" in message
    assert load(GOOD, "engine.zero=3", "engine.offload=all").engine.offload == "all"


def test_adafactor_and_zero_exclude_each_other(load):
    assert load(GOOD, "optim.name=adafactor").optim.name == "adafactor"
    message = problems(load, GOOD, "optim.name=adafactor", "engine.zero=1")
    assert "engine.zero: Adafactor factors whole matrices" in message and "set `zero: 0`" in message


def test_files_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"gone\.yaml: there is no such file"):
        load_config("gone.yaml")
    with pytest.raises(UserError, match=r"unknown config 'finetun' \(did you mean 'finetune'\?\)"):
        load_config("finetun")


def test_shipped_configs_are_valid():
    from unified.specs.paths import resource

    names = [path.stem for path in resource("configs").glob("*.yaml")]
    assert {"toy", "demo", "small", "finetune"} <= set(names)
    for name in names:
        assert load_config(name).run.startswith("runs/")
