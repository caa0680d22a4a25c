"""Attention in packed rows with FlexAttention: blocks in which no query sees a key are not computed.

Made for CUDA, where the kernel is compiled. On a CPU torch runs the same formula slowly and without gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

ScoreMod = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


@lru_cache(maxsize=1)
def _compiled() -> Callable[..., Tensor]:
    compiled: Callable[..., Tensor] = torch.compile(flex_attention, dynamic=True)
    return compiled


def segment_blocks(queries: Tensor, keys: Tensor, causal: bool = False) -> BlockMask:
    """Segment numbers (R, Lq) and (R, Lk) -> equal ones see each other, with `causal` only backwards. Padding
    (0) sees everything: nothing reads its rows, and none of them is empty."""

    def seen(row: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
        own = queries[row, i]
        together = (own == keys[row, j]) | (own == 0)
        return together & (i >= j) if causal else together

    rows, (length, others) = len(queries), (queries.shape[1], keys.shape[1])
    return create_block_mask(seen, rows, None, length, others, device=str(queries.device))


class Flex:
    """What the layers of a stack share instead of a bias.

    mask: which blocks are computed. score_mod: what is added to each score, which holds the relative biases.
    query, key: (R, H, L, D') the absolute q.k bias, made part of the product of queries and keys.
    """

    def __init__(
        self, mask: BlockMask, score_mod: ScoreMod | None = None, query: Tensor | None = None,
        key: Tensor | None = None,
    ) -> None:  # fmt: skip
        self.mask, self.score_mod, self.query, self.key = mask, score_mod, query, key

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(R, H, Lq, D), (R, H, Lk, D) twice -> (R, H, Lq, D)."""
        if self.query is not None and self.key is not None:
            q = torch.cat([q, self.query.to(q.dtype)], -1)
            k = torch.cat([k, self.key.to(k.dtype)], -1)
        run: Any = _compiled() if q.is_cuda else flex_attention
        out: Tensor = run(q, k, v.contiguous(), score_mod=self.score_mod, block_mask=self.mask, scale=1.0)
        return out
