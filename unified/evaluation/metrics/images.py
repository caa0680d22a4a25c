"""Pictures against the one true picture, pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from unified.evaluation.metrics.base import Score, mean_score, metric
from unified.values.types import Image

MOST_PSNR = 100.0
"""Identical pictures have no finite PSNR; they count this much."""


def _same_size(prediction: Image, reference: Image) -> None:
    if prediction.size != reference.size:
        a, b = (" x ".join(map(str, image.size)) for image in (prediction, reference))
        raise TypeError(f"a picture of {a} pixels against one of {b}")


@metric("psnr", unit="dB")
def psnr(predictions: Sequence[Image], references: Sequence[Image]) -> Score:
    """Peak signal-to-noise ratio, 10 log10(255^2 / mean squared error over pixels and channels), averaged
    over images; 100 dB for identical ones."""

    def one(prediction: Image, reference: Image) -> float:
        _same_size(prediction, reference)
        error = np.mean((prediction.pixels.astype(np.float64) - reference.pixels) ** 2)
        return float(min(MOST_PSNR, 10 * np.log10(255**2 / error))) if error > 0 else MOST_PSNR

    return mean_score([one(p, r) for p, r in zip(predictions, references, strict=True)])


@metric("ssim", unit="")
def ssim(predictions: Sequence[Image], references: Sequence[Image]) -> Score:
    """Structural similarity (Wang et al. 2004) by skimage.metrics: 7 x 7 windows, the mean of the three
    channels, averaged over images."""
    from skimage.metrics import structural_similarity

    def one(prediction: Image, reference: Image) -> float:
        _same_size(prediction, reference)
        a, b = prediction.pixels, reference.pixels
        return float(structural_similarity(a, b, channel_axis=-1, data_range=255))

    return mean_score([one(p, r) for p, r in zip(predictions, references, strict=True)])


Floats = npt.NDArray[np.float64]


def _distance(
    predictions: Sequence[Image], references: Sequence[Image], of: Callable[[Floats], Floats]
) -> Score:
    """Mean over images of the mean of a function of the differences, values in 0 to 1."""
    from PIL import Image as PillowImage

    def one(prediction: Image, reference: Image) -> float:
        got = prediction.pixels
        if prediction.size != reference.size:
            got = np.asarray(PillowImage.fromarray(got).resize(reference.size))
        return float(np.mean(of((got.astype(np.float64) - reference.pixels) / 255)))

    return mean_score([one(p, r) for p, r in zip(predictions, references, strict=True)])


@metric("image_l1", unit="", higher_is_better=False)
def image_l1(predictions: Sequence[Image], references: Sequence[Image]) -> Score:
    """L1 of MagicBrush (Zhang et al. 2023; OSU-NLP-Group/MagicBrush evaluation/image_eval.py): the mean
    absolute difference over pixels and channels, values in 0 to 1, averaged over images. A prediction of
    another size is first resized to the reference's (Pillow's default filter, bicubic)."""
    return _distance(predictions, references, np.abs)


@metric("image_l2", unit="", higher_is_better=False)
def image_l2(predictions: Sequence[Image], references: Sequence[Image]) -> Score:
    """L2 of MagicBrush: the mean squared difference, without a root; else as `image_l1`."""
    return _distance(predictions, references, np.square)
