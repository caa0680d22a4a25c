"""VQA accuracy with the official normalisation (Antol et al. 2015; visualqa.org/evaluation)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from unified.evaluation.metrics.base import Score, mean_score, metric, strings
from unified.values.types import Texts, Value

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {word: str(i) for i, word in enumerate(_NUMBERS)} | {"none": "0"}
_ARTICLES = ("a", "an", "the")
_PUNCTUATION = r""";/[]"{}()=+\_-><@`,?!"""
_CONTRACTED = [
    "ain't", "aren't", "can't", "could've", "couldn't", "couldn't've", "didn't", "doesn't", "don't",
    "hadn't", "hadn't've", "hasn't", "haven't", "he'd", "he'd've", "he's", "how'd", "how'll", "how's",
    "isn't", "it'd", "it'd've", "it'll", "ma'am", "mightn't", "mightn't've", "might've", "mustn't",
    "must've", "needn't", "not've", "o'clock", "oughtn't", "'ow's'at", "shan't", "she'd've", "should've",
    "shouldn't", "shouldn't've", "somebody'd've", "somebody'll", "somebody's", "someone'd",
    "someone'd've", "someone'll", "someone's", "something'd", "something'd've", "something'll", "that's",
    "there'd", "there'd've", "there're", "there's", "they'd", "they'd've", "they'll", "they're",
    "they've", "'twas", "wasn't", "we'd've", "we've", "weren't", "what'll", "what're", "what's",
    "what've", "when's", "where'd", "where's", "where've", "who'd", "who'd've", "who'll", "who's",
    "who've", "why'll", "why're", "why's", "won't", "would've", "wouldn't", "wouldn't've", "y'all",
    "y'all'll", "y'all'd've", "you'd", "you'd've", "you'll", "you're", "you've",
]  # fmt: skip


def _contractions() -> dict[str, str]:
    """Word with one apostrophe missing -> contraction, as in the official table (whose entries for
    capitalised words never match, since words are lower-cased first)."""
    table = {}
    for word in _CONTRACTED:
        for i, letter in enumerate(word):
            if letter == "'":
                table[word[:i] + word[i + 1 :]] = word
    table["somebody'd"] = "somebodyd"  # a slip of the official table, hence part of the metric
    return table


_CONTRACTIONS = _contractions()


def strip_punctuation(text: str) -> str:
    """A mark that touches a space anywhere in the text, or any mark in a text that has a comma between
    digits, vanishes; other marks become spaces; periods not before a digit vanish (at most 32)."""
    thousands = re.search(r"\d,\d", text)
    out = text
    for mark in _PUNCTUATION:
        touches = f"{mark} " in text or f" {mark}" in text
        out = out.replace(mark, "" if touches or thousands else " ")
    return re.sub(r"\.(?!\d)", "", out, count=32)


def normalise_answer(text: str) -> str:
    """The official treatment of a prediction: punctuation, lower case, number words, articles and
    contractions."""
    text = strip_punctuation(text.replace("\n", " ").replace("\t", " ").strip())
    words = [_DIGITS.get(w, w) for w in text.lower().split()]
    return " ".join(_CONTRACTIONS.get(w, w) for w in words if w not in _ARTICLES)


@metric("vqa_accuracy", unit="%")
def vqa_accuracy(predictions: Sequence[Value], references: Sequence[Value]) -> Score:
    """Mean over questions of the mean over the ten leave-one-out subsets of the human answers of
    min(1, number of equal answers / 3).

    Predictions are normalised in full; the human answers only lose punctuation, and only where they
    are not all equal. A single answer is none of ten that were normalised before: it counts as ten equal ones
    and is normalised as the predictions are, so that `none` can be right for `none`.
    """
    scores = []
    for prediction, reference in zip(predictions, references, strict=True):
        answers = list(strings(reference))
        if not isinstance(reference, Texts) or len(answers) == 1:
            answers = [normalise_answer(answers[0])] * 10
        if len(set(answers)) > 1:
            answers = [strip_punctuation(a) for a in answers]
        answer = normalise_answer(strings(prediction)[0])
        equal = sum(a == answer for a in answers)
        scores.append(sum(min(1.0, (equal - (a == answer)) / 3) for a in answers) / len(answers))
    return mean_score(scores)
