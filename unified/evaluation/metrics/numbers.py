"""Real numbers. A prediction that could not be read as a number (nan) counts as 0, and the note says how
many did."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from unified.evaluation.metrics.base import Score, mean_score, metric
from unified.values.types import Number


def _arrays(
    predictions: Sequence[Number], references: Sequence[Number]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], str]:
    got = np.array([p.value for p in predictions], np.float64)
    unread = ~np.isfinite(got)
    note = f"{int(unread.sum())} unreadable predictions counted as 0" if unread.any() else ""
    return np.where(unread, 0.0, got), np.array([r.value for r in references], np.float64), note


@metric("mae", unit="", higher_is_better=False)
def mae(predictions: Sequence[Number], references: Sequence[Number]) -> Score:
    """Mean absolute error, in the task's unit."""
    got, want, note = _arrays(predictions, references)
    return mean_score(np.abs(got - want), note)


@metric("pearson", unit="")
def pearson(predictions: Sequence[Number], references: Sequence[Number]) -> Score:
    """Pearson's correlation of predictions and references over the set; 0 where either is constant."""
    got, want, note = _arrays(predictions, references)
    got, want = got - got.mean(), want - want.mean()
    scale = float(np.sqrt((got**2).sum() * (want**2).sum()))
    return Score(float((got * want).sum()) / scale if scale > 0 else 0.0, None, note)
