"""The parts of a transformer layer: norm, gated MLP, dropout, attention with its projections."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from transformers.cache_utils import EncoderDecoderCache

from unified.model.attention import Bias, attention, compute_dtype
from unified.model.configuration import UnifiedConfig
from unified.model.linear import project


class RMSNorm(nn.Module):
    """x / sqrt(mean(x²) + 1e-6) * weight: no mean, no bias. Computed in float32, as the reference does.

    The result has the dtype in which the next matrix product will run, so autocast casts it once.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        dtype = compute_dtype(self.weight)
        if dtype == torch.float32:
            return F.rms_norm(x.float(), self.weight.shape, self.weight, 1e-6)
        return F.rms_norm(x.float(), self.weight.shape, eps=1e-6).to(dtype) * self.weight.to(dtype)


class LengthDropout(nn.Module):
    """Dropout of hidden units that is the same at every position of a row (flax's broadcast_dims=-2)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, d) -> (B, L, d)."""
        if not self.training or self.p == 0:
            return x
        return x * F.dropout(torch.ones_like(x[:, :1]), self.p)


class GatedMLP(nn.Module):
    """wo(gelu_tanh(wi_0 x) * wi_1 x)."""

    def __init__(self, config: UnifiedConfig) -> None:
        super().__init__()
        self.wi_0 = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.wi_1 = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.wo = nn.Linear(config.d_ff, config.d_model, bias=False)
        self.dropout = LengthDropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = project(x, self.wi_0, self.wi_1)
        return project(self.dropout(F.gelu(gate, approximate="tanh") * value), self.wo)[0]


class Attention(nn.Module):
    """Multi-head attention with its four projections, to itself or to a memory, with or without a cache."""

    def __init__(self, config: UnifiedConfig, layer: int = 0) -> None:
        super().__init__()
        inner = config.num_heads * config.head_dim
        self.config, self.layer, self.heads = config, layer, config.num_heads
        self.query = nn.Linear(config.d_model, inner, bias=False)
        # the 1/sqrt(d) that `attention` leaves out
        self.query.init_gain = config.head_dim**-0.5
        self.key = nn.Linear(config.d_model, inner, bias=False)
        self.value = nn.Linear(config.d_model, inner, bias=False)
        self.out = nn.Linear(inner, config.d_model, bias=False)

    def forward(
        self,
        x: Tensor,
        bias: Bias | None,
        memory: Tensor | None = None,
        cache: EncoderDecoderCache | None = None,
    ) -> Tensor:
        """
        Args:
            x: (B, Lq, d).
            bias: additive, mask included (see `attention.additive`), (1 or B, 1 or heads, 1 or Lq, Lk); of
                packed rows also what stands for it.
            memory: (Bm, Lk, d) to attend to; None: x itself. Bm may divide B: then each run of B / Bm rows
                of x shares one row of memory, whose keys and values are computed once.
            cache: keys and values seen before; this layer's are added.
        """
        if memory is None:
            q, k, v = map(self._heads, project(x, self.query, self.key, self.value))
            if cache is not None:
                k, v = cache.self_attention_cache.update(k, v, self.layer)
        elif cache is not None and cache.is_updated.get(self.layer):
            q = self._heads(project(x, self.query)[0])
            kept: Any = cache.cross_attention_cache.layers[self.layer]
            k, v = kept.keys, kept.values
        else:
            q = self._heads(project(x, self.query)[0])
            k, v = map(self._heads, project(memory, self.key, self.value))
            if cache is not None:
                k, v = cache.cross_attention_cache.update(k, v, self.layer)
                cache.is_updated[self.layer] = True
        if self.training and self.config.dropout > 0:
            # dropping a probability for every query alike is dropping the value it would fetch
            v = v * F.dropout(torch.ones_like(v[..., :1]), self.config.dropout)
        shared = len(x) // len(k)
        if shared > 1:
            q = rearrange(q, "(b s) h l d -> b h (s l) d", s=shared)
        y = attention(q, k, v, bias, backend=self.config._attn_implementation)
        if shared > 1:
            y = rearrange(y, "b h (s l) d -> (b s) h l d", s=shared)
        return project(y.transpose(1, 2).flatten(2), self.out)[0]

    def _heads(self, x: Tensor) -> Tensor:
        """(b, l, h * d) -> (b, h, l, d). A view, not einops: this runs a hundred times a decoded token."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
