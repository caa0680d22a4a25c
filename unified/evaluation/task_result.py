"""The numbers of one task: its scores beside a trivial baseline and the tokenizers' ceiling, and the rows
that stand behind them."""

from __future__ import annotations

import json
import math
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unified.evaluation.answers import Answered
from unified.evaluation.baselines import Baseline, copy_input, fit_baseline
from unified.evaluation.cases import Case, Cases, read_cases
from unified.evaluation.confusion import confusion
from unified.evaluation.metrics import Score
from unified.evaluation.plain import plain
from unified.evaluation.results import PREDICTIONS, TaskResult, metric_of, part_label
from unified.evaluation.samples import save_samples, words_of
from unified.evaluation.scoring import Judge, OptionScores, is_mean, judges_of, right_scores
from unified.sources.location import MissingData
from unified.specs.load import LoadedTask
from unified.values.types import Value

if TYPE_CHECKING:
    from unified.evaluation.predictor import Prediction
    from unified.tokenization.processor import Processor

BASELINE_ROWS = 300
"""Training rows on which a trivial predictor is fitted."""
SHOWN = 4
"""Examples of each task that are drawn, and as many of the worst."""

Scores = dict[str, Score]
"""By the label of the metric."""


@dataclass(frozen=True)
class Reading:
    """Which rows of a task are read, and how."""

    processor: Processor
    split: str
    limit: int | None
    seed: int

    def cases(
        self, task: LoadedTask, split: str, limit: int | None, only: Container[str] | None = None
    ) -> list[Case]:
        """As `read_cases`."""
        return read_cases(
            task, split, limit=limit, seed=self.seed, image_size=self.processor.image_size,
            target_size=self.processor.target_size, only=only,
        ).cases  # fmt: skip


def score_task(
    reading: Reading, task: LoadedTask, answered: Answered, seconds: float, out: Path | None, device: Any
) -> tuple[TaskResult, dict[str, Scores]]:
    """The numbers of a task, and the scores that stand behind each of its columns. With `out`, a folder, its
    rows are added to predictions.jsonl there, and pictures of some of them are drawn."""
    from unified.evaluation.predictor import through_tokenizers

    read, predictions, processor = answered.read, answered.predictions, reading.processor
    cases = read.cases
    judges = judges_of(task, cases)
    result = TaskResult(
        identity=task.identity,
        modality=task.spec.modality,
        n=len(cases),
        skipped=len(read.skipped),
        unanswered=len(read.examples) - len(cases),
        malformed=sum(p.malformed for p in predictions),
        seconds=round(seconds, 2),
        headline=judges[0].label,
        headline_args=dict(judges[0].spec.args),
        metrics={judge.label: None for judge in judges},
    )
    answers = [predictions[i] for i in read.places]
    values = [p.value for p in answers]
    scores: Scores = {}
    columns: dict[str, Scores] = {}
    if cases:
        scores = judged(judges, values, cases, [p.option_scores for p in answers])
        reached = through_tokenizers(processor, task, [c.example for c in cases], device=device)
        best = {judge.label: judge(reached, cases, right_scores(judge, cases)) for judge in judges}
        columns = {"metrics": scores, "ceiling": best}
        result.metrics, result.ceiling = _values(scores), _values(best)
        result.notes = {label: score.note for label, score in scores.items() if score.note}
        if cases[0].own is not None:
            result.notes["options"] = f"all {len(cases[0].example.options or ())} of the rows that were read"
        result.confusion = confusion(task.spec, values, cases)
        _beside(reading, task, judges, cases, result, columns)
    if out is not None:
        _write_predictions(out / PREDICTIONS, task.name, read, predictions, judges[0], scores)
        _draw(out, reading, task, answered, values, result, columns)
    return result, columns


def _beside(
    reading: Reading, task: LoadedTask, judges: Sequence[Judge], cases: Sequence[Case], result: TaskResult,
    columns: dict[str, Scores],
) -> None:  # fmt: skip
    """What the trivial predictors reach."""
    try:
        baseline = _baseline(reading, task, judges[0])
    except MissingData as missing:
        baseline, result.notes["baseline"] = None, f"none, without rows to train on: {reason(task, missing)}"
    if baseline is not None:
        result.baseline_answer = baseline.name
        columns["baseline"] = judged(judges, [baseline.predict(c.example) for c in cases], cases)
        result.baseline = _values(columns["baseline"])
        mine, theirs = result.metrics[result.headline], result.baseline[result.headline]
        if mine is not None and theirs is not None:
            result.better_than_baseline = judges[0].metric.better(mine, theirs)
    copying = copy_input(cases)
    if copying is not None:
        result.copy_input = _values(judged(judges, [copying.predict(c.example) for c in cases], cases))


