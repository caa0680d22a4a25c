"""Coordinates <-> location bins in a square frame."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from unified.tokenization.vocabulary import Vocabulary

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class LocationTokenizer:
    """Pairs (x, y) in a square frame of side `size` pixels <-> ids.

    order: `yx` puts y before x in the tokens (boxes: y1 x1 y2 x2), `xy` the other way; values are
      always (x, y).
    rounding: `nearest` spreads the bins over [0, size] with the edges on the first and the last bin,
      so the round trip is exact at the edges and within half a bin, size / (2 (bins - 1)), between.
      `unified_io` is the official rule: bin = floor((bins - 1) v) and v = (bin + 1) / bins, within
      one bin, size / bins.
    Coordinates outside the frame are clipped to it.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        order: Literal["yx", "xy"],
        rounding: Literal["nearest", "unified_io"],
    ) -> None:
        self._vocabulary = vocabulary
        self.bins = vocabulary.location.count
        self.order = order
        self.rounding = rounding

    def tolerance(self, size: float) -> float:
        """Largest error of a round trip in pixels of a frame of side `size`."""
        return size / (2 * (self.bins - 1)) if self.rounding == "nearest" else size / self.bins

    def quantise(self, values: Floats, size: float) -> Ints:
        """Coordinates in pixels, any shape -> bins of the same shape."""
        scaled = np.clip(np.asarray(values, dtype=np.float64) / size, 0.0, 1.0) * (self.bins - 1)
        if self.rounding == "nearest":
            scaled = scaled + 0.5
        return np.floor(scaled).astype(np.int64)

    def dequantise(self, bins: Ints, size: float) -> Floats:
        """Bins, any shape -> coordinates in pixels of the same shape."""
        bins = np.asarray(bins, dtype=np.float64)
        if self.rounding == "nearest":
            return bins / (self.bins - 1) * size
        return (bins + 1) / self.bins * size

    def encode(self, values: Floats, size: float) -> Ints:
        """(..., 2 k) coordinates x y x y ... -> ids of the same shape, in the set's order."""
        return self._vocabulary.location_ids(self._swap(self.quantise(values, size)))

    def decode(self, ids: Ints, size: float) -> Floats:
        """(..., 2 k) location ids -> coordinates x y x y ... of the same shape."""
        bins = self._vocabulary.bins_of(np.asarray(ids, dtype=np.int64))
        return self._swap(self.dequantise(bins, size))

    def _swap(self, pairs: npt.NDArray) -> npt.NDArray:
        if self.order == "xy":
            return pairs
        swapped = pairs.reshape(*pairs.shape[:-1], pairs.shape[-1] // 2, 2)[..., ::-1]
        return swapped.reshape(pairs.shape)
