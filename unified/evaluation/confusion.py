"""Which answer was given for which, where there are only so many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from unified.evaluation.cases import Case
from unified.evaluation.metrics.base import strings
from unified.specs.schema import TaskSpec
from unified.values.types import Label, Number, Text, Texts, Value

MOST = 20
"""Answers that have a row and a column of their own; the most frequent true ones."""
OTHERS = "(others)"


def confusion(spec: TaskSpec, predictions: Sequence[Value], cases: Sequence[Case]) -> dict[str, Any] | None:
    """{labels: names, counts: one row a true answer, one column a given one}, of a task whose answers are a
    closed set and the same for all rows; None for others, and where a row has several true answers."""
    options = spec.options
    fixed = options is not None and (options.choices is not None or options.file is not None)
    if not (fixed or spec.modality == "label") or not all(map(_single, (c.target for c in cases))):
        return None
    truth = [strings(case.target)[0] for case in cases]
    given = [strings(value)[0] if _single(value) else "" for value in predictions]
    seen = Counter(truth)
    kept = [name for name, _ in seen.most_common(MOST)]
    room = MOST - len(kept)
    kept += [name for name, _ in Counter(g for g in given if g and g not in seen).most_common(room)]
    order = {name: i for i, name in enumerate((options and options.choices) or sorted(kept, key=_natural))}
    kept.sort(key=lambda name: (order.get(name, len(order)), name))
    place = {name: i for i, name in enumerate(kept)}
    counts = np.zeros((len(kept) + 1, len(kept) + 1), int)
    for true, answer in zip(truth, given, strict=True):
        counts[place.get(true, len(kept)), place.get(answer, len(kept))] += 1
    labels = [*kept, OTHERS]
    if not counts[-1].any() and not counts[:, -1].any():
        labels, counts = kept, counts[:-1, :-1]
    return {"labels": labels, "counts": counts.tolist()}


def _single(value: Value) -> bool:
    return isinstance(value, Text | Label | Number) or (isinstance(value, Texts) and len(value.items) == 1)


def _natural(name: str) -> tuple[float, str]:
    """Numerals by their size, before the words."""
    try:
        return float(name), name
    except ValueError:
        return float("inf"), name
