"""Pictures against the one true picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unified.evaluation.metrics.base import Score, mean_score, metric
from unified.values.types import Image

MOST_PSNR = 100.0
"""Identical pictures have no finite PSNR; they count this much."""


@metric("psnr", unit="dB")
def psnr(predictions: Sequence[Image], references: Sequence[Image]) -> Score:
    """Peak signal-to-noise ratio, 10 log10(255^2 / mean squared error over pixels and channels), averaged
    over images; 100 dB for identical ones."""

    def one(prediction: Image, reference: Image) -> float:
        error = np.mean((prediction.pixels.astype(np.float64) - reference.pixels) ** 2)
        return float(min(MOST_PSNR, 10 * np.log10(255**2 / error))) if error > 0 else MOST_PSNR

    return mean_score([one(p, r) for p, r in zip(predictions, references, strict=True)])


@metric("ssim", unit="")
def ssim(predictions: Sequence[Image], references: Sequence[Image]) -> Score:
    """Structural similarity (Wang et al. 2004) by skimage.metrics: 7 x 7 windows, the mean of the three
    channels, averaged over images."""
    from skimage.metrics import structural_similarity

    def one(prediction: Image, reference: Image) -> float:
        a, b = prediction.pixels, reference.pixels
        return float(structural_similarity(a, b, channel_axis=-1, data_range=255))

    return mean_score([one(p, r) for p, r in zip(predictions, references, strict=True)])
