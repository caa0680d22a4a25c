"""Attention: one function that every layer calls, and the masks that it takes."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from unified.model.flex import Flex
from unified.model.per_example import PerExample

MASKED = -1e10
BACKENDS = ("sdpa", "eager", "flex_attention")
Bias: TypeAlias = Tensor | PerExample | Flex
PackedStyle: TypeAlias = Literal["rows", "by_example", "flex"]


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Bias | None = None,
    mask: Tensor | None = None,
    backend: str = "sdpa",
) -> Tensor:
    """softmax(q kᵀ + bias) v with no 1/sqrt(d): Unified-IO folds that into its initialisation.

    Args:
        q: (B, H, Lq, D); k, v: (B, H, Lk, D).
        bias: float, broadcastable to (B, H, Lq, Lk); is added to the scores and may need a gradient.
            Of packed rows also `PerExample` or `Flex`, mask included.
        mask: boolean, broadcastable to (B, H, Lq, Lk); False hides a key. A query that sees no key at
            all attends to every key alike, as in the reference: finite, never NaN.
        backend: `sdpa` (torch's kernels) or `eager` (matrix products); `flex_attention` is `sdpa` but in
            packed rows.

    Returns:
        (B, H, Lq, D), in the dtype of `v`.
    """
    if isinstance(bias, PerExample):
        return bias.attend(q, k, v, lambda q, k, v, own: attention(q, k, v, own, backend=backend))
    if isinstance(bias, Flex):
        return bias.attend(q, k, v)
    if mask is not None:
        bias = additive(bias, mask, q.dtype)
    elif bias is not None and bias.dtype != q.dtype:
        bias = bias.to(q.dtype)
    if backend not in BACKENDS:
        raise ValueError(f"attention backend {backend!r} is not known; there are {', '.join(BACKENDS)}")
    if backend == "eager" or _sdpa_is_slow(q, bias):
        scores = q @ k.transpose(-1, -2)
        if bias is not None:
            scores = scores + bias
        return scores.softmax(-1) @ v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)


def packed_style(backend: str, device: torch.device) -> PackedStyle:
    """How packed rows are attended to: `flex`; `by_example` on a CPU, whose kernels skip no hidden place;
    else `rows`, all of them masked."""
    if backend == "flex_attention":
        return "flex"
    return "by_example" if device.type == "cpu" and backend != "eager" else "rows"


def _sdpa_is_slow(q: Tensor, bias: Tensor | None) -> bool:
    """On CPU the fused kernel's backward is slow, and it cannot differentiate a bias at all."""
    return q.device.type == "cpu" and (q.requires_grad or (bias is not None and bias.requires_grad))


def masked(dtype: torch.dtype) -> float:
    """What hides a place in a tensor of `dtype`: -1e10, but float16 ends at 65504."""
    return max(MASKED, torch.finfo(dtype).min / 2)


def additive(bias: Tensor | None, mask: Tensor, dtype: torch.dtype) -> Tensor:
    """`bias` where `mask` is True, a large negative *finite* number elsewhere, as one tensor of `dtype`.

    A stack makes it once and shares it between its layers. Minus infinity would turn a row without any
    visible key into NaN, and padded rows of that kind stand in most batches.
    """
    hidden = masked(dtype)
    if bias is None:
        return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, hidden)
    return torch.where(mask, bias.to(dtype), torch.tensor(hidden, dtype=dtype, device=mask.device))


def same_segment(queries: Tensor, keys: Tensor) -> Tensor:
    """(B, Lq) and (B, Lk) segment numbers -> (B, 1, Lq, Lk), True where they are equal.

    Padding is segment 0 and sees other padding: nothing reads those rows, and none of them is empty.
    """
    return (queries[:, :, None] == keys[:, None, :])[:, None]


def causal(length: int, device: torch.device) -> Tensor:
    """(1, 1, length, length), True where the key does not come after the query."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()[None, None]


def compute_dtype(x: Tensor) -> torch.dtype:
    """The dtype that a matrix product of `x` will have: autocast's where that is on."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
