"""Typed values: what a task reads and what a model answers.

Every value is a frozen dataclass. Spatial values are in continuous pixels of the frame they live
in: (x, y), origin at the top-left corner of the top-left pixel, so that a w x h image spans
[0, w] x [0, h]. `values` knows nothing of tokens, tasks or models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt


class Size(NamedTuple):
    """Width and height of a frame in pixels."""

    width: int
    height: int


@dataclass(frozen=True)
class Text:
    """A string, exactly as found."""

    text: str


@dataclass(frozen=True)
class Texts:
    """Several strings of equal standing: the captions of one image, the answers to one question."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Label:
    """The name of a class."""

    name: str


@dataclass(frozen=True)
class Number:
    """A real number in the unit that the task states."""

    value: float


@dataclass(frozen=True)
class Boxes:
    """Axis-aligned boxes. `xyxy`: (n, 4) float64 pixels, x1 <= x2 and y1 <= y2.

    `labels`: one name a box, or None where boxes are unnamed. `scores`: (n,) confidences of
    predictions, or None.
    """

    xyxy: npt.NDArray[np.float64]
    labels: tuple[str, ...] | None = None
    scores: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.xyxy)


@dataclass(frozen=True)
class Points:
    """Points. `xy`: (n, 2) float64 pixels. `labels`: one name a point, or None."""

    xy: npt.NDArray[np.float64]
    labels: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.xy)


@dataclass(frozen=True)
class Keypoints:
    """The named joints of n figures.

    `xy`: (n, k, 2) float64 pixels. `visibility`: (n, k) int64 as in COCO (0 absent, 1 hidden,
    2 visible). `names`: k joint names; a horizontal flip swaps names that differ only in
    left/right. `area`: (n,) figure areas in square pixels for OKS, or None.
    """

    xy: npt.NDArray[np.float64]
    visibility: npt.NDArray[np.int64]
    names: tuple[str, ...]
    area: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.xy)


@dataclass(frozen=True)
class GroundedText:
    """A text whose phrases point at boxes: `spans[i]` = (start, end) characters of `text` that
    `boxes.xyxy[i]` shows. Spans are ascending and do not overlap; a phrase with several boxes
    repeats its span."""

    text: str
    spans: tuple[tuple[int, int], ...]
    boxes: Boxes


@dataclass(frozen=True)
class Image:
    """`pixels`: (height, width, 3) uint8 RGB."""

    pixels: npt.NDArray[np.uint8]

    @property
    def size(self) -> Size:
        return Size(self.pixels.shape[1], self.pixels.shape[0])


@dataclass(frozen=True)
class Mask:
    """`array`: (height, width) bool, True on the object."""

    array: npt.NDArray[np.bool_]

    @property
    def size(self) -> Size:
        return Size(self.array.shape[1], self.array.shape[0])


@dataclass(frozen=True)
class Segmentation:
    """A class a pixel. `classes`: (height, width) int64; 0 is background, i is `names[i - 1]`."""

    classes: npt.NDArray[np.int64]
    names: tuple[str, ...]

    @property
    def size(self) -> Size:
        return Size(self.classes.shape[1], self.classes.shape[0])


@dataclass(frozen=True)
class Depth:
    """`metres`: (height, width) float64, distance along the viewing axis (z). `valid`: (height,
    width) bool, False where nothing was measured, or None when everything was."""

    metres: npt.NDArray[np.float64]
    valid: npt.NDArray[np.bool_] | None = None

    @property
    def size(self) -> Size:
        return Size(self.metres.shape[1], self.metres.shape[0])


@dataclass(frozen=True)
class Normals:
    """`vectors`: (height, width, 3) float64 unit normals in the camera frame: x right, y down, z
    into the scene (a wall that faces the camera is (0, 0, -1)). `valid` as in Depth."""

    vectors: npt.NDArray[np.float64]
    valid: npt.NDArray[np.bool_] | None = None

    @property
    def size(self) -> Size:
        return Size(self.vectors.shape[1], self.vectors.shape[0])


DenseValue: TypeAlias = Image | Mask | Segmentation | Depth | Normals
SpatialValue: TypeAlias = Boxes | Points | Keypoints | GroundedText | DenseValue
Value: TypeAlias = Text | Texts | Label | Number | SpatialValue

TYPES: dict[str, type] = {
    "text": Text,
    "texts": Texts,
    "label": Label,
    "number": Number,
    "boxes": Boxes,
    "points": Points,
    "keypoints": Keypoints,
    "grounded_text": GroundedText,
    "image": Image,
    "mask": Mask,
    "segmentation": Segmentation,
    "depth": Depth,
    "normals": Normals,
}
"""Field types of a task spec, by the name used in YAML."""

DENSE_TYPES: tuple[str, ...] = ("image", "mask", "segmentation", "depth", "normals")
"""Types that become images, then VQGAN codes; all others are text with location tokens."""
