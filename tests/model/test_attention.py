"""Attention against a slow, obvious one."""

import math

import pytest
import torch

from unified.model.attention import additive, attention, causal, same_segment


def slow(q, k, v, bias, mask):
    """One query at a time, in float64, python's own exp; hidden keys are left out of the sum."""
    batch, heads, queries, _ = q.shape
    keys = k.shape[2]
    bias = bias.detach().double().expand(batch, heads, queries, keys)
    mask = mask.expand(batch, heads, queries, keys)
    out = torch.zeros(*q.shape[:3], v.shape[-1], dtype=torch.float64)
    for b in range(batch):
        for h in range(heads):
            for i in range(queries):
                seen = [j for j in range(keys) if mask[b, h, i, j]]
                scores = [
                    float(q[b, h, i].double() @ k[b, h, j].double()) + float(bias[b, h, i, j]) for j in seen
                ]
                weights = [math.exp(s - max(scores)) for s in scores]
                for j, w in zip(seen, weights, strict=True):
                    out[b, h, i] += w / sum(weights) * v[b, h, j].double()
    return out


def tensors(seed=0):
    g = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(2, 3, n, 4, generator=g) for n in (5, 7, 7))
    segments_q, segments_k = (
        torch.tensor([[1, 1, 2, 2, 2], [1, 1, 1, 1, 1]]),
        torch.tensor([[1, 1, 1, 2, 2, 0, 0], [1, 1, 1, 1, 1, 1, 0]]),
    )
    return q, k, v, torch.randn(1, 3, 5, 7, generator=g), same_segment(segments_q, segments_k)


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
@pytest.mark.parametrize("learned", [False, True])
def test_equals_the_slow_one(backend, learned):
    q, k, v, bias, mask = tensors()
    bias.requires_grad_(learned)
    out = attention(q, k, v, bias, mask, backend)
    torch.testing.assert_close(out.double(), slow(q, k, v, bias, mask), atol=1e-6, rtol=0)


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
def test_gradients_equal_those_of_the_plain_formula(backend):
    q, k, v, bias, mask = tensors(1)
    inputs = [x.requires_grad_() for x in (q, k, v, bias)]
    ours = torch.autograd.grad(attention(q, k, v, bias, mask, backend).square().sum(), inputs)
    scores = (torch.einsum("bhid,bhjd->bhij", q, k) + bias).masked_fill(~mask, -torch.inf)
    plain = torch.autograd.grad(torch.einsum("bhij,bhjd->bhid", scores.softmax(-1), v).square().sum(), inputs)
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("backend", ["sdpa", "eager"])
def test_a_query_without_keys_is_finite_and_uniform(backend, dtype):
    q, k, v = (x.to(dtype) * 3 for x in tensors()[:3])
    mask = torch.ones(2, 1, 5, 7, dtype=torch.bool)
    mask[0, :, 2] = False
    bias = torch.full((1, 3, 5, 7), -30.0)
    out = attention(q, k, v, bias, mask, backend)
    assert out.dtype == dtype and out.isfinite().all()
    if dtype == torch.float32:  # half precision rounds the scores of such a row unequally
        torch.testing.assert_close(out[0, :, 2], v[0].mean(1), atol=1e-5, rtol=0)


def test_masks():
    assert causal(3, torch.device("cpu"))[0, 0].tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert same_segment(torch.tensor([[1, 2, 0]]), torch.tensor([[1, 0]]))[0, 0].tolist() == [
        [1, 0],
        [0, 0],
        [0, 1],
    ]
    mask = torch.tensor([True, False])
    assert additive(torch.tensor([2.0, 3.0]), mask, torch.float32).tolist() == [2.0, -1e10]
    assert additive(None, mask, torch.float32).tolist() == [0.0, -1e10]


def test_an_unknown_backend_is_named():
    q, k, v, *_ = tensors()
    with pytest.raises(ValueError, match="'flush'"):
        attention(q, k, v, backend="flush")
