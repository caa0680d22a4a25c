"""Depth maps, in metres, over the pixels that were measured and that the model was shown. All are
computed for each image, then averaged over images, as the evaluation code of BTS (Lee et al. 2019,
utils/eval_with_pngs.py) and its followers does; `pooled: true` pools the pixels of all images.

Options of all: `crop: eigen` keeps the middle of NYU's frame (rows 45 to 470, columns 41 to 600 of 480 x 640,
scaled to other sizes), which most papers since Eigen et al. report; `min_depth` and `max_depth` (metres)
leave out reference pixels not between them and clip predictions to them (NYU: 0.001 and 10)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from unified.errors import UserError
from unified.evaluation.metrics.base import Score, mean_score, metric
from unified.values.types import Depth

NEAREST = 1e-3
"""Predictions are at least 1 mm, so that ratios exist."""
EIGEN = (45 / 480, 471 / 480, 41 / 640, 601 / 640)
"""Top, bottom, left, right of the crop, as shares of the frame."""

Floats = npt.NDArray[np.float64]
Error = Callable[[Floats, Floats], float]
"""Of the predicted and the true metres of the pixels that count."""


class Options(TypedDict, total=False):
    crop: Literal["none", "eigen"]
    min_depth: float
    max_depth: float
    pooled: bool


@metric("depth_rmse", unit="m", higher_is_better=False)
def depth_rmse(predictions: Sequence[Depth], references: Sequence[Depth], **how: Unpack[Options]) -> Score:
    """Root of the mean squared error in metres (Eigen et al. 2014)."""
    return _score(predictions, references, {"": lambda p, r: float(np.sqrt(np.mean((p - r) ** 2)))}, **how)


@metric("depth_absrel", unit="", higher_is_better=False)
def depth_absrel(predictions: Sequence[Depth], references: Sequence[Depth], **how: Unpack[Options]) -> Score:
    """Mean of |prediction - reference| / reference (Eigen et al. 2014)."""
    return _score(predictions, references, {"": lambda p, r: float(np.mean(np.abs(p - r) / r))}, **how)


@metric("depth_log10", unit="", higher_is_better=False)
def depth_log10(predictions: Sequence[Depth], references: Sequence[Depth], **how: Unpack[Options]) -> Score:
    """Mean of |log10 prediction - log10 reference| (Saxena et al. 2009)."""
    return _score(predictions, references, {"": lambda p, r: float(np.mean(np.abs(np.log10(p / r))))}, **how)


@metric("depth_delta1", unit="%")
def depth_delta1(
    predictions: Sequence[Depth],
    references: Sequence[Depth],
    threshold: float = 1.25,
    **how: Unpack[Options],
) -> Score:
    """Share of pixels with max(prediction / reference, reference / prediction) < 1.25 (Eigen et al. 2014);
    the parts are those below 1.25^2 and 1.25^3."""

    def within(limit: float) -> Error:
        return lambda p, r: float(np.mean(np.maximum(p / r, r / p) < limit))

    errors = {"": within(threshold), "delta2": within(threshold**2), "delta3": within(threshold**3)}
    return _score(predictions, references, errors, **how)


def _score(
    predictions: Sequence[Depth],
    references: Sequence[Depth],
    errors: Mapping[str, Error],
    *,
    crop: str = "none",
    min_depth: float = NEAREST,
    max_depth: float = math.inf,
    pooled: bool = False,
) -> Score:
    """The error named "", and the others as its parts."""
    if crop not in ("none", "eigen"):
        raise UserError(f"metric argument crop: there is no crop '{crop}'; there are: none, eigen")
    if not 0 < min_depth < max_depth:
        raise UserError(f"metric arguments min_depth, max_depth: not 0 < {min_depth} < {max_depth}")
    pairs = [_pixels(p, r, crop, min_depth, max_depth) for p, r in zip(predictions, references, strict=True)]
    each = {name: [f(p, r) if len(r) else math.nan for p, r in pairs] for name, f in errors.items()}
    note = "" if crop == "none" else f"crop: {crop}"
    if pooled:
        note = f"{note}; all pixels pooled" if note else "all pixels pooled"
        got, want = (np.concatenate(side) for side in zip(*pairs, strict=True))
        parts = {name: f(got, want) if len(want) else math.nan for name, f in errors.items()}
        return Score(parts.pop(""), tuple(each[""]), note, parts)
    parts = {name: mean_score(scores).value for name, scores in each.items() if name}
    return mean_score(each[""], note, parts)


def _pixels(
    prediction: Depth, reference: Depth, crop: str, min_depth: float, max_depth: float
) -> tuple[Floats, Floats]:
    """(predicted, true) metres of the pixels that count."""
    if prediction.metres.shape != reference.metres.shape:
        raise TypeError(f"depth of {prediction.metres.shape} pixels against {reference.metres.shape}")
    true = reference.metres
    known = np.isfinite(true) & (true > min_depth) & (true < max_depth)
    for valid in (reference.valid, prediction.valid):
        known &= True if valid is None else valid
    if crop == "eigen":
        height, width = true.shape
        top, bottom, left, right = EIGEN
        rows, columns = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
        known &= ((rows > top) & (rows < bottom))[:, None] & (columns > left) & (columns < right)
    got = np.where(np.isnan(prediction.metres[known]), min_depth, prediction.metres[known])
    return np.clip(got, min_depth, max_depth), true[known]
