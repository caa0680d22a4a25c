"""Separable resampling of pixel arrays, one set of weights an axis.

Bilinear weights are the triangle filter of torch.nn.functional.interpolate(mode="bilinear",
antialias=True, align_corners=False): as wide as one source pixel when enlarging, as one target
pixel when shrinking, normalised over the source pixels that exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

BLOCK = 32
"""Target pixels made by one matrix product. The weights of a block touch few source pixels, so
that blocks of a banded matrix cost a fraction of the whole one."""


@dataclass(frozen=True)
class Axis:
    """One axis of a geometry: target = scale * source + shift, of `length` source pixels into
    `target` ones; the target interval [low, high] shows the source, the rest is padding."""

    length: int
    target: int
    scale: float
    shift: float
    low: float
    high: float

    @property
    def copies(self) -> bool:
        """Whether each valid target pixel is exactly one source pixel."""
        return abs(self.scale) == 1.0 and self.shift == round(self.shift)

    @property
    def unchanged(self) -> bool:
        """Whether the target is the source, pixel for pixel."""
        return self.copies and self.nearest() is None

    def valid(self) -> npt.NDArray[np.bool_]:
        """(target,) bool: pixels whose centre lies in the content."""
        centres = np.arange(self.target) + 0.5
        return (centres > self.low) & (centres < self.high)

    def nearest(self) -> npt.NDArray[np.int64] | None:
        """(target,) source pixel under each centre, -1 for padding; None where nothing changes."""
        return _nearest(self)

    def blocks(self) -> tuple[Block, ...]:
        """The bilinear weights, cut into blocks that cover all valid target pixels."""
        return _blocks(self)


class Block(NamedTuple):
    """`weights` @ source[first : first + weights.shape[1]] = target[start : start + weights.shape[0]]."""

    start: int
    first: int
    weights: npt.NDArray[np.float32]


def resample_nearest(pixels: npt.NDArray[np.generic], rows: Axis, columns: Axis) -> npt.NDArray:
    """(h, w, ...) -> (H, W, ...) of the same dtype: the source pixel under each centre, padding 0."""
    out = pixels
    for axis, side in ((0, rows), (1, columns)):
        index = side.nearest()
        if index is None:
            continue
        out = np.take(out, np.maximum(index, 0), axis=axis)
        if index.min() < 0:
            out[(slice(None),) * axis + (index < 0,)] = 0
    return out


def resample_smooth(pixels: npt.NDArray[np.generic], rows: Axis, columns: Axis) -> npt.NDArray[np.float32]:
    """(h, w, c) -> (H, W, c) float32, antialiased bilinear, padding 0."""
    height, width, channels = pixels.shape
    lines = _multiply(pixels.reshape(height, width * channels), rows)
    # The product runs over the first axis, where a source pixel is one long contiguous row.
    turned = np.ascontiguousarray(lines.reshape(rows.target, width, channels).transpose(1, 0, 2))
    turned = _multiply(turned.reshape(width, rows.target * channels), columns)
    return np.ascontiguousarray(turned.reshape(columns.target, rows.target, channels).transpose(1, 0, 2))


def _multiply(lines: npt.NDArray[np.generic], axis: Axis) -> npt.NDArray[np.float32]:
    """The axis's weights times `lines` (length, n), a block at a time, in float32."""
    if axis.unchanged:
        return lines.astype(np.float32)
    out = np.zeros((axis.target, lines.shape[1]), np.float32)
    for start, first, weights in axis.blocks():
        part = lines[first : first + weights.shape[1]].astype(np.float32, copy=False)
        np.matmul(weights, part, out=out[start : start + len(weights)])
    return out


def _source_range(axis: Axis) -> tuple[int, int]:
    """First and one past the last source pixel that the content touches."""
    ends = sorted(((axis.low - axis.shift) / axis.scale, (axis.high - axis.shift) / axis.scale))
    first = max(0, int(np.floor(ends[0] + 1e-6)))
    last = min(axis.length, int(np.ceil(ends[1] - 1e-6)))
    return first, max(last, first + 1)


@lru_cache(maxsize=4096)
def _nearest(axis: Axis) -> npt.NDArray[np.int64] | None:
    first, last = _source_range(axis)
    valid = axis.valid()
    at = (np.arange(axis.target) + 0.5 - axis.shift) / axis.scale
    # A centre that falls on an edge between two pixels belongs to the right one, whatever rounding says.
    index = np.floor(at + 1e-9).astype(np.int64).clip(first, last - 1)
    index[~valid] = -1
    if axis.length == axis.target and (index == np.arange(axis.target)).all():
        return None
    index.setflags(write=False)
    return index


@lru_cache(maxsize=1024)
def _blocks(axis: Axis) -> tuple[Block, ...]:
    first, last = _source_range(axis)
    valid = axis.valid()
    at = (np.arange(axis.target) + 0.5 - axis.shift) / axis.scale
    reach = max(1.0, 1.0 / abs(axis.scale))
    blocks = []
    for start in range(0, axis.target, BLOCK):
        inside = np.flatnonzero(valid[start : start + BLOCK]) + start
        if not len(inside):
            continue
        # Valid pixels are one run: content is an interval.
        centres = at[inside[0] : inside[-1] + 1]
        low = max(first, min(last - 1, int(np.floor(centres.min() - reach))))
        high = max(low + 1, min(last, int(np.ceil(centres.max() + reach))))
        distance = np.abs(np.arange(low, high) + 0.5 - centres[:, None]) / reach
        weights = np.maximum(0.0, 1.0 - distance)
        weights /= weights.sum(axis=1, keepdims=True)
        block = weights.astype(np.float32)
        block.setflags(write=False)
        blocks.append(Block(int(inside[0]), low, block))
    return tuple(blocks)
