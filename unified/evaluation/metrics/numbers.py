"""Real numbers. A prediction that could not be read as a number (nan) counts as 0, and the note says how
many did."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from unified.evaluation.metrics.base import Score, mean_score, metric, strings
from unified.values.types import Number, Value


def as_number(value: Value) -> float:
    """A number, or what a text says if it is nothing but a number; nan for other texts."""
    if isinstance(value, Number):
        return float(value.value)
    try:
        return float(strings(value)[0])
    except ValueError:
        return math.nan


def _arrays(
    predictions: Sequence[Value], references: Sequence[Value]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], str]:
    got = np.array([as_number(p) for p in predictions])
    unread = ~np.isfinite(got)
    note = f"{int(unread.sum())} unreadable predictions counted as 0" if unread.any() else ""
    return np.where(unread, 0.0, got), np.array([as_number(r) for r in references]), note


@metric("mae", unit="", higher_is_better=False)
def mae(predictions: Sequence[Value], references: Sequence[Value]) -> Score:
    """Mean absolute error, in the task's unit."""
    got, want, note = _arrays(predictions, references)
    return mean_score(np.abs(got - want), note)


@metric("pearson", unit="")
def pearson(predictions: Sequence[Value], references: Sequence[Value]) -> Score:
    """Pearson's correlation of predictions and references over the set; 0 where either is constant."""
    got, want, note = _arrays(predictions, references)
    got, want = got - got.mean(), want - want.mean()
    scale = float(np.sqrt((got**2).sum() * (want**2).sum()))
    return Score(float((got * want).sum()) / scale if scale > 0 else 0.0, None, note)
