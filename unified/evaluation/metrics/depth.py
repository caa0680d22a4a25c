"""Depth maps, in metres, over the pixels that were measured and that the model was shown. All are
computed for each image, then averaged over images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from unified.evaluation.metrics.base import Score, mean_score, metric
from unified.values.types import Depth

_NEAREST = 1e-3
"""Predictions are at least 1 mm, so that ratios exist."""


def _per_image(
    predictions: Sequence[Depth],
    references: Sequence[Depth],
    error: Callable[[np.ndarray, np.ndarray], float],
) -> Score:
    scores = []
    for prediction, reference in zip(predictions, references, strict=True):
        known = np.isfinite(reference.metres) & (reference.metres > 0)
        for valid in (reference.valid, prediction.valid):
            known &= True if valid is None else valid
        got, want = np.maximum(prediction.metres[known], _NEAREST), reference.metres[known]
        scores.append(error(got, want) if known.any() else math.nan)
    return mean_score(scores)


@metric("depth_rmse", unit="m", higher_is_better=False)
def depth_rmse(predictions: Sequence[Depth], references: Sequence[Depth]) -> Score:
    """Root of the mean squared error in metres (Eigen et al. 2014)."""
    return _per_image(predictions, references, lambda p, r: float(np.sqrt(np.mean((p - r) ** 2))))


@metric("depth_absrel", unit="", higher_is_better=False)
def depth_absrel(predictions: Sequence[Depth], references: Sequence[Depth]) -> Score:
    """Mean of |prediction - reference| / reference (Eigen et al. 2014)."""
    return _per_image(predictions, references, lambda p, r: float(np.mean(np.abs(p - r) / r)))


@metric("depth_delta1", unit="%")
def depth_delta1(predictions: Sequence[Depth], references: Sequence[Depth], threshold: float = 1.25) -> Score:
    """Share of pixels with max(prediction / reference, reference / prediction) < 1.25 (Eigen et al. 2014)."""
    return _per_image(
        predictions, references, lambda p, r: float(np.mean(np.maximum(p / r, r / p) < threshold))
    )
