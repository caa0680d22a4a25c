"""An example: what a task makes of one row, before any tokenizer has seen it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from unified.values.geometry import Geometry
from unified.values.types import Boxes, DenseValue, Image, Value

Rendered: TypeAlias = tuple["str | Value", ...]
"""A rendered template: strings and the spatial values (Boxes, Points, Keypoints) between them."""


class BadRow(Exception):
    """One row of the data cannot be used: an unreadable image, a missing key, an empty target. The
    message is the reason. Loading skips the row, counts it and writes it down (never silently)."""


@dataclass(frozen=True)
class Example:
    """One training or evaluation example.

    `values` and `images` are in the source frame. `prompt` and `target` hold their spatial values in
    the square model frame of the input image; a dense `target` is still in the source frame and is
    moved by `target_geometry`, which also moves its prediction back. Geometries are None for
    examples without images.
    """

    task: str
    key: str
    """Where the row stands, for messages and predictions: `file:line` or `split/row`."""
    images: tuple[Image, ...]
    prompt: Rendered
    target: Rendered | DenseValue
    values: Mapping[str, Value]
    options: tuple[str, ...] | None = None
    geometries: tuple[Geometry, ...] = ()
    """Source frame -> model input frame, one for each image."""
    hidden: tuple[Boxes | None, ...] = ()
    """For each image, boxes in its model frame whose patches the model does not see; () where it sees all."""
    target_geometry: Geometry | None = None
    """Source frame -> frame of the image tokenizer, for dense targets."""
    weight: float = 1.0
