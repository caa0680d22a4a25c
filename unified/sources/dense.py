"""Masks, segmentations, depth and normals from what a row holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from unified.sources.images import read_numbers
from unified.specs.example import BadRow
from unified.values.types import Depth, Mask, Normals, Segmentation, Size

Axes: TypeAlias = tuple[tuple[int, int], ...]
"""For each of our axes: (the source's component, its sign)."""


def to_mask(raw: Any, form: str | None, root: Path, size: Size | None) -> Mask:
    """png: any non-zero pixel. bool: (h, w) array. rle: COCO's {size, counts}. polygon: COCO's lists
    of x, y, ..., alone (then `size` is the frame) or as {size, polygons}. Several rle or
    polygon objects in a list are united. None: by what the value is."""
    if form is None:
        if isinstance(raw, Mapping) and ("counts" in raw or "polygons" in raw):
            form = "rle"
        elif isinstance(raw, list):
            form = "rle" if raw and isinstance(raw[0], Mapping) else "polygon"
        else:
            form = "png"
    if form in ("rle", "polygon"):
        return Mask(_object_mask(raw, size))
    array = read_numbers(raw, root)
    if array.dtype != np.bool_:
        array = np.not_equal(array, 0)
    if array.ndim == 3:
        # An alpha channel says nothing here: it is opaque where the mask is black.
        colours = array.shape[2] - (array.shape[2] in (2, 4))
        array = np.any(array[:, :, :colours], axis=2)
    return Mask(_plane(array, "mask"))


def to_segmentation(
    raw: Any, names: Sequence[str], root: Path, size: Size | None, labels: Sequence[str] | None
) -> Segmentation:
    """A picture or array of class numbers: 0 is background, i is `names[i - 1]`, and 255 is void
    (background) where that is no class. With `labels`: a list of rle or polygon objects, one label
    each, later ones on top."""
    names = tuple(names)
    if labels is not None:
        if not isinstance(raw, list) or len(raw) != len(labels):
            found = len(raw) if isinstance(raw, list) else "no list of"
            raise BadRow(f"{len(labels)} labels but {found} masks")
        number = {name: i + 1 for i, name in enumerate(names)}
        classes: npt.NDArray[np.int64] | None = None
        for item, label in zip(raw, labels, strict=True):
            if label not in number:
                raise BadRow(f"label '{label}' is not in `names`")
            mask = _object_mask(item, size)
            if classes is None:
                classes = np.zeros(mask.shape, dtype=np.int64)
            classes[mask] = number[label]
        if classes is None:
            if size is None:
                raise BadRow("no masks, and no image that gives the size")
            classes = np.zeros((size.height, size.width), dtype=np.int64)
        return Segmentation(classes, names)
    classes = read_numbers(raw, root)
    if classes.ndim == 3 and classes.shape[2] == 1:
        classes = classes[:, :, 0]
    classes = _plane(classes, "segmentation").astype(np.int64)
    top = int(classes.max())
    if top == 255 and top > len(names):
        classes[classes == 255] = 0
        top = int(classes.max())
    if top > len(names) or int(classes.min()) < 0:
        raise BadRow(f"segmentation has class {top} but `names` has {len(names)}")
    return Segmentation(classes, names)


def to_depth(raw: Any, unit_scale: float | None, root: Path) -> Depth:
    """A 16-bit picture or an array of numbers, times `unit_scale` metres; 0 is not measured."""
    metres = read_numbers(raw, root)
    if metres.ndim == 3 and metres.shape[2] == 1:
        metres = metres[:, :, 0]
    metres = _plane(metres, "depth").astype(np.float64)
    low, high = metres.min(), metres.max()
    # Written so that NaN fails as well.
    if not (low >= 0 and high < np.inf):
        raise BadRow(f"depth has {int((~np.isfinite(metres)).sum())} pixels of NaN or infinity and "
                     f"{int((metres < 0).sum())} below zero")  # fmt: skip
    if high == 0:
        raise BadRow("depth is zero everywhere: nothing was measured")
    valid = None if low > 0 else metres > 0
    return Depth(metres if unit_scale is None else metres * unit_scale, valid)


def to_normals(raw: Any, form: str | None, axes: Axes | None, root: Path) -> Normals:
    """rgb: a picture, component = colour / 127.5 - 1. npy: (h, w, 3) components. Vectors are brought
    to unit length; those shorter than 0.5 (black or grey pixels) are not measured."""
    vectors = read_numbers(raw, root)
    if vectors.ndim != 3 or vectors.shape[2] not in (3, 4) or 0 in vectors.shape:
        raise BadRow(f"normals are (height, width, 3), not {vectors.shape}")
    vectors = vectors[:, :, :3]
    black: npt.NDArray[np.bool_] | None = None
    if vectors.dtype == np.uint8:
        if form == "npy":
            raise BadRow("format npy needs components as floats, found bytes (is the format `rgb`?)")
        black = np.logical_not(np.any(vectors, axis=2))
        vectors = vectors / 127.5 - 1.0
    elif form == "rgb":
        raise BadRow(f"format rgb needs a picture with 8 bits, found {vectors.dtype}")
    vectors = vectors.astype(np.float64, copy=False)
    length = np.sqrt(np.einsum("hwc,hwc->hw", vectors, vectors))
    low, high = length.min(), length.max()
    if not high < np.inf:
        raise BadRow("normals hold NaN or infinity")
    valid: npt.NDArray[np.bool_] | None = None
    if low < 0.5 or (black is not None and np.any(black)):
        valid = np.greater_equal(length, 0.5)
        if black is not None:
            valid &= ~black
        if not np.any(valid):
            raise BadRow("normals are empty: nothing was measured")
    if low < 1 - 1e-6 or high > 1 + 1e-6:
        vectors = vectors / np.maximum(length, 1e-6)[:, :, None]
    if axes is not None:
        signs = np.asarray([sign for _, sign in axes], dtype=np.float64)
        vectors = vectors[:, :, [component for component, _ in axes]] * signs
    return Normals(vectors if valid is None else np.where(valid[:, :, None], vectors, 0.0), valid)


Aligned: TypeAlias = Mask | Segmentation | Depth | Normals


def to_frame(value: Aligned, frame: Size) -> Aligned:
    """A dense value that shows its image at another resolution, brought to the image's by taking the
    nearest pixel (numbers are not mixed). Raises BadRow where the proportions differ by more than
    the rounding to whole pixels."""
    (width, height), size = frame, value.size
    if size == frame:
        return value
    scale = max(size.width / width, size.height / height)
    if abs(size.width - width * scale) > 1 or abs(size.height - height * scale) > 1:
        raise BadRow(
            f"is {size.width} x {size.height} pixels, which does not fit its image of {width} x {height}"
        )
    rows = ((np.arange(height) + 0.5) * size.height / height).astype(np.intp)[:, None]
    columns = ((np.arange(width) + 0.5) * size.width / width).astype(np.intp)
    if isinstance(value, Mask):
        return Mask(value.array[rows, columns])
    if isinstance(value, Segmentation):
        return Segmentation(value.classes[rows, columns], value.names)
    valid = None if value.valid is None else value.valid[rows, columns]
    if isinstance(value, Depth):
        return Depth(value.metres[rows, columns], valid)
    return Normals(value.vectors[rows, columns], valid)


def parse_axes(axes: Sequence[str]) -> Axes:
    """`["x", "-y", "-z"]`: what each component of the source is in our axes. Raises ValueError."""
    ours: dict[str, tuple[int, int]] = {}
    for component, axis in enumerate(axes):
        ours[axis.lstrip("+-")] = (component, -1 if axis.startswith("-") else 1)
    if set(ours) != {"x", "y", "z"}:
        raise ValueError(f"axes {list(axes)} must name x, y and z once each, with or without a minus")
    return tuple(ours[axis] for axis in "xyz")


def _plane(array: npt.NDArray[Any], what: str) -> npt.NDArray[Any]:
    if array.ndim != 2 or 0 in array.shape:
        raise BadRow(f"a {what} has one number a pixel (height, width), not {array.shape}")
    return array


def _object_mask(raw: Any, size: Size | None) -> npt.NDArray[np.bool_]:
    """(h, w) bool of a COCO rle or polygons, or of several united."""
    from pycocotools import mask as coco_mask

    if isinstance(raw, list) and raw and isinstance(raw[0], Mapping):
        masks = [_object_mask(item, size) for item in raw]
        if len({mask.shape for mask in masks}) > 1:
            raise BadRow("the masks of one list differ in size")
        return np.logical_or.reduce(masks)
    counts: Any = None
    polygons: Any = raw
    if isinstance(raw, Mapping):
        counts, polygons = raw.get("counts"), raw.get("polygons")
        if raw.get("size") is not None:
            size = Size(int(raw["size"][1]), int(raw["size"][0]))
    if size is None:
        raise BadRow("a mask needs a size: {size: [height, width], ...} or an image field")
    try:
        if counts is None:
            if polygons and not isinstance(polygons[0], (list, tuple)):
                polygons = [polygons]
            if not polygons:
                return np.zeros((size.height, size.width), dtype=np.bool_)
            if any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons):
                raise BadRow("a polygon is x, y, x, y, ... of at least three points")
            encoded = coco_mask.merge(coco_mask.frPyObjects(polygons, size.height, size.width))
        elif isinstance(counts, list):
            if sum(counts) != size.width * size.height:
                raise BadRow(f"rle counts {sum(counts)} pixels, its size has {size.width * size.height}")
            encoded = coco_mask.frPyObjects({"size": [size.height, size.width], "counts": counts},
                                            size.height, size.width)  # fmt: skip
        else:
            counts = counts.encode() if isinstance(counts, str) else counts
            encoded = {"size": [size.height, size.width], "counts": counts}
        return coco_mask.decode(encoded).astype(np.bool_)
    except BadRow:
        raise
    except Exception as error:  # pycocotools raises plain Exception
        raise BadRow(f"unreadable mask: {error}") from error
