"""Axis-aligned geometry that moves every spatial value of an example together, and knows its inverse.

A `Geometry` is a closed form: one scale and one shift an axis, the sizes of both frames, and the
rectangle of the target that shows the source. Resizing with padding, cropping and flipping are
the three ways to make one; `then` composes, `inverse` inverts, `apply` moves a value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from unified.values.resample import Axis, resample_nearest, resample_smooth
from unified.values.types import (
    Boxes,
    Depth,
    GroundedText,
    Image,
    Keypoints,
    Mask,
    Normals,
    Points,
    Segmentation,
    Size,
)

V = TypeVar("V")

EDGE = 1e-6
"""Pixels: how far rounding may carry a coordinate over an edge before it counts as outside."""


class Rect(NamedTuple):
    """Continuous pixels (x1, y1, x2, y2)."""

    x1: float
    y1: float
    x2: float
    y2: float


NOTHING = Rect(0.0, 0.0, 0.0, 0.0)
"""The content of a geometry that shows nothing of its source."""


@dataclass(frozen=True)
class Geometry:
    """x' = scale_x * x + shift_x and y' = scale_y * y + shift_y, from frame `source` to frame `target`.

    A negative `scale_x` mirrors left and right; `scale_y` is positive. `content` is the part of
    the target, in target pixels, that shows the source: what lies outside it is padding, also
    where an earlier crop of a composition cut away what the formula alone would bring back.
    """

    source: Size
    target: Size
    scale_x: float
    scale_y: float
    shift_x: float
    shift_y: float
    content: Rect

    def __post_init__(self) -> None:
        if self.scale_x == 0 or self.scale_y <= 0:
            raise ValueError(f"scale_x may not be 0 nor scale_y <= 0: {self.scale_x}, {self.scale_y}")
        if min(*self.source, *self.target) < 1:
            raise ValueError(f"frames need at least one pixel, not {self.source} and {self.target}")

    # --- makers ---------------------------------------------------------------------------------

    @classmethod
    def identity(cls, size: Size) -> Geometry:
        """The frame as it is."""
        return cls(size, size, 1.0, 1.0, 0.0, 0.0, _frame(size))

    @classmethod
    def resize_pad(cls, source: Size, side: int) -> Geometry:
        """Fit the longer side to `side`, keep the aspect ratio, pad at the bottom and right to a square.

        Sizes as Unified-IO's `resize_and_pad`, its float arithmetic included: each side times
        `side / longer side`, truncated, at least one pixel; each axis then has the scale that its
        whole-pixel size gives.
        """
        scale = side / max(source)
        width, height = max(1, int(source.width * scale)), max(1, int(source.height * scale))
        return cls(
            source,
            Size(side, side),
            width / source.width,
            height / source.height,
            0.0,
            0.0,
            Rect(0.0, 0.0, float(width), float(height)),
        )

    @classmethod
    def crop(cls, source: Size, xyxy: tuple[float, float, float, float]) -> Geometry:
        """Cut out a rectangle, rounded to whole pixels; what it has beyond the source is padding.

        Raises ValueError where the rectangle is empty or misses the source.
        """
        x1, y1, x2, y2 = (round(float(v)) for v in xyxy)
        content = _intersect(
            Rect(-float(x1), -float(y1), float(source.width - x1), float(source.height - y1)),
            Rect(0.0, 0.0, float(x2 - x1), float(y2 - y1)),
        )
        if content == NOTHING:
            raise ValueError(f"crop {tuple(xyxy)} shows nothing of a {source.width} x {source.height} frame")
        return cls(source, Size(x2 - x1, y2 - y1), 1.0, 1.0, -float(x1), -float(y1), content)

    @classmethod
    def flip(cls, source: Size) -> Geometry:
        """Mirror left and right: x' = width - x."""
        return cls(source, source, -1.0, 1.0, float(source.width), 0.0, _frame(source))

    # --- algebra --------------------------------------------------------------------------------

    def then(self, other: Geometry) -> Geometry:
        """First this, then `other`, whose source must be this target."""
        if other.source != self.target:
            raise ValueError(f"cannot compose: first maps to {self.target}, second maps from {other.source}")
        return Geometry(
            self.source,
            other.target,
            other.scale_x * self.scale_x,
            other.scale_y * self.scale_y,
            other.scale_x * self.shift_x + other.shift_x,
            other.scale_y * self.shift_y + other.shift_y,
            _intersect(other._map_rect(self.content), other.content),
        )

    def inverse(self) -> Geometry:
        """From the target frame back to the source frame; its content is what the target shows."""
        back = Geometry(
            self.target,
            self.source,
            1.0 / self.scale_x,
            1.0 / self.scale_y,
            -self.shift_x / self.scale_x,
            -self.shift_y / self.scale_y,
            _frame(self.source),
        )
        return replace(back, content=_intersect(back._map_rect(self.content), _frame(self.source)))

    @property
    def mirrored(self) -> bool:
        """Whether left and right change places."""
        return self.scale_x < 0

    def map_xy(self, xy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Points (..., 2) of the source frame in the target frame, neither clipped nor dropped."""
        scale = np.array([self.scale_x, self.scale_y])
        return np.asarray(xy, np.float64) * scale + np.array([self.shift_x, self.shift_y])

    def _map_rect(self, rect: Rect) -> Rect:
        (xa, ya), (xb, yb) = self.map_xy(np.array([[rect.x1, rect.y1], [rect.x2, rect.y2]]))
        # Snap what rounding moved off a whole pixel, so that contents of round trips compare equal.
        snapped = [round(v) if abs(v - round(v)) < EDGE else v for v in (min(xa, xb), ya, max(xa, xb), yb)]
        return Rect(*(float(v) for v in snapped))

    @property
    def copies(self) -> bool:
        """Whether each pixel that shows the source is one of its pixels."""
        return all(axis.copies for axis in self._axes)

    # --- pixels ---------------------------------------------------------------------------------

    @cached_property
    def _axes(self) -> tuple[Axis, Axis]:
        """How rows and columns of the target are made from those of the source."""
        c = self.content
        return (
            Axis(self.source.height, self.target.height, self.scale_y, self.shift_y, c.y1, c.y2),
            Axis(self.source.width, self.target.width, self.scale_x, self.shift_x, c.x1, c.x2),
        )

    def valid_mask(self) -> npt.NDArray[np.bool_]:
        """(height, width) bool: the target pixels whose centre shows the source."""
        rows, columns = self._axes
        return np.logical_and.outer(rows.valid(), columns.valid())

    def resample(
        self, pixels: npt.NDArray[np.generic], filter: Literal["bilinear", "nearest"] = "bilinear"
    ) -> npt.NDArray[np.float32]:
        """(h, w, c) pixels of the source as (H, W, c) float32 of the target; padding is 0.

        `bilinear` is antialiased where it shrinks: inside one frame it equals
        torch.nn.functional.interpolate(mode="bilinear", antialias=True, align_corners=False).
        """
        self._expect(Size(pixels.shape[1], pixels.shape[0]))
        rows, columns = self._axes
        if filter == "nearest" or (rows.copies and columns.copies):
            return resample_nearest(pixels, rows, columns).astype(np.float32)
        return resample_smooth(pixels, rows, columns)

    # --- values ---------------------------------------------------------------------------------

    def apply(self, value: V) -> V:
        """The value in the target frame; text, labels and numbers have no frame and stay as they are.

        Boxes are clipped to the content and dropped, with label and score (and span of a grounded
        text, whose words stay), where no area is left. Points outside are dropped with their label;
        joints outside become invisible, their coordinates clipped. Images are resampled smoothly,
        all other dense values by the nearest pixel; padding is black, background, or invalid.
        Raises ValueError where a dense value has not the size of the source frame.
        """
        return self.apply_counted(value)[0]

    def apply_counted(self, value: V) -> tuple[V, int]:
        """`apply`, and how many boxes, points or seen joints left the frame."""
        moved, dropped = self._move(value)
        return moved, dropped  # type: ignore[return-value]

    def _move(self, value: object) -> tuple[object, int]:
        match value:
            case Boxes():
                moved, kept = self._move_boxes(value)
                return moved, len(kept) - int(kept.sum())
            case GroundedText():
                boxes, kept = self._move_boxes(value.boxes)
                spans = tuple(s for s, k in zip(value.spans, kept, strict=True) if k)
                return GroundedText(value.text, spans, boxes), len(kept) - int(kept.sum())
            case Points():
                xy, kept = self._move_points(value.xy)
                return Points(xy[kept], _pick(value.labels, kept)), len(kept) - int(kept.sum())
            case Keypoints():
                return self._move_keypoints(value)
            case Image():
                self._expect(value.size)
                rows, columns = self._axes
                if rows.copies and columns.copies:
                    return Image(resample_nearest(value.pixels, rows, columns)), 0
                smooth = resample_smooth(value.pixels, rows, columns)
                return Image((smooth + 0.5).clip(0, 255).astype(np.uint8)), 0
            case Mask():
                return Mask(self._nearest(value.array)), 0
            case Segmentation():
                return Segmentation(self._nearest(value.classes), value.names), 0
            case Depth():
                return Depth(self._nearest(value.metres), self._move_valid(value.valid)), 0
            case Normals():
                vectors = self._nearest(value.vectors)
                if self.mirrored:
                    vectors = vectors * np.array([-1.0, 1.0, 1.0])
                return Normals(vectors, self._move_valid(value.valid)), 0
            case _:
                return value, 0

    def _move_boxes(self, boxes: Boxes) -> tuple[Boxes, npt.NDArray[np.bool_]]:
        corners = self.map_xy(np.asarray(boxes.xyxy, np.float64).reshape(-1, 2, 2))
        c = self.content
        low = np.maximum(corners.min(axis=1), [c.x1, c.y1])
        high = np.minimum(corners.max(axis=1), [c.x2, c.y2])
        kept: npt.NDArray[np.bool_] = np.logical_and.reduce(high - low > EDGE, axis=1)
        scores = None if boxes.scores is None else boxes.scores[kept]
        return Boxes(np.concatenate([low, high], axis=1)[kept], _pick(boxes.labels, kept), scores), kept

    def _move_points(
        self, xy: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Mapped and clipped points (..., 2), and which of them lay inside the content."""
        moved = self.map_xy(xy)
        c = self.content
        clipped = np.clip(moved, [c.x1, c.y1], [c.x2, c.y2])
        inside: npt.NDArray[np.bool_] = np.logical_and.reduce(np.abs(moved - clipped) <= EDGE, axis=-1)
        inside &= c != NOTHING
        return clipped, inside

    def _move_keypoints(self, value: Keypoints) -> tuple[Keypoints, int]:
        xy, inside = self._move_points(value.xy)
        visibility = np.where(inside, value.visibility, 0)
        lost = int(((value.visibility > 0) & ~inside).sum())
        if self.mirrored:
            order = mirror_order(value.names)
            xy, visibility = xy[:, order], visibility[:, order]
        area = None if value.area is None else value.area * abs(self.scale_x * self.scale_y)
        return Keypoints(xy, visibility, value.names, area), lost

    def _nearest(self, array: npt.NDArray[np.generic]) -> npt.NDArray:
        self._expect(Size(array.shape[1], array.shape[0]))
        return resample_nearest(array, *self._axes)

    def _move_valid(self, valid: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_] | None:
        if valid is not None:
            return self._nearest(valid)  # padding is False
        inside = self.valid_mask()
        return None if inside.all() else inside

    def _expect(self, size: Size) -> None:
        if size != self.source:
            raise ValueError(f"a value of {size} does not fit a geometry from {self.source}")


def mirror_order(names: tuple[str, ...]) -> list[int]:
    """For each joint, whose place it takes when left and right change places.

    Two names are partners where they differ only in left/right (`left_x`, `x-left`, `LeftX`) or in
    a standing l/r (`l_x`, `x_r`, `lX`). A name without a partner keeps its place.
    """
    index = {name: i for i, name in enumerate(names)}
    partner = [
        next((index[other] for other in _mirrored_names(name) if other in index), i)
        for i, name in enumerate(names)
    ]
    return [p if partner[p] == i else i for i, p in enumerate(partner)]


_SIDES = {"left": "right", "right": "left", "l": "r", "r": "l"}
_SIDE_WORDS = (
    re.compile(r"(?<![a-z])(?:left|right)(?![a-z])", re.IGNORECASE),
    re.compile(r"left|right", re.IGNORECASE),
    re.compile(r"(?<![a-zA-Z])[lrLR](?![a-z])"),
)


def _mirrored_names(name: str) -> list[str]:
    """What `name` may be called on the other side, the surest first."""

    def swap(match: re.Match[str]) -> str:
        word = match.group()
        other = _SIDES[word.lower()]
        return other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other

    swapped = [pattern.sub(swap, name) for pattern in _SIDE_WORDS]
    return [other for other in swapped if other != name]


def _frame(size: Size) -> Rect:
    return Rect(0.0, 0.0, float(size.width), float(size.height))


def _intersect(a: Rect, b: Rect) -> Rect:
    """The common rectangle; NOTHING where there is none."""
    both = Rect(max(a.x1, b.x1), max(a.y1, b.y1), min(a.x2, b.x2), min(a.y2, b.y2))
    return both if both.x2 - both.x1 > EDGE and both.y2 - both.y1 > EDGE else NOTHING


def _pick(labels: tuple[str, ...] | None, kept: npt.NDArray[np.bool_]) -> tuple[str, ...] | None:
    return None if labels is None else tuple(name for name, k in zip(labels, kept, strict=True) if k)