def reason(task: LoadedTask, why: Exception) -> str:
    """Why a task was left out, in a line."""
    return str(why).partition("\n")[0].removeprefix(f"{task.path}: ")


def judged(
    judges: Iterable[Judge], values: Sequence[Value], cases: Sequence[Case],
    option_scores: OptionScores | None = None,
) -> Scores:  # fmt: skip
    return {judge.label: judge(values, cases, option_scores) for judge in judges}


def _values(scores: Scores) -> dict[str, float | None]:
    """The value of each score, and after it those of its parts."""
    out: dict[str, float | None] = {}
    for label, score in scores.items():
        out[label] = _number(score.value)
        out |= {part_label(label, part): _number(value) for part, value in score.parts.items()}
    return out


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _baseline(reading: Reading, task: LoadedTask, headline: Judge) -> Baseline | None:
    """The trivial predictor, fitted on training rows; None for a task without any."""
    if task.spec.source is None or "train" not in task.spec.source.splits:
        return None
    cases = reading.cases(task, "train", BASELINE_ROWS)
    return fit_baseline(task.spec.modality, cases, headline.goodness)


# ----------------------------------------------------------------------------------------- the rows


def _write_predictions(
    path: Path, task: str, read: Cases, predictions: Sequence[Prediction], headline: Judge, scores: Scores
) -> None:
    """Adds a line a row. Where the headline is no mean over rows, a line has what the metric was given, too,
    so that it can be computed of some of the rows."""
    case_of = {place: i for i, place in enumerate(read.places)}
    each = {label: score.per_example for label, score in scores.items() if score.per_example is not None}
    whole = bool(scores) and not is_mean(scores[headline.label])
    with path.open("a") as file:
        for place, (example, prediction) in enumerate(zip(read.examples, predictions, strict=True)):
            i = case_of.get(place)
            row = {
                "task": task,
                "key": example.key,
                "prompt": words_of(example),
                "prediction": plain(prediction.value),
                "reference": None if i is None else plain(read.cases[i].target),
                "scores": {} if i is None else {label: _number(some[i]) for label, some in each.items()},
                "malformed": prediction.malformed,
            }
            if whole and i is not None:
                given = headline.given(read.cases[i])
                row["given"] = {name: plain(value) for name, value in given.items()}
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")


def _draw(
    out: Path, reading: Reading, task: LoadedTask, answered: Answered, values: Sequence[Value],
    result: TaskResult, columns: dict[str, Scores],
) -> None:  # fmt: skip
    """Pictures of some rows, spread over the split, and of the worst."""
    cases, shown, scores = answered.read.cases, answered.pictured, columns.get("metrics", {})
    each: Sequence[float] = (math.nan,) * len(cases)
    if (headline := scores.get(result.headline)) is not None and headline.per_example is not None:
        each = headline.per_example
    picked = sorted({shown[i * len(shown) // SHOWN] for i in range(SHOWN)}) if shown else []
    result.samples = save_samples(out, task, [(cases[i], values[i], each[i]) for i in picked])
    result.worst_by, worst, each = _worst(columns)
    blank = {cases[i].example.key for i in set(worst) - set(shown)}
    again = reading.cases(task, reading.split, reading.limit, blank) if blank else []
    pictured = {case.example.key: case for case in again}
    drawn = [(pictured.get(cases[i].example.key, cases[i]), values[i], each[i]) for i in worst]
    result.worst = save_samples(out, task, drawn, prefix="worst_")


def _worst(columns: dict[str, Scores]) -> tuple[str | None, list[int], Sequence[float]]:
    """The first metric that scores single rows, the rows that it likes least, the worst first, and the scores
    of all. Rows that reach the best score there is are none of them."""
    for label, score in columns.get("metrics", {}).items():
        best = columns["ceiling"][label].per_example
        if score.per_example is None or best is None:
            continue
        sign = 1 if metric_of(label).higher_is_better else -1
        goodness = sign * np.array(score.per_example, float)
        most = np.nanmax([*goodness, *(sign * np.array(best, float)), -np.inf])
        bad = np.flatnonzero(goodness < most)
        return label, bad[np.argsort(goodness[bad], kind="stable")][:SHOWN].tolist(), score.per_example
    return None, [], ()
