"""What a metric is, and the registry of all of them by name."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from unified.errors import UserError, did_you_mean
from unified.values.types import Label, Number, Text, Texts, Value

Unit = Literal["%", "m", "°", "dB", ""]
"""`%`: the value is a fraction, shown times 100. The others are shown as they are."""

FAMILIES = ("text", "vqa", "captions", "boxes", "points", "masks", "depth", "normals", "images", "numbers")
"""The modules of this package, one a family; importing one registers its metrics."""


@dataclass(frozen=True)
class Score:
    """What a metric returns. `per_example`: one number an example, in order (nan where an example has
    none), or None for metrics that exist only for a whole set. `note`: what a reader must know to
    compare the number, e.g. which tokenizer was used."""

    value: float
    per_example: tuple[float, ...] | None = None
    note: str = ""


@dataclass(frozen=True)
class Metric:
    """A named function from predictions and references (same length, same frame) to a Score."""

    name: str
    unit: Unit
    higher_is_better: bool
    function: Callable[..., Score]

    def __call__(self, predictions: Sequence[Any], references: Sequence[Any], **args: Any) -> Score:
        if len(predictions) != len(references):
            raise ValueError(f"{self.name}: {len(predictions)} predictions for {len(references)} references")
        if not predictions:
            return Score(math.nan, ())
        return self.function(predictions, references, **args)

    def better(self, a: float, b: float) -> bool:
        """Whether `a` is strictly better than `b`; nan is worse than anything."""
        if math.isnan(a) or math.isnan(b):
            return math.isnan(b) and not math.isnan(a)
        return a > b if self.higher_is_better else a < b

    def show(self, value: float | None) -> str:
        """`value` for a person: fractions as percentages, with the unit."""
        if value is None or math.isnan(value):
            return "–"
        if self.unit == "%":
            return f"{100 * value:.1f} %"
        digits = 2 if self.unit in ("dB", "°") else 3
        return f"{value:.{digits}f} {self.unit}".rstrip()


_METRICS: dict[str, Metric] = {}
F = TypeVar("F", bound=Callable[..., Score])


def metric(name: str, *, unit: Unit, higher_is_better: bool = True) -> Callable[[F], F]:
    """Registers a metric function under `name`. Its docstring holds the definition and its source."""

    def register(function: F) -> F:
        if name in _METRICS:
            raise ValueError(f"two metrics are named '{name}'")
        _METRICS[name] = Metric(name, unit, higher_is_better, function)
        return function

    return register


def metric_names() -> list[str]:
    """The names of all metrics."""
    for family in FAMILIES:
        importlib.import_module(f"unified.evaluation.metrics.{family}")
    return sorted(_METRICS)


def get_metric(name: str) -> Metric:
    """The metric of that name; UserError if there is none."""
    names = metric_names()
    if name not in _METRICS:
        raise UserError(f"unknown metric '{name}'{did_you_mean(name, names)}; there are: {', '.join(names)}")
    return _METRICS[name]


def strings(value: Value) -> tuple[str, ...]:
    """The string(s) that a text-like value holds; several are of equal standing."""
    if isinstance(value, Texts):
        return value.items
    if isinstance(value, Text):
        return (value.text,)
    if isinstance(value, Label):
        return (value.name,)
    if isinstance(value, Number):
        return (f"{value.value:g}",)
    if hasattr(value, "text"):
        return (value.text,)
    raise TypeError(f"a {type(value).__name__} is not text")


def mean_score(per_example: Sequence[float] | np.ndarray, note: str = "") -> Score:
    """The mean over the examples that have a score."""
    scores = tuple(float(s) for s in per_example)
    known = [s for s in scores if not math.isnan(s)]
    if len(known) < len(scores):
        left_out = f"{len(scores) - len(known)} examples without a reference left out"
        note = f"{note}; {left_out}" if note else left_out
    return Score(float(np.mean(known)) if known else math.nan, scores, note)
