"""`unified estimate`."""

import json

import pytest

from unified.cli import main

CONFIG = """\
run: runs/x
model: {size: toy}
tokenizer: toy
tasks: [toybox_vqa_count, toybox_depth]
data: {batch_size: 8, packing: {encoder: 256, decoder: 128}}
optim: {lr: 1e-3, steps: 10}
engine: {zero: 1, precision: bf16}
"""


@pytest.fixture
def estimate(tmp_path, capsys):
    (tmp_path / "x.yaml").write_text(CONFIG)

    def run(*words, code=0):
        assert main(["estimate", str(tmp_path / "x.yaml"), *words]) == code
        captured = capsys.readouterr()
        return captured.err if code else captured.out

    return run


def test_table_of_sizes_stages_and_batches(estimate):
    out = estimate("--sizes", "small", "--gpus", "2", "--micro-batch", "2,4", "-n", "8")
    lines = [line.split() for line in out.splitlines()]
    rows = [line for line in lines if line[:1] == ["small"] or line[:2] == ["this", "run"]]
    assert len(rows) == 4 and all("GiB" in line or "MiB" in line for line in rows)
    assert "this run, zero 1, micro-batch 2: weights" in out and "bf16, 2 GPU(s)" in out


def test_automatic_precision_is_that_of_gpus(estimate):
    words = ("--sizes", "small", "--gpus", "2", "--micro-batch", "2", "-n", "8")
    assert estimate("engine.precision=auto", *words) == estimate("engine.precision=autocast_bf16", *words)


def test_json_says_all_parts(estimate):
    lines = json.loads(estimate("--sizes", "base", "--encoder", "64", "--decoder", "32", "--json"))
    parts = ("weights", "gradients", "optimizer", "mean", "buffers", "activations")
    assert all(line["total"] == sum(line[part] for part in parts) for line in lines)
    assert {(line["model"], line["zero"]) for line in lines} == {
        (model, zero)
        for model in ("this run", "base")
        for zero in (1, 2, 3)  # bf16 needs ZeRO
    }
    # eight examples on eight GPUs, half, once and twice; packed into rows of at most 256 + 128
    assert {(line["micro_batch"], line["rows"], line["encoder"]) for line in lines} == {
        (1, 1, 64),
        (2, 1, 128),
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sizes", "bse"], "--sizes bse: unknown size (did you mean 'base'?)"),
        (["--encoder", "64"], "give both of --encoder and --decoder"),
        (["--micro-batch", "2,x"], "'x' is not a whole number of at least 1"),
        (["engine.zero=0"], "engine.zero: DeepSpeed's stage 0"),
        (["data.batch=3"], "unknown key 'batch'"),
    ],
)
def test_bad_input(estimate, words, message):
    assert message in estimate(*words, code=2)
