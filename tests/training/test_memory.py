"""The memory estimate beside what is measured: the tensors that a forward pass and an engine keep."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from processes import run

from unified.data.collate import Batch
from unified.model import UnifiedConfig, UnifiedModel
from unified.objectives.base import build_objective
from unified.training.config import EngineConfig
from unified.training.memory import MicroBatch, activations, estimate, model_states, weights_of

WORKER = Path(__file__).parent / "memory_worker.py"
SMALL = {
    "encoder_layers": 3, "decoder_layers": 2, "image_size": 64, "target_grid": 4, "vocab_size": 5000,
    "image_vocab_size": 2000,
}  # fmt: skip


def batch(config, examples, text, pictures, target, answers):
    """`examples` of equal lengths, without padding."""
    draw = torch.Generator().manual_seed(0)
    inputs = {
        "input_ids": torch.randint(3, 90, (examples, text), generator=draw),
        "target_ids": torch.randint(3, 90, (examples, target), generator=draw),
    }
    if pictures:
        side = config.image_size
        inputs["images"] = torch.rand(examples, pictures, side, side, 3) * 255
        inputs["patch_mask"] = torch.ones(examples, pictures, config.image_tokens, dtype=torch.bool)
    weights = None
    if answers:
        weights = torch.ones(examples, answers, config.target_tokens)
        inputs |= {"target_codes": weights.long(), "target_code_mask": weights.bool()}
    names = ["task"] * examples
    return Batch(inputs, torch.ones(examples, target), weights, names, names)


def kept(model, batch, autocast):
    """Bytes of all tensors that the forward pass and the loss keep, without the weights."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    storages, alive = {}, []

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # no other may take its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            outputs = model(**batch.inputs)
        build_objective("seq2seq", ["task"])(outputs, batch, None)
    return sum(storages.values())


@pytest.mark.parametrize("sizes", [(2, 64, 1, 32, 1), (3, 200, 0, 64, 0)], ids=["pictures", "text"])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "autocast_bf16", "bf16"])
def test_activations_are_those_that_a_forward_pass_keeps(precision, recompute, sizes):
    config = UnifiedConfig.of_size("small", **SMALL, dropout=0.1)
    torch.manual_seed(0)
    model = UnifiedModel(config).train()
    if precision == "bf16":
        model = model.bfloat16()
    if recompute:
        model.gradient_checkpointing_enable()
    examples, text, pictures, target, answers = sizes
    cells, codes = pictures * config.image_tokens, answers * config.target_tokens
    shape = MicroBatch(examples, text + cells, target + codes, examples * cells, examples * codes)
    expected = activations(config, shape, precision, recompute, "eager").kept
    measured = kept(model, batch(config, *sizes), precision == "autocast_bf16")
    assert expected == pytest.approx(measured, rel=0.1)


def test_what_saves_memory():
    config = UnifiedConfig.of_size("base")
    whole = MicroBatch(8, 512, 256)

    def total(zero=1, world=8, attention="fused", batch=whole, **engine):
        chosen = EngineConfig(zero=zero, precision="bf16", **engine)
        return estimate(
            config, batch, chosen, optimizer="adamw", ema=False, world=world, attention=attention
        ).total

    assert total(1) > total(2) > total(3)
    assert total(2, world=2) > total(2, world=8)
    assert total(3) > total(3, offload="optimizer") > total(3, offload="all")
    assert total() > total(activation_checkpointing=True)
    assert total(attention="eager") > total() > total(batch=replace(whole, rows=4))


# ------------------------------------------------------------------ states of an engine


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """What two ranks hold: {zero stage and precision: bytes between steps, bytes before the update}."""
    out = tmp_path_factory.mktemp("memory") / "bytes.json"
    for code, _, err in run(2, WORKER, out):
        assert code == 0, err[-3000:]
    return json.loads(out.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("zero", [0, 1, 2, 3])
def test_states_are_those_that_an_engine_holds(engines, zero, precision):
    if zero == 0 and precision == "bf16":
        pytest.skip("bf16 needs ZeRO")
    measured = engines[f"{zero} {precision}"]
    weights = weights_of(measured["shape"])
    assert weights.total == measured["parameters"]
    ours = model_states(weights, EngineConfig(zero=zero, precision=precision), "adamw", False, 2)
    between = ours.weights + ours.optimizer
    share, size = weights.total / 2, 4 if precision == "fp32" else 2
    if zero == 3:  # it keeps its gradients and its bucket; they exist twice in the update only
        between += 4 * share + 4 * measured["bucket"]
    if zero == 1 and precision == "bf16":  # and this one the sum of gradients in float32
        between += 4 * weights.total
    assert measured["between"] == pytest.approx(between, rel=0.02)
    assert measured["before"] <= 1.02 * (ours.total)
    assert measured["before"] >= 0.98 * (between + (size * share if zero < 3 else 0))
