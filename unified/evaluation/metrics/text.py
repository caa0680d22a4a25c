"""Closed answers and short texts."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from unified.evaluation.metrics.base import Score, mean_score, metric, strings
from unified.values.types import Value

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """SQuAD's normalisation: lower case, no punctuation, no articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


@metric("accuracy", unit="%")
def accuracy(predictions: Sequence[Value], references: Sequence[Value]) -> Score:
    """Share of answers that equal the reference (any of several), but for case and outer or repeated
    spaces. The metric of classification, NLVR2, SNLI-VE, multiple choice and GQA."""

    def plain(text: str) -> str:
        return " ".join(text.casefold().split())

    return mean_score(
        [
            float(plain(strings(p)[0]) in map(plain, strings(r)))
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
    the references, averaged over examples (Rajpurkar et al. 2016)."""

    def f1(prediction: str, reference: str) -> float:
        got, want = normalise(prediction).split(), normalise(reference).split()
        if not got or not want:
            return float(got == want)
        same = sum((Counter(got) & Counter(want)).values())
        return 2 * same / (len(got) + len(want))

    return mean_score(
        [max(f1(strings(p)[0], s) for s in strings(r)) for p, r in zip(predictions, references, strict=True)]
    )
