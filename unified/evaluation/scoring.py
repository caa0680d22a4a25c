"""Which metrics judge a task, and how its predictions are scored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unified.errors import UserError
from unified.evaluation.cases import Case
from unified.evaluation.metrics import Metric, Score, get_metric
from unified.specs.load import LoadedTask
from unified.specs.schema import MetricSpec
from unified.specs.vocabulary import DEFAULT_METRICS, LABELLED_BOX_METRICS
from unified.values.types import Boxes, Value


@dataclass(frozen=True)
class Judge:
    """A metric with a task's arguments. `label` names it in results; `references`: the field that holds the
    references, None for the true answer."""

    label: str
    metric: Metric
    references: str | None = None
    args: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, predictions: Sequence[Value], cases: Sequence[Case]) -> Score:
        """Raises UserError where the metric cannot be computed from such values or arguments."""
        references = [
            c.target if self.references is None else c.example.values[self.references] for c in cases
        ]
        try:
            return self.metric(predictions, references, **self.args)
        except (TypeError, AttributeError) as error:
            kinds = f"{type(predictions[0]).__name__} against {type(references[0]).__name__}"
            task = cases[0].example.task
            raise UserError(f"{task}: metrics: '{self.label}' cannot score {kinds}: {error}") from error

    def goodness(self, predictions: Sequence[Value], cases: Sequence[Case]) -> float:
        """The score, turned so that more is better; -inf where there is none."""
        value = self(predictions, cases).value
        if math.isnan(value):
            return -math.inf
        return value if self.metric.higher_is_better else -value


def judges_of(task: LoadedTask, cases: Sequence[Case]) -> list[Judge]:
    """The metrics that the task names, headline first; else the usual ones for its kind of answer."""
    specs = task.spec.metrics or [MetricSpec(name=name) for name in _default(task, cases)]
    return [Judge(_label(s), get_metric(s.name), s.references, s.args) for s in specs]


def _default(task: LoadedTask, cases: Sequence[Case]) -> tuple[str, ...]:
    if any(isinstance(c.target, Boxes) and c.target.labels is not None for c in cases):
        return LABELLED_BOX_METRICS
    return DEFAULT_METRICS[task.spec.modality]


def _label(spec: MetricSpec) -> str:
    args = ", ".join(f"{k}={v}" for k, v in spec.args.items())
    return f"{spec.name}({args})" if args else spec.name
