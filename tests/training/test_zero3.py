"""ZeRO-3 where ranks hold different modalities: no hang, and the steps of ZeRO-1.

Ranks exchange weights and gradients module by module. A rank that skips one (no picture here, no codes there)
or comes to it in another order would wait for ever, or be given another weight's gradient.
"""

import json
from pathlib import Path

import pytest
import synthetic
import torch
from processes import run

from unified.objectives.base import build_objective

WORKER = Path(__file__).with_name("zero3_worker.py")
TIMEOUT = 280
"""Seconds after which two processes count as hanging; on an idle machine they need 30."""


def trace(model, batch):
    """The modules that are called forward, those called backward, and the weights that get a gradient, in
    order."""
    forward, backward, gradients = [], [], []
    hooks = []
    for name, module in model.named_modules():
        hooks.append(module.register_forward_pre_hook(lambda *_, name=name: forward.append(name)))
        if next(module.parameters(recurse=False), None) is not None:
            hooks.append(module.register_full_backward_pre_hook(lambda *_, name=name: backward.append(name)))
    for name, weight in model.named_parameters():
        hooks.append(weight.register_post_accumulate_grad_hook(lambda _, name=name: gradients.append(name)))
    loss, *_ = build_objective("seq2seq", synthetic.TASKS)(model(**batch.inputs), batch, None)
    loss.backward()
    for hook in hooks:
        hook.remove()
    model.zero_grad()
    return forward, backward, gradients


@pytest.mark.parametrize(
    "changes", [{}, {"patch_embed": "conv"}, {"max_images": 1}, {"checkpointing": True}], ids=str
)
@pytest.mark.parametrize("packed", [False, True])
def test_every_batch_runs_the_same_modules_in_the_same_order(changes, packed):
    checkpointing = changes.pop("checkpointing", False)
    model = synthetic.model(**changes, dropout=0.1).train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    traces = []
    for kinds in (synthetic.TASKS, *([kind] * 3 for kind in synthetic.TASKS)):
        examples = [synthetic.example(n, kind) for n, kind in enumerate(kinds)]
        traces.append(trace(model, synthetic.packed(examples, 2) if packed else synthetic.batch(examples)))
    forward, backward, gradients = traces[0]
    assert set(gradients) == {name for name, _ in model.named_parameters()}
    for other in traces[1:]:
        assert other == (forward, backward, gradients)


def test_codes_as_input_run_the_same_modules_in_the_same_order():
    model = synthetic.model(image_input="codes").train()
    traces = []
    for kind in ("text", "look"):
        batch = synthetic.batch([synthetic.example(n, kind) for n in range(3)])
        if batch.inputs.pop("images", None) is not None:
            batch.inputs["image_codes"] = torch.arange(12).reshape(3, 1, 4)
        traces.append(trace(model, batch))
    assert traces[0] == traces[1]


CASES = {
    "plain": "",
    "packed": ",packed=true",
    "recomputed": ",checkpointing=true",
    "accumulated": ",micro=2",
    "autocast": ',precision="autocast_bf16"',
}


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    """Of two ranks; a hang is an error."""
    out = tmp_path_factory.mktemp("zero3") / "steps.json"
    cases = [f"{name}{zero}:zero={zero}{options}" for name, options in CASES.items() for zero in (1, 3)]
    cases.append("alike3:zero=3,alike=true")
    for code, _, err in run(2, WORKER, out, *cases, timeout=TIMEOUT):
        assert code == 0, err[-3000:]
    return json.loads(out.read_text())


@pytest.mark.parametrize("name", CASES)
def test_ranks_of_unlike_modalities_take_the_steps_of_zero_1(steps, name):
    ours, reference = steps[f"{name}3"], steps[f"{name}1"]
    assert len(ours) == 6
    rel = 0.02 if name == "autocast" else 2e-5
    for step, expected in zip(ours, reference, strict=True):
        assert step == pytest.approx(expected, rel=rel)
    assert len({loss for loss, _ in ours}) == 6  # it moves, or equal losses would say little
    assert steps["alike3"] != steps["plain3"]


# ---------------------------------------------------------------------------------------- offload


@pytest.fixture(scope="module")
def offloaded(tmp_path_factory):
    out = tmp_path_factory.mktemp("offload") / "steps.json"
    cases = ["plain:zero=1", *(f'optimizer{zero}:zero={zero},offload="optimizer"' for zero in (1, 2, 3))]
    cases += ['all3:zero=3,offload="all"', 'recomputed3:zero=3,offload="all",checkpointing=true,packed=true',
              "packed:zero=1,packed=true"]  # fmt: skip
    for code, _, err in run(2, WORKER, out, *cases, timeout=TIMEOUT):
        assert code == 0, err[-3000:]
    return json.loads(out.read_text())


@pytest.mark.parametrize("name", ["optimizer1", "optimizer2", "optimizer3", "all3", "recomputed3"])
def test_offload_changes_no_step(offloaded, name):
    reference = offloaded["packed" if name == "recomputed3" else "plain"]
    for step, expected in zip(offloaded[name], reference, strict=True):
        assert step == pytest.approx(expected, rel=2e-5)
