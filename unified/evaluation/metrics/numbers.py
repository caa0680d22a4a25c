"""Real numbers. A prediction that could not be read as a number (nan) counts as 0, and the note says how
many did."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from unified.errors import UserError
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


def number_arrays(
    predictions: Sequence[Value], references: Sequence[Value], clip: float | None = None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], str]:
    """(n,) predictions, (n,) references, both cut to [-clip, clip], and the note of what could not be
    read."""
    got = np.array([as_number(p) for p in predictions], np.float64)
    unread = ~np.isfinite(got)
    note = f"{int(unread.sum())} unreadable predictions counted as 0" if unread.any() else ""
    got = np.where(unread, 0.0, got)
    want = np.array([as_number(r) for r in references], np.float64)
    if clip is not None:
        if not clip > 0:
            raise UserError(f"clip must be a number above 0, the largest value of the scale, not {clip}")
        got, want = np.clip(got, -clip, clip), np.clip(want, -clip, clip)
    return got, want, note


@metric("mae", unit="", higher_is_better=False)
def mae(predictions: Sequence[Value], references: Sequence[Value], clip: float | None = None) -> Score:
    """Mean absolute error, in the task's unit. `clip`: values are cut to [-clip, clip] before; CH-SIMS is
    judged with 1, MOSI and MOSEI without (metricsTop.py of thuiar/MMSA)."""
    got, want, note = number_arrays(predictions, references, clip)
    return mean_score(np.abs(got - want), note)


@metric("pearson", unit="")
def pearson(predictions: Sequence[Value], references: Sequence[Value], clip: float | None = None) -> Score:
    """Pearson's correlation of predictions and references over the set; 0 where either is constant (numpy's
    corrcoef, which MMSA uses, has nan there). `clip` as in `mae`."""
    got, want, note = number_arrays(predictions, references, clip)
    got, want = got - got.mean(), want - want.mean()
    scale = float(np.sqrt((got**2).sum() * (want**2).sum()))
    return Score(float((got * want).sum()) / scale if scale > 0 else 0.0, None, note)
