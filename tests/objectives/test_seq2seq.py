import math
from types import SimpleNamespace

import pytest
import torch

from unified.data.collate import Batch
from unified.errors import UserError
from unified.objectives.base import SUMS, build_objective

TASKS = ["a", "b", "c"]


def batch(with_codes=True):
    """Row 0 (task b): two text tokens of weight 1. Row 1 (task a): one of weight 0.5, two codes of three."""
    inputs = {"target_ids": torch.tensor([[3, 1, 0], [1, 0, 0]])}
    weights = torch.tensor([[1.0, 1.0, 0.0], [0.5, 0.0, 0.0]])
    code_weights = None
    if with_codes:
        inputs["target_codes"] = torch.tensor([[[0, 0, 0]], [[4, 2, 1]]])
        inputs["target_code_mask"] = torch.tensor([[[False] * 3], [[True, False, True]]])
        code_weights = inputs["target_code_mask"].float() * 0.25
    return Batch(inputs, weights, code_weights, ["b", "a"], ["0", "1"])


def outputs(seed=0, dtype=torch.float32):
    draw = torch.Generator().manual_seed(seed)
    text = torch.randn(3, 7, generator=draw).to(dtype).requires_grad_()
    image = torch.randn(2, 5, generator=draw).to(dtype).requires_grad_()
    return SimpleNamespace(text_logits=text, image_logits=image)


def nll(logits, i):
    exps = [math.exp(x) for x in logits.tolist()]
    return -math.log(exps[i] / sum(exps))


def test_sums_by_hand():
    out = outputs()
    loss, metrics, state = build_objective("seq2seq", TASKS)(out, batch(), "kept")
    text = [nll(row, i) for row, i in zip(out.text_logits.detach(), (3, 1, 1), strict=True)]
    codes = [nll(row, i) for row, i in zip(out.image_logits.detach(), (4, 1), strict=True)]
    a, b = 0.5 * text[2] + 0.25 * sum(codes), text[0] + text[1]
    assert loss.item() == pytest.approx(a + b, rel=1e-5) and state == "kept"
    got = dict(zip(SUMS, metrics.tolist(), strict=True))
    assert got["loss"] == pytest.approx([a, b, 0.0], rel=1e-5)
    assert got["weight"] == [1.0, 2.0, 0.0]
    assert got["tokens"] == [3.0, 2.0, 0.0]
    right = [int(row.argmax()) == i for row, i in zip(out.text_logits, (3, 1, 1), strict=True)]
    right_codes = [int(row.argmax()) == i for row, i in zip(out.image_logits, (4, 1), strict=True)]
    assert got["correct"] == [float(right[2] + sum(right_codes)), float(right[0] + right[1]), 0.0]
    assert not metrics.requires_grad


def test_accuracy_counts_right_tokens():
    out = outputs()
    with torch.no_grad():
        out.text_logits[range(3), [3, 1, 1]] = 9.0
        out.image_logits[:] = torch.tensor([0.0, 0.0, 0.0, 0.0, 9.0])  # codes are 4 and 1
    _, metrics, _ = build_objective("seq2seq", TASKS)(out, batch(), None)
    assert metrics[SUMS.index("correct")].tolist() == [2.0, 2.0, 0.0]


def test_a_batch_without_codes_keeps_the_image_head_in_the_graph():
    out = outputs()
    head = torch.randn(0, 5, requires_grad=True)
    out.image_logits = head * 1.0
    loss, metrics, _ = build_objective("seq2seq", TASKS)(out, batch(with_codes=False), None)
    loss.backward()
    assert head.grad is not None and out.text_logits.grad.abs().sum() > 0
    out.image_logits = None
    again, _, _ = build_objective("seq2seq", TASKS)(out, batch(with_codes=False), None)
    assert torch.equal(again, loss) and metrics[SUMS.index("tokens")].tolist() == [1.0, 2.0, 0.0]


def test_half_precision_logits_are_scored_in_float32():
    out = outputs(dtype=torch.bfloat16)
    exact = SimpleNamespace(text_logits=out.text_logits.float(), image_logits=out.image_logits.float())
    loss, *_ = build_objective("seq2seq", TASKS)(out, batch(), None)
    assert torch.equal(loss, build_objective("seq2seq", TASKS)(exact, batch(), None)[0])


def test_z_loss_is_trained_on_but_not_reported():
    out = outputs()
    plain, reported, _ = build_objective("seq2seq", TASKS)(out, batch(), None)
    loss, metrics, _ = build_objective("seq2seq", TASKS, z_loss=0.1)(out, batch(), None)
    weights = torch.tensor([1.0, 1.0, 0.5])
    z = (out.text_logits.logsumexp(-1) ** 2 * weights).sum()
    z = z + (out.image_logits.logsumexp(-1) ** 2 * 0.25).sum()
    assert (loss - plain).item() == pytest.approx(0.1 * z.item(), rel=1e-4)
    assert torch.equal(metrics, reported)


def test_unknown_objective():
    with pytest.raises(UserError, match=r"did you mean 'seq2seq'"):
        build_objective("seq2sec", TASKS)
