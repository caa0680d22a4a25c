"""VizWiz-VQA: its VQA accuracy, and how well unanswerable questions are found."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from unified.errors import UserError
from unified.evaluation.metrics.base import Score, mean_score, metric, strings
from unified.evaluation.metrics.vqa import CONTRACTIONS, leave_one_out, normalise_answer, normalised
from unified.values.types import Number, Texts, Value


def _contractions() -> dict[str, str]:
    straight = ("ain't", "aren't", "can't", "could've", "couldn't", "we've", "where's", "who've")
    table = {}
    for word, full in CONTRACTIONS.items():
        key = word if word in ("couldn'tve", "hadn'tve") else word.replace("'", "\u2019")
        table[key] = full if full in straight else full.replace("'", "\u2019")
    return table


_CONTRACTIONS = _contractions()


@metric("vizwiz_accuracy", unit="%")
def vizwiz_accuracy(predictions: Sequence[Value], references: Sequence[Value]) -> Score:
    """VQA accuracy as VizWiz's own script has it (VQAEval of the VizWiz API by Qing Li; TRI-ML/vlm-evaluation
    d9f5896 holds a copy): the prediction is normalised as in VQA 2017, the ten human answers are compared
    as they stand, whether or not they are equal; leave-one-out as in VQA.

    In that script's table of contractions nearly all apostrophes are typographic, so that `dont` becomes
    `don\u2019t`, which equals no `don't`; ours does the same. A single answer counts as in vqa_accuracy.
    """
    scores = []
    for prediction, reference in zip(predictions, references, strict=True):
        humans, said = list(strings(reference)), strings(prediction)[0]
        if not isinstance(reference, Texts) or len(humans) == 1:
            scores.append(float(normalise_answer(humans[0]) == normalise_answer(said)))
        else:
            scores.append(leave_one_out(normalised(said, _CONTRACTIONS), humans))
    return mean_score(scores)


def average_precision(right: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64]) -> float:
    """The sum over the distinct scores, from the highest, of precision times the gain in recall, of taking
    all examples from that score on for right (sklearn's average_precision_score); nan where none is right."""
    if not right.any():
        return math.nan
    total, found = 0.0, 0
    for threshold in np.unique(scores)[::-1]:
        taken = scores >= threshold
        now = int((taken & right).sum())
        total += now / int(taken.sum()) * (now - found)
        found = now
    return total / int(right.sum())


def _answerable(value: Value, is_reference: bool) -> float:
    """How answerable a question is said to be, from 0 to 1. Of a prediction in words: 0 for
    "unanswerable"."""
    said = value.value if isinstance(value, Number) else strings(value)[0].strip().lower()
    if isinstance(said, str) and (said in ("answerable", "unanswerable") or not is_reference):
        return float(normalise_answer(said) != "unanswerable")
    try:
        number = {"true": 1.0, "false": 0.0}.get(str(said)) if isinstance(said, str) else None
        number = float(said) if number is None else number
    except ValueError:
        number = math.nan
    if not (number in (0, 1) if is_reference else 0 <= number <= 1):
        what = "reference, 0 or 1" if is_reference else "prediction, from 0 to 1"
        raise UserError(f"vizwiz_unanswerable: '{said}' is no {what}; references are VizWiz's `answerable`")
    return number


@metric("vizwiz_unanswerable", unit="%")
def vizwiz_unanswerable(predictions: Sequence[Value], references: Sequence[Value]) -> Score:
    """VizWiz's second task, to tell which questions cannot be answered: average precision of that class by
    1 - the predicted answerability; the part F1 is of those of answerability below 0.5 (VQAEval of the
    VizWiz API; TRI-ML/vlm-evaluation d9f5896 holds a copy).

    `references`: the field `answerable` (0 or 1). A prediction is a number from 0 to 1, or an answer in
    words: 0 for `unanswerable` once normalised, 1 for all others. nan where all questions are answerable."""
    said = np.array([_answerable(p, is_reference=False) for p in predictions])
    right = np.array([_answerable(r, is_reference=True) for r in references]) == 0
    called = 1 - said > 0.5
    n = int(called.sum() + right.sum())
    f1 = 2 * int((called & right).sum()) / n if n else math.nan
    note = "" if right.any() else "every question is answerable"
    return Score(average_precision(right, 1 - said), None, note, {"F1": f1})
