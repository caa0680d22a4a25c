"""Which metrics judge a task, and how its predictions are scored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from unified.errors import UserError
from unified.evaluation.cases import Case
from unified.evaluation.metrics import Metric, Score, get_metric
from unified.evaluation.metrics.base import relevance, strings
from unified.specs.load import LoadedTask
from unified.specs.schema import MetricSpec
from unified.specs.vocabulary import DEFAULT_METRICS, LABELLED_BOX_METRICS
from unified.values.types import Boxes, Number, Texts, Value

OptionScores = Sequence["npt.NDArray[Any] | None"]
"""For each example the scores of its options, one an option, the higher the better."""


@dataclass(frozen=True, eq=False)
class Judge:
    """A metric with a task's arguments. `label` names it in results."""

    label: str
    metric: Metric
    spec: MetricSpec

    def __call__(
        self, predictions: Sequence[Value], cases: Sequence[Case], option_scores: OptionScores | None = None
    ) -> Score:
        """The score, with the parts that the task asks for.

        A metric that judges a ranking takes `option_scores`; without them a prediction counts as the first of
        the options, and all others as equally bad. Raises UserError where the metric cannot be computed from
        such values or arguments.
        """
        kept, score = range(len(cases)), None
        if self.metric.ranks:
            references: list[Any] = [self.relevance(case) for case in cases]
            kept = [i for i in kept if references[i] is not None]  # type: ignore[assignment]
            given = option_scores if option_scores is not None else [None] * len(cases)
            answers: list[Any] = [
                given[i] if given[i] is not None else chosen(predictions[i], cases[i]) for i in kept
            ]
            references = [references[i] for i in kept]
        else:
            answers = list(predictions)
            references = [self._reference(case) for case in cases]
        used = [cases[i] for i in kept]
        score = self._compute(answers, references, used)
        if self.spec.by is not None:
            score = replace(score, parts={**score.parts, **self._by(answers, references, used)})
        return score if len(used) == len(cases) else _spread(score, kept, len(cases))

    def goodness(self, predictions: Sequence[Value], cases: Sequence[Case]) -> float:
        """The score, turned so that more is better; -inf where there is none."""
        value = self(predictions, cases).value
        if math.isnan(value):
            return -math.inf
        return value if self.metric.higher_is_better else -value

    def _compute(self, answers: Sequence[Any], references: Sequence[Any], cases: Sequence[Case]) -> Score:
        fields = {name: [self._field(c, f) for c in cases] for name, f in self.spec.fields.items()}
        try:
            return self.metric(answers, references, **fields, **self.spec.args)
        except (TypeError, AttributeError) as error:
            kinds = f"{type(answers[0]).__name__} against {type(references[0]).__name__}"
            task = cases[0].example.task
            raise UserError(f"{task}: metrics: '{self.label}' cannot score {kinds}: {error}") from error

    def _by(
        self, answers: Sequence[Any], references: Sequence[Any], cases: Sequence[Case]
    ) -> dict[str, float]:
        """The score of the examples of each value of a field; of several strings, each is a value."""
        groups: dict[str, list[int]] = {}
        for i, case in enumerate(cases):
            for name in dict.fromkeys(strings(self._field(case, self.spec.by or ""))):
                groups.setdefault(name, []).append(i)
        return {
            name: self._compute(
                [answers[i] for i in rows], [references[i] for i in rows], [cases[i] for i in rows]
            ).value
            for name, rows in sorted(groups.items())
        }

    def _field(self, case: Case, name: str) -> Value:
        if name not in case.example.values:
            raise UserError(
                f"{case.example.task}: metrics: '{self.label}' needs the field '{name}', which "
                f"{case.example.key} does not have"
            )
        return case.example.values[name]

    def _reference(self, case: Case) -> Value:
        return case.target if self.spec.references is None else self._field(case, self.spec.references)

    def given(self, case: Case) -> dict[str, Value]:
        """What the metric is told of an example besides the prediction: the `reference`, and under the name
        of each further argument its value. Nothing for a ranking."""
        if self.metric.ranks:
            return {}
        fields = {name: self._field(case, f) for name, f in self.spec.fields.items()}
        return {"reference": self._reference(case), **fields}

    def relevance(self, case: Case) -> npt.NDArray[Any] | None:
        """(options,) how right each option is; None for an example that says nothing of it. References of a
        ranking: the place of the right option, one number an option, or the right option(s) in words."""
        options, value = case.example.options or (), self._reference(case)
        if case.own is not None and self.spec.references is None:
            own = np.zeros(len(options), np.int8)
            own[case.own.start : case.own.stop] = 1
            return own
        if isinstance(value, Number) or (isinstance(value, Texts) and _numerals(value, len(options))):
            try:
                return relevance(value, len(options))
            except TypeError as error:
                where = f"{case.example.task}: metrics: '{self.label}': {case.example.key}"
                raise UserError(f"{where}: {error}") from None
        named = np.isin(np.array(options, object), np.array(strings(value), object))
        return named.astype(np.int8) if named.any() else None


def is_mean(score: Score) -> bool:
    """Whether the value is the mean of the scores of the examples that have one."""
    return is_mean_of(score.value, score.per_example or ())


def is_mean_of(value: float, per_example: Sequence[float]) -> bool:
    known = [s for s in per_example if not math.isnan(s)]
    return bool(known) and math.isclose(value, float(np.mean(known)), rel_tol=1e-6, abs_tol=1e-9)


def _numerals(value: Texts, n: int) -> bool:
    """Whether these are n numbers."""
    try:
        return len([float(item) for item in value.items]) == n
    except ValueError:
        return False


def _spread(score: Score, kept: Sequence[int], n: int) -> Score:
    """The score of some of n examples as that of all: the others have none."""
    left_out = f"{n - len(kept)} examples without a reference left out"
    each: list[float] | None = None
    if score.per_example is not None:
        each = [math.nan] * n
        for i, value in zip(kept, score.per_example, strict=True):
            each[i] = value
    note = f"{score.note}; {left_out}" if score.note else left_out
    return replace(score, per_example=None if each is None else tuple(each), note=note)


def chosen(prediction: Value, case: Case) -> npt.NDArray[Any]:
    """(options,) 1 for the option that was answered, 0 for the others."""
    names = strings(prediction)
    return np.array([option in names for option in case.example.options or ()], np.float32)


def right_scores(judge: Judge, cases: Sequence[Case]) -> OptionScores | None:
    """Option scores in the best order there is; None for a metric that judges no ranking."""
    if not judge.metric.ranks:
        return None
    return [judge.relevance(case) for case in cases]


def judges_of(task: LoadedTask, cases: Sequence[Case]) -> list[Judge]:
    """The metrics that the task names, headline first; else the usual ones for its kind of answer. Figures
    over two tasks are none of them (see `joint`)."""
    specs = task.spec.metrics or [MetricSpec(name=name) for name in _default(task, cases)]
    return [Judge(s.label, get_metric(s.name), s) for s in specs if s.jointly is None]


def _default(task: LoadedTask, cases: Sequence[Case]) -> tuple[str, ...]:
    if any(isinstance(c.target, Boxes) and c.target.labels is not None for c in cases):
        return LABELLED_BOX_METRICS
    return DEFAULT_METRICS[task.spec.modality]
