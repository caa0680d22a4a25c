"""Surface normals, over the pixels that have one and that the model was shown; computed for each image,
then averaged over images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from unified.evaluation.metrics.base import Score, mean_score, metric
from unified.values.types import Normals


def _angles(prediction: Normals, reference: Normals) -> npt.NDArray[np.float64]:
    """Degrees between the two at each pixel with a reference. A prediction of no length is 90 off."""
    length = np.linalg.norm(reference.vectors, axis=-1)
    known = np.isfinite(length) & (length > 0)
    for valid in (reference.valid, prediction.valid):
        known &= True if valid is None else valid
    a, b = prediction.vectors[known], reference.vectors[known]
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    cosine = np.divide(np.sum(a * b, axis=-1), lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


@metric("normals_angle", unit="°", higher_is_better=False)
def normals_angle(predictions: Sequence[Normals], references: Sequence[Normals]) -> Score:
    """Mean angle in degrees between predicted and true normal (Fouhey et al. 2013)."""
    angles = [_angles(p, r) for p, r in zip(predictions, references, strict=True)]
    return mean_score([float(a.mean()) if a.size else math.nan for a in angles])


@metric("normals_within_30", unit="%")
def normals_within_30(
    predictions: Sequence[Normals], references: Sequence[Normals], degrees: float = 30.0
) -> Score:
    """Share of pixels whose normal is less than 30 degrees off (Fouhey et al. 2013)."""
    angles = [_angles(p, r) for p, r in zip(predictions, references, strict=True)]
    return mean_score([float(np.mean(a < degrees)) if a.size else math.nan for a in angles])
