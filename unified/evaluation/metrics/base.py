"""What a metric is, and the registry of all of them by name."""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from unified.errors import UserError, did_you_mean
from unified.values.types import Label, Number, Text, Texts, Value

Unit = Literal["%", "m", "°", "dB", ""]
"""`%`: the value is a fraction, shown times 100. The others are shown as they are."""

FAMILIES = tuple(m.name for m in pkgutil.iter_modules([str(Path(__file__).parent)]) if m.name != "base")
"""The modules of this package, one a family; importing one registers its metrics."""


Sample = Callable[[npt.NDArray[np.int64]], float]
"""A figure over some examples of a set, given by their places (n,)."""


@dataclass(frozen=True)
class Score:
    """What a metric returns. `per_example`: one number an example, in order (nan where an example has
    none), or None for metrics that exist only for a whole set. `note`: what a reader must know to
    compare the number, e.g. which tokenizer was used. `parts`: further figures that belong to the value, by
    name and in its unit, e.g. {"yes/no": 0.83, "number": 0.51}."""

    value: float
    per_example: tuple[float, ...] | None = None
    note: str = ""
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Metric:
    """A named function from predictions and references (same length, same frame) to a Score.

    `ranks`: predictions are arrays (options,) of scores, the higher the better, one an option of the example;
    a reference says which options are right, as `relevance` reads it. `resampler`: takes what the function
    takes and returns what finds the value over as many of the examples, given by their places (n,), which
    may repeat: for metrics of which the most work is on single examples."""

    name: str
    unit: Unit
    higher_is_better: bool
    function: Callable[..., Score]
    ranks: bool = False
    resampler: Callable[..., Sample] | None = None

    def __call__(self, predictions: Sequence[Any], references: Sequence[Any], **args: Any) -> Score:
        if len(predictions) != len(references):
            raise ValueError(f"{self.name}: {len(predictions)} predictions for {len(references)} references")
        if not predictions:
            return Score(math.nan, ())
        return self.function(predictions, references, **args)

    def resample(
        self, predictions: Sequence[Any], references: Sequence[Any], fields: Mapping[str, Sequence[Any]],
        args: Mapping[str, Any],
    ) -> Sample:  # fmt: skip
        """What finds the value over some of the examples. `fields`: arguments with a value for each."""
        if self.resampler is not None:
            return self.resampler(predictions, references, **fields, **args)

        def sample(rows: npt.NDArray[np.int64]) -> float:
            picked = {name: [values[i] for i in rows] for name, values in fields.items()}
            got, want = ([values[i] for i in rows] for values in (predictions, references))
            return self(got, want, **picked, **args).value

        return sample

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


def metric(
    name: str, *, unit: Unit, higher_is_better: bool = True, ranks: bool = False,
    resampler: Callable[..., Sample] | None = None,
) -> Callable[[F], F]:  # fmt: skip
    """Registers a metric function under `name`. Its docstring holds the definition and its source."""

    def register(function: F) -> F:
        if name in _METRICS:
            raise ValueError(f"two metrics are named '{name}'")
        _METRICS[name] = Metric(name, unit, higher_is_better, function, ranks, resampler)
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


def relevance(reference: Any, n: int) -> npt.NDArray[np.float64]:
    """(n,) how right each of n options is: 0 is wrong. The reference of a metric with `ranks` is the place of
    the right option, counted from 0 (a Number or int), or the relevances themselves: one number an option,
    as an array, a sequence or Texts of numerals."""
    if isinstance(reference, Number):
        reference = reference.value
    if isinstance(reference, Texts):
        reference = [float(item) for item in reference.items]
    array = np.asarray(reference, np.float64)
    if array.ndim == 0:
        place = int(array)
        if place != array or not 0 <= place < n:
            raise TypeError(f"the right option is {float(array):g}, of options 0 to {n - 1}")
        return np.eye(1, n, place)[0]
    if array.shape != (n,):
        raise TypeError(f"{array.size} relevances for {n} options")
    return array


def ranks_of(scores: Any) -> npt.NDArray[np.float64]:
    """(n,) the rank of each option, 1 for the highest score; tied options share the mean of their ranks."""
    scores = np.asarray(scores, np.float64)
    ordered = np.sort(scores)
    above = len(scores) - np.searchsorted(ordered, scores, side="right")
    least = len(scores) - np.searchsorted(ordered, scores, side="left")
    return (above + 1 + least) / 2


def mean_score(
    per_example: Sequence[float] | np.ndarray, note: str = "", parts: Mapping[str, float] | None = None
) -> Score:
    """The mean over the examples that have a score."""
    scores = tuple(float(s) for s in per_example)
    known = [s for s in scores if not math.isnan(s)]
    if len(known) < len(scores):
        left_out = f"{len(scores) - len(known)} examples without a reference left out"
        note = f"{note}; {left_out}" if note else left_out
    return Score(float(np.mean(known)) if known else math.nan, scores, note, parts or {})
