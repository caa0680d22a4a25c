"""The square in which coordinates become location bins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unified.tokenization.locations import LocationTokenizer
from unified.values.geometry import Geometry, Rect
from unified.values.types import Size, Value

Floats = npt.NDArray[np.float64]
DECIMALS = 9
"""Of a source pixel, kept on the way back from the model frame: what rounding adds there is less, and a
coordinate of few decimals becomes the very number again that it was."""


@dataclass(frozen=True)
class LocationFrame:
    """A square of `side` units, of which `scale_x` and `scale_y` model pixels make one.

    By default it is the model's input frame itself. With the official rounding it is the square around
    the image before it was resized: official models place pixels by the truncated sizes of the resized
    image, but locations by the exact ratio of the longer side, up to a bin apart.
    """

    model_side: int
    side: int
    scale_x: float = 1.0
    scale_y: float = 1.0

    @classmethod
    def of(cls, locations: LocationTokenizer, model_side: int, geometry: Geometry | None) -> LocationFrame:
        """`geometry`: that of the image into the model frame, if there is one."""
        if locations.rounding != "unified_io" or geometry is None:
            return cls(model_side, model_side)
        x, y, content = abs(geometry.scale_x), geometry.scale_y, geometry.content
        longer = max((content.x2 - content.x1) / x, (content.y2 - content.y1) / y)
        return cls(model_side, max(1, round(longer)), x, y)

    def from_model(self, pairs: Floats) -> Floats:
        """(..., 2 k) coordinates x y x y ... in the model frame -> in this one."""
        if self.side == self.model_side and self.scale_x == self.scale_y == 1.0:
            return pairs
        scale = np.tile([self.scale_x, self.scale_y], pairs.shape[-1] // 2)
        return np.round(pairs / scale, DECIMALS)

    def to_model(self, value: Value) -> Value:
        """A value of this frame in the model frame."""
        whole = Rect(0.0, 0.0, float(self.model_side), float(self.model_side))
        own, model = Size(self.side, self.side), Size(self.model_side, self.model_side)
        return Geometry(own, model, self.scale_x, self.scale_y, 0.0, 0.0, whole).apply(value)

    def pixels(self, xyxy: Floats) -> npt.NDArray[np.int64]:
        """(n, 4) boxes of the model frame -> whole pixels of it, as the official code rounds them."""
        return np.round(self.from_model(xyxy) / self.side * self.model_side).clip(0).astype(np.int64)
