"""Figures over two tasks: an example counts as far as the other task's example with the same key does.

VCR's Q->AR is one: a question is right where both its answer (Q->A) and its rationale (QA->R) are [Zellers et
al. 2019, From Recognition to Cognition, section 5].
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from unified.errors import UserError
from unified.evaluation.cases import Case
from unified.evaluation.metrics import Score
from unified.evaluation.metrics.base import strings
from unified.evaluation.results import TaskResult
from unified.specs.load import LoadedTask
from unified.specs.schema import MetricSpec

COLUMNS = ("metrics", "baseline", "ceiling")
"""Attributes of TaskResult that hold values by label."""


@dataclass
class Scored:
    """What joint figures need of a task: the value of each key field, and under each of COLUMNS the score of
    every example by metric."""

    keys: dict[str, list[str]] = field(default_factory=dict)
    each: dict[str, dict[str, tuple[float, ...]]] = field(default_factory=dict)


def check_joint(tasks: Sequence[LoadedTask]) -> None:
    """Raises UserError where a task is to be joined with one that lacks the key or the metric."""
    known = {task.name: task for task in tasks}
    for task in tasks:
        for spec, other in ((m, known.get(m.jointly.task)) for m in task.spec.metrics if m.jointly):
            if other is None or spec.jointly is None:
                continue
            where = f"{task.path}: metrics: '{spec.label}': task '{other.name}'"
            if spec.jointly.key not in other.spec.fields:
                raise UserError(f"{where} has no field '{spec.jointly.key}'")
            if spec.name not in [m.name for m in other.spec.metrics if m.jointly is None]:
                raise UserError(f"{where} does not name the metric '{spec.name}'")


def remember(
    task: LoadedTask, tasks: Sequence[LoadedTask], cases: Sequence[Case],
    columns: Mapping[str, Mapping[str, Score] | None],
) -> Scored:  # fmt: skip
    """What later joint figures of `tasks` may need of an evaluated task."""
    fields = {
        m.jointly.key
        for other in tasks
        for m in other.spec.metrics
        if m.jointly is not None and task.name in (other.name, m.jointly.task)
    }
    if not fields:
        return Scored()
    each = {
        column: {label: s.per_example for label, s in scores.items() if s.per_example is not None}
        for column, scores in columns.items()
        if scores is not None
    }
    keys = {name: ["\n".join(strings(c.example.values[name])) for c in cases] for name in fields}
    return Scored(keys, each)


def add_joint(task: LoadedTask, result: TaskResult, scored: Mapping[str, Scored]) -> None:
    """Puts the joint figures of a task into its result; where the other task was not evaluated, that."""
    for spec in task.spec.metrics:
        if spec.jointly is None:
            continue
        if spec.jointly.task not in scored:
            result.metrics[spec.label] = None
            result.notes[spec.label] = (
                f"missing: it needs '{spec.jointly.task}' evaluated in the same call, "
                f"--tasks {spec.jointly.task},{task.name}"
            )
            continue
        for column in COLUMNS:
            values = getattr(result, column)
            if values is not None:
                values[spec.label], left_out = _joint(spec, scored[task.name], scored, column)
                if left_out and column == "metrics":
                    result.notes[spec.label] = f"{left_out} rows without a partner left out"


def _joint(
    spec: MetricSpec, mine: Scored, scored: Mapping[str, Scored], column: str
) -> tuple[float | None, int]:
    """The mean product of the scores of rows with the same key, and how many rows have no partner."""
    assert spec.jointly is not None
    other, key = scored[spec.jointly.task], spec.jointly.key
    ours, theirs = (_one(part.each.get(column, {}), spec.name) for part in (mine, other))
    if ours is None or theirs is None:
        return None, 0
    partner = dict(zip(other.keys[key], theirs, strict=True))
    pairs = [s * partner[k] for k, s in zip(mine.keys[key], ours, strict=True) if k in partner]
    known = [p for p in pairs if not math.isnan(p)]
    return (float(np.mean(known)) if known else None), len(ours) - len(known)


def _one(each: Mapping[str, tuple[float, ...]], name: str) -> tuple[float, ...] | None:
    """The scores of the first metric of that name."""
    return next((scores for label, scores in each.items() if label.partition("(")[0] == name), None)
