"""Closed answers and short texts."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Sequence

from unified.errors import UserError
from unified.evaluation.metrics.base import Score, mean_score, metric, strings
from unified.values.types import Number, Value

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """SQuAD's normalisation: lower case, no punctuation, no articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def is_true(value: Value, metric_name: str) -> bool:
    """What a field of yes or no says: a number other than 0, or one of true, yes, 1, false, no, 0 in
    words."""
    if isinstance(value, Number):
        return value.value != 0
    said = strings(value)[0].strip().lower()
    if said not in ("true", "yes", "1", "false", "no", "0"):
        raise UserError(f"{metric_name}: '{said}' is neither true nor false; give a field of true and false")
    return said in ("true", "yes", "1")


@metric("accuracy", unit="%")
def accuracy(predictions: Sequence[Value], references: Sequence[Value]) -> Score:
    """Share of answers that equal the reference (any of several), but for case and outer or repeated
    spaces. The metric of classification (top-1), NLVR2, SNLI-VE, VIOLIN, VCR's two tasks, multiple choice,
    BoolQ, SciTail and MNLI. Among scored options, with ties told apart: `recall_at_k`."""

    return mean_score(
        [
            float(_plain(strings(p)[0]) in map(_plain, strings(r)))
            for p, r in zip(predictions, references, strict=True)
        ]
    )


@metric("exact_match", unit="%")
def exact_match(predictions: Sequence[Value], references: Sequence[Value]) -> Score:
    """SQuAD's EM: share of answers equal to any reference after lower-casing and removal of
    punctuation, articles and extra spaces (Rajpurkar et al. 2016, evaluate-v1.1)."""
    return mean_score(
        [
            float(normalise(strings(p)[0]) in map(normalise, strings(r)))
            for p, r in zip(predictions, references, strict=True)
        ]
    )


@metric("token_f1", unit="%")
def token_f1(predictions: Sequence[Value], references: Sequence[Value]) -> Score:
    """SQuAD's F1: harmonic mean of precision and recall over the bag of normalised words, the best of
    the references, averaged over examples (Rajpurkar et al. 2016). Two texts that are both empty once
    normalised are equal, as in evaluate-v2.0; see `squad` for v1.1."""

    return mean_score(
        [
            max(_f1(strings(p)[0], s, empty=1.0) for s in strings(r))
            for p, r in zip(predictions, references, strict=True)
        ]
    )


def _f1(prediction: str, reference: str, empty: float) -> float:
    """F1 of two bags of words; `empty` where neither has any."""
    got, want = normalise(prediction).split(), normalise(reference).split()
    if not got and not want:
        return empty
    return 2 * sum((Counter(got) & Counter(want)).values()) / (len(got) + len(want))


@metric("squad", unit="%")
def squad(predictions: Sequence[Value], references: Sequence[Value]) -> Score:
    """SQuAD v1.1 by evaluate-v1.1.py (Rajpurkar et al. 2016): exact match, with F1 as a part; each the best
    of the reference answers, after lower-casing and removal of punctuation, articles and extra spaces. Of two
    texts that are both empty once normalised, EM is 1 and F1 is 0. An unanswered question counts 0."""
    exact, f1 = [], []
    for prediction, reference in zip(predictions, references, strict=True):
        said, answers = strings(prediction)[0], strings(reference)
        exact.append(float(normalise(said) in map(normalise, answers)) if answers else math.nan)
        f1.append(max((_f1(said, a, empty=0.0) for a in answers), default=math.nan))
    return mean_score(exact, parts={"EM": mean_score(exact).value, "F1": mean_score(f1).value})


@metric("f1_binary", unit="%")
def f1_binary(predictions: Sequence[Value], references: Sequence[Value], positive: str) -> Score:
    """F1 of the class `positive` over the set, 2 TP / (2 TP + FP + FN), as sklearn's f1_score has it in
    GLUE's scorer (MRPC: `positive` is the label of paraphrases). Names are compared but for case and outer
    spaces; an answer that is no label counts as not positive. 0 where nothing is, or is called, positive."""
    want = [_plain(strings(r)[0]) == _plain(positive) for r in references]
    got = [_plain(strings(p)[0]) == _plain(positive) for p in predictions]
    both = sum(g and w for g, w in zip(got, want, strict=True))
    note = "" if any(want) else f"no reference is '{positive}'"
    return Score(2 * both / (sum(got) + sum(want)) if any(got) or any(want) else 0.0, None, note)
