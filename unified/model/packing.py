"""Several examples in one row of a stack: where each token stands, and what it may see."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from unified.model.attention import PackedStyle
from unified.model.per_example import Group, groups_of


@dataclass(frozen=True)
class Packing:
    """The rows of one stack, (R, L) int64 each.

    source: index of the token among all tokens [texts of E examples (E * Lt) ; cells of N pictures (N * C)],
        examples one after the other; padding points anywhere.
    segments: the example's number from 1, 0 for padding: attention stays within equal numbers.
    slots: where the token stands in its own example: the place in its text, or `text_length` + its cell.
    pictures: the picture's number from 1, 0 for text: relative positions of cells hold within a picture.
    text_length, cells: Lt and C.
    style: how attention treats the rows. groups: of examples that it takes out of them, if it does.
    """

    source: Tensor
    segments: Tensor
    slots: Tensor
    pictures: Tensor
    text_length: int
    cells: int
    style: PackedStyle = "rows"
    groups: list[Group] = field(default_factory=list)

    @classmethod
    def of(
        cls, layout: Tensor, texts: tuple[int, int], cells: int, owners: Tensor | None, style: PackedStyle
    ) -> Packing:
        """
        Args:
            layout: (R, L) the `source` of each place, -1 for padding.
            texts: (E, Lt), the shape of the padded texts.
            cells: C of each picture, 0 where there are none.
            owners: (N,) the example of each picture, or None.
            style: `attention.packed_style`.
        """
        examples, length = texts
        source = layout.clamp(min=0)
        beyond = source - examples * length
        text = beyond < 0
        if owners is None:
            owner, slots, pictures = source // length, source % length, torch.zeros_like(source)
        else:
            picture = beyond.clamp(min=0) // cells
            owner = torch.where(text, source // length, owners[picture])
            slots = torch.where(text, source % length, length + beyond % cells)
            pictures = torch.where(text, 0, picture + 1)
        segments = torch.where(layout < 0, 0, owner + 1)
        groups = groups_of(segments, segments) if style == "by_example" else []
        return cls(source, segments, slots, pictures, length, cells, style, groups)

    def of_group(self, group: Group) -> Packing:
        """The examples of a group, one a row."""
        at = group.queries
        slots, pictures = self.slots.flatten()[at], self.pictures.flatten()[at]
        return replace(self, source=at, segments=group.real_queries.long(), slots=slots, pictures=pictures)

    def gather(self, text: Tensor, pictures: Tensor | None) -> Tensor:
        """Texts (E, Lt, d) and the cells of pictures (N, C, d) -> rows (R, L, d)."""
        pool = text.flatten(0, 1)
        if pictures is not None:
            pool = torch.cat([pool, pictures.flatten(0, 1)])
        return pool[self.source]

    def scatter(self, rows: Tensor) -> Tensor:
        """Rows (R, L, d) -> (n, d): the real tokens in the order of `source`, texts first."""
        real = self.segments.flatten() > 0
        places = real.nonzero()[:, 0]
        return rows.flatten(0, 1)[places[self.source.flatten()[places].argsort()]]


def image_order(owners: Tensor) -> Tensor:
    """(N,) ascending examples of pictures -> (N,) which picture of its example each is: 0, 1 ..."""
    return torch.arange(len(owners), device=owners.device) - torch.searchsorted(owners, owners)
