"""Attention in packed rows, example by example: what a CPU does instead of masking the rest of a row.

Examples of similar length are taken out of their rows side by side, so that no work is done between examples
and little on padding. Everything else of a layer runs on the rows as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

MULTIPLE = 16
"""Lengths are rounded up to a multiple of this to make few groups."""

Dense = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Attention of q, k, v and an additive bias, as `attention.dense`."""


@dataclass(frozen=True)
class Places:
    """Where the tokens of examples stand, taken from rows (R, L) and flattened.

    at: (P,) the place in R * L that each is taken from; a token that pads its group takes any.
    back: (R * L,) where each place of the rows stands among them; padding of the rows takes any.
    real: (P,) and kept: (R * L,) which of them are tokens.
    """

    at: Tensor
    back: Tensor
    real: Tensor
    kept: Tensor

    def take(self, rows: Tensor) -> Tensor:
        """(R, L, d) -> (P, d)."""
        taken: Tensor = _Take.apply(rows.flatten(0, 1), self.at, self.back, self.kept)
        return taken

    def put(self, taken: Tensor, rows: int) -> Tensor:
        """(P, d) -> (R, L, d)."""
        put: Tensor = _Take.apply(taken, self.back, self.at, self.real)
        return put.unflatten(0, (rows, -1))


class _Take(torch.autograd.Function):
    """x[index], whose every row is used at most once: the gradient is taken too, not scattered (on a CPU an
    order of magnitude faster)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, back: Tensor, used: Tensor) -> Tensor:
        ctx.save_for_backward(back, used)
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        back, used = ctx.saved_tensors
        return grads[0].index_select(0, back).masked_fill_(~used[:, None], 0.0), None, None, None


@dataclass(frozen=True)
class Group:
    """Examples (n) of similar lengths: queries (n, Lq) and keys (n, Lk) are places in flattened rows, and
    which of them are tokens."""

    queries: Tensor
    keys: Tensor
    real_queries: Tensor
    real_keys: Tensor


def groups_of(queries: Tensor, keys: Tensor) -> list[Group]:
    """Segment numbers (R, Lq) and (R, Lk), in which each example stands in one piece -> its groups."""
    sides = [_pieces(segments) for segments in (queries, keys)]
    rounded = torch.stack([-(-lengths // MULTIPLE) * MULTIPLE for _, lengths in sides], 1)
    found = []
    for sizes in rounded.unique(dim=0):
        mine = (rounded == sizes).all(1)
        parts = []
        for (starts, lengths), size in zip(sides, sizes.tolist(), strict=True):
            order = torch.arange(size, device=starts.device)
            real = order < lengths[mine, None]
            parts.append((torch.where(real, starts[mine, None] + order, 0), real))
        (at_q, real_q), (at_k, real_k) = parts
        found.append(Group(at_q, at_k, real_q, real_k))
    return found


def _pieces(segments: Tensor) -> tuple[Tensor, Tensor]:
    """(R, L) -> of each example the place in R * L where it starts, and its length."""
    flat = segments.flatten()
    lengths = flat.bincount()[1:]
    places = torch.arange(len(flat), device=flat.device)
    starts = torch.full_like(lengths, len(flat)).scatter_reduce(
        0, (flat - 1).clamp(min=0), torch.where(flat > 0, places, len(flat)), "amin"
    )
    return starts, lengths


class PerExample:
    """What the layers of a stack share instead of a bias: where examples stand, and the bias of each group.

    biases: of each group, (n or 1, heads or 1, Lq, Lk), additive, mask included.
    """

    def __init__(self, groups: list[Group], biases: list[Tensor], queries: Tensor, keys: Tensor) -> None:
        """queries, keys: the segment numbers that the groups were made of."""
        self.groups, self.biases = groups, biases
        self.queries = _places([g.queries for g in groups], [g.real_queries for g in groups], queries)
        self.keys = _places([g.keys for g in groups], [g.real_keys for g in groups], keys)

    @torch.compiler.disable  # each batch has other groups: traced, it would be compiled anew for each
    def attend(self, q: Tensor, k: Tensor, v: Tensor, dense: Dense) -> Tensor:
        """(R, H, Lq, D), (R, H, Lk, D) twice -> (R, H, Lq, D); padding of the rows gets anything finite."""
        rows, heads = q.shape[:2]
        q, k, v = (
            places.take(x.transpose(1, 2).flatten(2))
            for places, x in ((self.queries, q), (self.keys, k), (self.keys, v))
        )
        # split, not slices: the gradient is then one concatenation, not a sum of mostly zeros
        sizes_q = [group.queries.numel() for group in self.groups]
        sizes_k = [group.keys.numel() for group in self.groups]
        parts = zip(q.split(sizes_q), k.split(sizes_k), v.split(sizes_k), strict=True)
        outs = []
        for group, bias, part in zip(self.groups, self.biases, parts, strict=True):
            own_q, own_k, own_v = (
                x.unflatten(0, (len(group.queries), -1)).unflatten(2, (heads, -1)).transpose(1, 2)
                for x in part
            )
            outs.append(dense(own_q, own_k, own_v, bias).transpose(1, 2).flatten(0, 1).flatten(1))
        return self.queries.put(torch.cat(outs), rows).unflatten(2, (heads, -1)).transpose(1, 2)


def _places(at: list[Tensor], real: list[Tensor], segments: Tensor) -> Places:
    flat_at, flat_real = torch.cat([x.flatten() for x in at]), torch.cat([x.flatten() for x in real])
    back = torch.zeros(segments.numel(), dtype=torch.long, device=segments.device)
    tokens = flat_real.nonzero()[:, 0]
    back[flat_at[tokens]] = tokens
    return Places(flat_at, back, flat_real, segments.flatten() > 0)
