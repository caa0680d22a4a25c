"""Which of two evaluations is better, task by task, and how sure that is."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unified.errors import UserError
from unified.evaluation.metrics import Metric
from unified.evaluation.metrics.base import Sample
from unified.evaluation.plain import from_plain
from unified.evaluation.results import PREDICTIONS, Results, TaskResult, find_results, metric_of, shown
from unified.evaluation.scoring import is_mean_of

RESAMPLES = 1000
"""Bootstrap resamples of an interval."""

Row = dict[str, Any]
Verdict = Literal["a", "b", "equal", "unclear", "unknown"]


@dataclass(frozen=True)
class Compared:
    """A task's headline metric in two evaluations of the same `n` rows. `difference`: b - a. `interval`: its
    95 % interval by a paired bootstrap over the rows; None where there is none, which `note` explains."""

    task: str
    metric: str
    n: int
    a: float | None
    b: float | None
    difference: float | None
    interval: tuple[float, float] | None
    note: str

    @property
    def verdict(self) -> Verdict:
        """Which is better. `unclear`: zero is within the interval; `unknown`: there is no interval."""
        if self.difference == 0 and (self.interval is None or self.interval == (0, 0)):
            return "equal"
        if self.interval is None or self.difference is None:
            return "unknown"
        low, high = self.interval
        if low <= 0 <= high:
            return "unclear"
        return "b" if (low > 0) == metric_of(self.metric).higher_is_better else "a"

    def show(self, value: float | None, *, sign: bool = False) -> str:
        """A value of the metric for a person."""
        text = shown(self.metric, {self.metric: value})
        return f"+{text}" if sign and value is not None and value > 0 else text

    @property
    def words(self) -> str:
        """The verdict in words."""
        if self.verdict != "unknown":
            return {"a": "A better", "b": "B better", "equal": "equal", "unclear": "not clear"}[self.verdict]
        metric = metric_of(self.metric)
        if self.a is None or self.b is None:
            return "no score"
        return "B ahead" if metric.better(self.b, self.a) else "A ahead"

    @property
    def between(self) -> str:
        """The interval in words; a dash where there is none."""
        if self.interval is None:
            return "–"
        return " to ".join(self.show(bound, sign=True) for bound in self.interval)


@dataclass(frozen=True)
class Comparison:
    """Two evaluations. `alone`: tasks that only one of them has, with its letter."""

    a: Path
    b: Path
    split: str
    tasks: list[Compared]
    alone: dict[str, str]
    resamples: int
    seed: int

    def table(self) -> str:
        """A plain table for a terminal, and below it what a reader should know."""
        head = ("task", "metric", "A", "B", "B - A", "95 % interval", "rows", "")
        rows = [head]
        for t in self.tasks:
            name = f"{t.metric}{'' if metric_of(t.metric).higher_is_better else ' (less is better)'}"
            cells = (t.task, name, t.show(t.a), t.show(t.b), t.show(t.difference, sign=True), t.between)
            rows.append((*cells, str(t.n), t.words))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [f"A  {self.a}", f"B  {self.b}", ""]
        lines += ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        notes = [f"{t.task}: {t.note}" for t in self.tasks if t.note]
        notes += [f"{name}: only in {letter}" for name, letter in self.alone.items()]
        return "\n".join([*lines, *([""] if notes else []), *notes])

    def to_dict(self) -> dict[str, Any]:
        """JSON data."""
        tasks = [asdict(task) | {"verdict": task.verdict} for task in self.tasks]
        return asdict(self) | {"a": str(self.a), "b": str(self.b), "tasks": tasks}


def compare(a: str | Path, b: str | Path, *, resamples: int = RESAMPLES, seed: int = 0) -> Comparison:
    """Compares two evaluations: run folders, of which the newest evaluation counts, or results folders.

    Raises UserError where they are not of the same split, share no task, or where a task was evaluated on
    other rows or by another metric.
    """
    folders = [_folder(a), _folder(b)]
    ours, theirs = (Results.load(folder) for folder in folders)
    if ours.about["split"] != theirs.about["split"]:
        raise UserError(
            f"{folders[0]} was evaluated on split '{ours.about['split']}', {folders[1]} on "
            f"'{theirs.about['split']}'; evaluate both on one"
        )
    shared = [name for name in ours.tasks if name in theirs.tasks]
    if not shared:
        raise UserError(
            f"no task in common: {folders[0]} has {', '.join(ours.tasks)}; {folders[1]} has "
            f"{', '.join(theirs.tasks)}"
        )
    rows = [_rows(folder) for folder in folders]
    tasks = [
        _compare(
            name, (ours.tasks[name], theirs.tasks[name]), [of.get(name, []) for of in rows], folders,
            resamples, seed,
        )
        for name in shared
    ]  # fmt: skip
    alone = {name: "A" for name in ours.tasks if name not in theirs.tasks}
    alone |= {name: "B" for name in theirs.tasks if name not in ours.tasks}
    return Comparison(folders[0], folders[1], ours.about["split"], tasks, alone, resamples, seed)


def _folder(path: str | Path) -> Path:
    found = find_results(path)
    if found is None:
        raise UserError(f"{path}: has not been evaluated; run `unified eval {path}` first")
    return found


def _rows(folder: Path) -> dict[str, list[Row]]:
    """The rows of each task that were scored, in the order of their keys."""
    path, found = folder / PREDICTIONS, dict[str, list[Row]]()
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                if row["reference"] is not None:
                    found.setdefault(row["task"], []).append(row)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run `unified eval` again") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: not predictions of this version ({error}); run `unified eval` again"
        ) from None
    return {task: sorted(rows, key=lambda row: row["key"]) for task, rows in found.items()}


def _compare(
    name: str, results: tuple[TaskResult, TaskResult], rows: Sequence[Sequence[Row]], folders: Sequence[Path],
    resamples: int, seed: int,
) -> Compared:  # fmt: skip
    mine, other = results
    if mine.headline != other.headline:
        raise UserError(
            f"{name}: {folders[0]} is scored by {mine.headline}, {folders[1]} by {other.headline}: the task "
            "has changed; evaluate both again"
        )
    _check_rows(name, rows, folders)
    metric, label = metric_of(mine.headline), mine.headline
    a, b = (result.metrics[label] for result in results)
    difference = None if a is None or b is None else b - a
    interval, note = None, ""
    if difference is None:
        note = "no interval: there is no score"
    elif len(rows[0]) < 2:
        note = "no interval: one row"
    else:
        sample, note = _sampler(metric, results, rows)
        if sample is not None:
            interval = bootstrap(sample, len(rows[0]), resamples, seed)
    if mine.identity != other.identity:
        note = "; ".join(filter(None, [note, f"the task differs: {mine.identity}, {other.identity}"]))
    return Compared(name, label, len(rows[0]), a, b, difference, interval, note)


def _check_rows(name: str, rows: Sequence[Sequence[Row]], folders: Sequence[Path]) -> None:
    keys = [[row["key"] for row in some] for some in rows]
    again = "evaluate both with the same --limit and data"
    if keys[0] != keys[1]:
        alone = [sorted(set(x) - set(y)) for x, y in (keys, keys[::-1])]
        told = [f"only {f} has {ks[0]}" for f, ks in zip(folders, alone, strict=True) if ks]
        raise UserError(
            f"{name}: not the same rows: {len(keys[0])} in {folders[0]}, {len(keys[1])} in {folders[1]}"
            f"{''.join(f'; {t}' for t in told)}; {again}"
        )
    for x, y in zip(*rows, strict=True):
        if x["reference"] != y["reference"]:
            raise UserError(
                f"{name}: the true answer of row {x['key']} is not the same in {folders[0]} and "
                f"{folders[1]}; {again}"
            )


# --------------------------------------------------------------------------------------- bootstrap


def bootstrap(sample: Sample, n: int, resamples: int, seed: int) -> tuple[float, float] | None:
    """The 95 % percentile interval of what `sample` gives for `resamples` draws of n of n rows, with
    repetition; None where it gives no number."""
    values = []
    generator = np.random.default_rng([seed, n])
    for _ in range(resamples):
        values.append(sample(generator.integers(0, n, n)))
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def _sampler(
    metric: Metric, results: tuple[TaskResult, TaskResult], rows: Sequence[Sequence[Row]]
) -> tuple[Sample | None, str]:
    """How the difference over some rows is found, and what a reader should know; None where it cannot be.

    The scores of single rows, where the metric is their mean (that of CIDEr with the document frequencies of
    the whole set); else the metric is computed anew from the answers.
    """
    label = results[0].headline
    each = [np.array([_nan(row["scores"].get(label)) for row in some]) for some in rows]
    if all(is_mean_of(_nan(r.metrics[label]), e.tolist()) for r, e in zip(results, each, strict=True)):
        delta = each[1] - each[0]
        delta = np.where(np.isnan(delta), 0, delta), ~np.isnan(delta)
        return (lambda rows: float(delta[0][rows].sum() / max(1, delta[1][rows].sum()))), ""
    first, second = (_resampler(metric, some, results[0].headline_args) for some in rows)
    if first is None or second is None:
        return None, f"no interval: {metric.name} is no mean over rows, and needs what is not kept of them"
    return (lambda rows: second(rows) - first(rows)), "recomputed for each resample"


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


def _resampler(metric: Metric, rows: Sequence[Row], args: dict[str, Any]) -> Sample | None:
    """What finds a metric over some rows; None where they do not hold all that it needs."""
    if not all(row.get("given") for row in rows):
        return None
    predictions = [from_plain(row["prediction"]) for row in rows]
    fields = {name: [from_plain(row["given"][name]) for row in rows] for name in rows[0]["given"]}
    if any(value is None for values in (predictions, *fields.values()) for value in values):
        return None
    return metric.resample(predictions, fields.pop("reference"), fields, args)
