"""Dense values and images as pixels of the model's frames."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from unified.values.dense import Scheme, to_image
from unified.values.geometry import Geometry
from unified.values.types import DenseValue, Depth, Image, Normals


def input_pixels(image: Image, geometry: Geometry) -> npt.NDArray[np.float32]:
    """An image in the model's input frame: (side, side, 3) float32 0..255, padding 0."""
    return geometry.resample(image.pixels)


def target_pixels(
    value: DenseValue,
    geometry: Geometry,
    value_range: tuple[float, float] | None,
    scheme: Scheme = "spread",
) -> tuple[npt.NDArray[np.uint8 | np.float32], npt.NDArray[np.bool_]]:
    """A dense value as the image tokenizer sees it, and which of those pixels mean something.

    Returns (side, side, 3), uint8 but for images that had to be resized, which are float32 0..255, and
    (side, side) bool: False on padding and where depth or normals were not measured.
    """
    if isinstance(value, Image) and not geometry.copies:
        return geometry.resample(value.pixels), geometry.valid_mask()
    moved = geometry.apply(value)
    known = geometry.valid_mask()
    if isinstance(moved, (Depth, Normals)) and moved.valid is not None:
        known = known & moved.valid
    return to_image(moved, value_range=value_range, scheme=scheme).pixels, known


def known_pixels(value: DenseValue, geometry: Geometry) -> npt.NDArray[np.bool_]:
    """The second of `target_pixels` alone."""
    if isinstance(value, (Depth, Normals)) and value.valid is not None:
        moved = geometry.apply(value)
        assert isinstance(moved, (Depth, Normals)) and moved.valid is not None
        return geometry.valid_mask() & moved.valid
    return geometry.valid_mask()


def grid_mask(pixels: npt.NDArray[np.bool_], cell: int) -> npt.NDArray[np.bool_]:
    """(side, side) bool -> (n,) bool, row-major: the top-left pixel of each cell, as the reference does."""
    return pixels[::cell, ::cell].reshape(-1)


def cell_any(pixels: npt.NDArray[np.bool_], cell: int) -> npt.NDArray[np.bool_]:
    """(side, side) bool -> (n,) bool, row-major: whether any pixel of a cell is True."""
    side = pixels.shape[0] // cell
    return pixels.reshape(side, cell, side, cell).any(axis=(1, 3)).reshape(-1)
