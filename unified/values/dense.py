"""Dense values as images, for the image tokenizer, and back.

Each pair is exact up to 8-bit rounding: depth is grey, linear in a stated range; normals are
(n + 1) / 2; a mask is black and white; a segmentation has one colour a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from unified.values.instances import INSTANCE_COLOURS, instances
from unified.values.types import DenseValue, Depth, Image, Mask, Normals, Segmentation

MAX_CLASSES = 255
"""The most classes, background aside, that have a colour."""

DenseType = Literal["image", "mask", "segmentation", "depth", "normals"]
Scheme = Literal["spread", "unified_io"]


def to_image(
    value: DenseValue, *, value_range: tuple[float, float] | None = None, scheme: Scheme = "spread"
) -> Image:
    """The picture of a dense value, of the same size.

    `value_range`: metres that become black and white, for depth only; what lies outside is clipped.
    `scheme`: which `colours` a segmentation has. Invalid depth and normals are black. Raises ValueError for
    depth without a range, and for class numbers without a name or a colour.
    """
    match value:
        case Image():
            return value
        case Mask():
            return _grey(np.where(value.array, np.uint8(255), np.uint8(0)))
        case Segmentation():
            if value.classes.size and not 0 <= value.classes.min() <= value.classes.max() <= len(value.names):
                raise ValueError(
                    f"segmentation has classes outside 0..{len(value.names)}, its names' numbers"
                )
            return Image(colours(scheme, len(value.names))[value.classes])
        case Depth():
            low, high = _range(value_range)
            grey = _to_bytes((value.metres - low) / (high - low))
            return _grey(grey if value.valid is None else np.where(value.valid, grey, np.uint8(0)))
        case Normals():
            rgb = _to_bytes((value.vectors + 1.0) / 2.0)
            return Image(rgb if value.valid is None else np.where(value.valid[..., None], rgb, np.uint8(0)))
    raise TypeError(f"{type(value).__name__} is not a dense value")


def from_image(
    image: Image,
    like: DenseType,
    *,
    value_range: tuple[float, float] | None = None,
    names: Sequence[str] | None = None,
    scheme: Scheme = "spread",
) -> DenseValue:
    """The dense value of type `like` that an image shows; the inverse of `to_image`.

    Lenient with what an image tokenizer blurs: a mask is what is lighter than middle grey, depth
    the mean of the channels, a class the nearest colour of the palette of `names` (or what `instances`
    says, in the scheme `unified_io`), a normal is brought to unit length. Raises ValueError where depth
    has no range or a segmentation no names.
    """
    match like:
        case "image":
            return image
        case "mask":
            return Mask(image.pixels.mean(axis=2) >= 128)
        case "segmentation":
            if names is None:
                raise ValueError("a segmentation needs the names of its classes")
            if scheme == "unified_io":
                numbers = instances(image)
                return Segmentation(np.where(numbers <= len(names), numbers, 0), tuple(names))
            return Segmentation(_nearest_colour(image.pixels, colours(scheme, len(names))), tuple(names))
        case "depth":
            low, high = _range(value_range)
            return Depth(low + image.pixels.mean(axis=2) / 255.0 * (high - low))
        case "normals":
            vectors = image.pixels / 127.5 - 1.0  # never zero: 255 is odd
            return Normals(vectors / np.linalg.norm(vectors, axis=2, keepdims=True))
    raise ValueError(f"'{like}' is not a dense type")


def colours(scheme: Scheme, classes: int) -> npt.NDArray[np.uint8]:
    """(classes + 1, 3) RGB of a scheme: row 0 is black for the background, row i the colour of class i.
    Raises ValueError for more classes than it has colours."""
    if scheme == "spread":
        return palette(classes)
    if classes >= len(INSTANCE_COLOURS):
        raise ValueError(f"the palette {scheme} has {len(INSTANCE_COLOURS) - 1} colours, not {classes}")
    return INSTANCE_COLOURS[: classes + 1]


def palette(classes: int) -> npt.NDArray[np.uint8]:
    """(classes + 1, 3) RGB: row 0 is black for the background, row i the colour of class i.

    The corners of the RGB cube first, then whatever lies farthest from all colours before it: any
    prefix is well separated, and class i has the same colour whatever the number of classes.
    Raises ValueError beyond 255 classes.
    """
    if not 0 <= classes <= MAX_CLASSES:
        raise ValueError(f"a palette has 0 to {MAX_CLASSES} classes, not {classes}")
    return _all_colours()[: classes + 1]


@lru_cache(maxsize=1)
def _all_colours() -> npt.NDArray[np.uint8]:
    chosen: list[tuple[int, ...]] = [
        (0, 0, 0),
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        (255, 255, 0),
        (255, 0, 255),
        (0, 255, 255),
    ]
    chosen.append((255, 255, 255))
    levels = np.arange(0, 256, 17)
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    distance = np.min([((candidates - colour) ** 2).sum(axis=1) for colour in chosen], axis=0)
    while len(chosen) <= MAX_CLASSES:
        farthest = candidates[int(distance.argmax())]
        chosen.append(tuple(int(v) for v in farthest))
        distance = np.minimum(distance, ((candidates - farthest) ** 2).sum(axis=1))
    colours = np.array(chosen, np.uint8)
    colours.setflags(write=False)
    return colours


def _nearest_colour(pixels: npt.NDArray[np.uint8], colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """(h, w) index of the colour with the least squared RGB distance to each pixel."""
    table = colours.astype(np.float32)
    norms = (table**2).sum(axis=1)
    flat = pixels.reshape(-1, 3)
    out = np.empty(len(flat), np.int64)
    for start in range(0, len(flat), 1 << 14):  # bounds the distance table to 16 MB
        part = flat[start : start + (1 << 14)].astype(np.float32)
        # |p - c|^2 without its constant |p|^2; whole numbers below 2^24, so float32 is exact.
        out[start : start + len(part)] = (norms - 2.0 * part @ table.T).argmin(axis=1)
    return out.reshape(pixels.shape[:2])


def _to_bytes(unit: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """[0, 1] -> 0..255, clipped; NaN (nothing measured) becomes 0."""
    return np.rint(np.nan_to_num(unit.clip(0.0, 1.0), nan=0.0) * 255.0).astype(np.uint8)


def _grey(grey: npt.NDArray[np.uint8]) -> Image:
    return Image(np.repeat(grey[..., None], 3, axis=2))


def _range(value_range: tuple[float, float] | None) -> tuple[float, float]:
    if value_range is None or not value_range[0] < value_range[1]:
        raise ValueError(f"depth needs a value_range of two ascending numbers of metres, not {value_range}")
    return float(value_range[0]), float(value_range[1])
