"""Surface normals, over the pixels that have one and that the model was shown."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from unified.evaluation.metrics.base import Score, mean_score, metric
from unified.values.types import Normals


def _angles(prediction: Normals, reference: Normals) -> npt.NDArray[np.float64]:
    """Degrees between the two at each pixel with a reference. A prediction of no length is 90 off."""
    if prediction.vectors.shape != reference.vectors.shape:
        raise TypeError(f"normals of shape {prediction.vectors.shape} against {reference.vectors.shape}")
    length = np.linalg.norm(reference.vectors, axis=-1)
    known = np.isfinite(length) & (length > 0)
    for valid in (reference.valid, prediction.valid):
        known &= True if valid is None else valid
    a, b = prediction.vectors[known], reference.vectors[known]
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    cosine = np.divide(np.sum(a * b, axis=-1), lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def _pooled(
    predictions: Sequence[Normals], references: Sequence[Normals]
) -> tuple[list[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    """Angles of each image, and of all pixels of the set (in single precision: there are many)."""
    each = [_angles(p, r).astype(np.float32) for p, r in zip(predictions, references, strict=True)]
    return each, np.concatenate(each)


@metric("normals_error", unit="°", higher_is_better=False)
def normals_error(predictions: Sequence[Normals], references: Sequence[Normals]) -> Score:
    """Mean angle in degrees between predicted and true normal, over all pixels of the set, as papers report
    it (Fouhey et al. 2013; Bae and Davison 2024, baegwangbin/DSINE utils/utils.py); the parts are their
    median and the root of their mean square."""
    each, pixels = _pooled(predictions, references)
    scores = tuple(float(a.mean()) if a.size else math.nan for a in each)
    if not pixels.size:
        return Score(math.nan, scores, "no pixel has a normal")
    rmse = math.sqrt(float(np.mean(pixels.astype(np.float64) ** 2)))
    parts = {"median": float(np.median(pixels)), "RMSE": rmse}
    return Score(float(pixels.mean(dtype=np.float64)), scores, "all pixels pooled", parts)


@metric("normals_within", unit="%")
def normals_within(
    predictions: Sequence[Normals], references: Sequence[Normals], degrees: float = 11.25
) -> Score:
    """Share of all pixels of the set whose normal is less than 11.25 degrees off; the parts are those below
    22.5 and 30 degrees. Sources as `normals_error`."""
    each, pixels = _pooled(predictions, references)
    scores = tuple(float(np.mean(a < degrees)) if a.size else math.nan for a in each)
    if not pixels.size:
        return Score(math.nan, scores, "no pixel has a normal")
    parts = {f"{limit}°": float(np.mean(pixels < limit)) for limit in (22.5, 30)}
    return Score(float(np.mean(pixels < degrees)), scores, "all pixels pooled", parts)


@metric("normals_angle", unit="°", higher_is_better=False)
def normals_angle(predictions: Sequence[Normals], references: Sequence[Normals]) -> Score:
    """Mean angle in degrees between predicted and true normal of each image, averaged over images."""
    angles = [_angles(p, r) for p, r in zip(predictions, references, strict=True)]
    return mean_score([float(a.mean()) if a.size else math.nan for a in angles])


@metric("normals_within_30", unit="%")
def normals_within_30(
    predictions: Sequence[Normals], references: Sequence[Normals], degrees: float = 30.0
) -> Score:
    """Share of each image's pixels whose normal is less than 30 degrees off, averaged over images."""
    angles = [_angles(p, r) for p, r in zip(predictions, references, strict=True)]
    return mean_score([float(np.mean(a < degrees)) if a.size else math.nan for a in angles])
