"""Multimodal sentiment: CMU-MOSI and CMU-MOSEI on [-3, 3], CH-SIMS on [-1, 1], as metricsTop.py of
thuiar/MMSA (a94e65d) has them for regression. Their mean absolute error and correlation are `mae` and
`pearson`.

Values are compared as 32-bit floats, as there. An answer that is no number counts as 0."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from unified.errors import UserError
from unified.evaluation.metrics.base import Score, mean_score, metric
from unified.evaluation.metrics.numbers import number_arrays
from unified.values.types import Value

_SIMS_EDGES = {2: (0.0,), 3: (-0.1, 0.1), 5: (-0.7, -0.1, 0.1, 0.7)}


def weighted_f1(got: npt.NDArray[np.int64], want: npt.NDArray[np.int64]) -> float:
    """Mean over classes of their F1, weighted by their number of references (sklearn's f1_score with
    average="weighted"); nan of no examples."""
    total = 0.0
    for name in np.unique(want):
        both = int(((got == name) & (want == name)).sum())
        total += 2 * both / int((got == name).sum() + (want == name).sum()) * int((want == name).sum())
    return total / len(want) if len(want) else math.nan


def _two_ways(
    predictions: Sequence[Value], references: Sequence[Value], f1: bool
) -> tuple[dict[str, float], npt.NDArray[np.float64], str]:
    """Has0: not negative against negative. Non0: positive against not positive, without true zeros."""
    got64, want64, note = number_arrays(predictions, references)
    got, want = got64.astype(np.float32), want64.astype(np.float32)
    parts = {}
    for name, p, r in (
        ("Has0", got >= 0, want >= 0),
        ("Non0", got[want != 0] > 0, want[want != 0] > 0),
    ):
        if f1:
            parts[name] = weighted_f1(p.astype(np.int64), r.astype(np.int64))
        else:
            parts[name] = float(np.mean(p == r)) if len(r) else math.nan
    return parts, ((got >= 0) == (want >= 0)).astype(np.float64), note


@metric("mosi_acc2", unit="%")
def mosi_acc2(predictions: Sequence[Value], references: Sequence[Value]) -> Score:
    """Acc-2 of MOSI and MOSEI in both published forms, told as parts: Has0, the share of examples on the
    right side of "not negative" (>= 0); Non0, that of "positive" (> 0) without examples whose truth is 0. The
    value is Has0, the script's first. thuiar/MMSA, metricsTop.py."""
    parts, each, note = _two_ways(predictions, references, f1=False)
    return mean_score(each, note, parts)


@metric("mosi_f1", unit="%")
def mosi_f1(predictions: Sequence[Value], references: Sequence[Value]) -> Score:
    """The F1 of the two classes of `mosi_acc2`, weighted by their size, in its two forms; the value is Has0.
    thuiar/MMSA, metricsTop.py."""
    parts, _, note = _two_ways(predictions, references, f1=True)
    return Score(parts["Has0"], None, note, parts)


def _rounded(predictions: Sequence[Value], references: Sequence[Value], clip: float) -> Score:
    got, want, note = number_arrays(predictions, references, clip)
    same = np.round(got.astype(np.float32)) == np.round(want.astype(np.float32))
    return mean_score(same.astype(np.float64), note)


@metric("mosi_acc7", unit="%")
def mosi_acc7(predictions: Sequence[Value], references: Sequence[Value]) -> Score:
    """Acc-7 of MOSI and MOSEI: share of values that are equal to the truth after both are cut to [-3, 3] and
    rounded, halves to the even number. thuiar/MMSA, metricsTop.py."""
    return _rounded(predictions, references, 3.0)


@metric("mosi_acc5", unit="%")
def mosi_acc5(predictions: Sequence[Value], references: Sequence[Value]) -> Score:
    """Acc-5 of MOSI and MOSEI: as `mosi_acc7`, cut to [-2, 2]. thuiar/MMSA, metricsTop.py."""
    return _rounded(predictions, references, 2.0)


def _bins(
    predictions: Sequence[Value], references: Sequence[Value], classes: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], str]:
    if classes not in _SIMS_EDGES:
        raise UserError(f"sims_accuracy: classes must be 2, 3 or 5, not {classes}")
    got, want, note = number_arrays(predictions, references, 1.0)
    edges = np.array(_SIMS_EDGES[classes], np.float32)
    return (
        np.searchsorted(edges, got.astype(np.float32), side="left"),
        np.searchsorted(edges, want.astype(np.float32), side="left"),
        note,
    )


@metric("sims_accuracy", unit="%")
def sims_accuracy(predictions: Sequence[Value], references: Sequence[Value], classes: int = 2) -> Score:
    """Acc-2, 3 or 5 of CH-SIMS: share of values that, cut to [-1, 1], fall into the same interval as the
    truth. Two: up to 0, above. Three: up to -0.1, up to 0.1, above. Five: up to -0.7, -0.1, 0.1, 0.7, above.
    So 0 is negative here, other than in MOSI's Has0. thuiar/MMSA, metricsTop.py."""
    got, want, note = _bins(predictions, references, classes)
    return mean_score((got == want).astype(np.float64), note)


@metric("sims_f1", unit="%")
def sims_f1(predictions: Sequence[Value], references: Sequence[Value]) -> Score:
    """The F1 of the two classes of `sims_accuracy`, weighted by their size. thuiar/MMSA, metricsTop.py."""
    got, want, note = _bins(predictions, references, 2)
    return Score(weighted_f1(got, want), None, note)
