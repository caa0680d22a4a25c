"""VQA accuracy with the official normalisation (Antol et al. 2015; visualqa.org/evaluation)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from unified.errors import UserError
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


CONTRACTIONS = _contractions()


def strip_punctuation(text: str) -> str:
    """A mark that touches a space anywhere in the text, or any mark in a text that has a comma between
    digits, vanishes; other marks become spaces; periods not before a digit vanish (at most 32)."""
    thousands = re.search(r"\d,\d", text)
    out = text
    for mark in _PUNCTUATION:
        touches = f"{mark} " in text or f" {mark}" in text
        out = out.replace(mark, "" if touches or thousands else " ")
    return re.sub(r"\.(?!\d)", "", out, count=32)


def normalised(text: str, contractions: Mapping[str, str]) -> str:
    """`normalise_answer` with another table of contractions."""
    words = [_DIGITS.get(w, w) for w in strip_punctuation(_line(text)).lower().split()]
    return " ".join(contractions.get(w, w) for w in words if w not in _ARTICLES)


def normalise_answer(text: str) -> str:
    """The official treatment of a prediction: punctuation, lower case, number words, articles and
    contractions."""
    return normalised(text, CONTRACTIONS)


def _line(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


def leave_one_out(answer: str, humans: Sequence[str]) -> float:
    """The mean over the subsets of `humans` that lack one of them of min(1, number equal to `answer` / 3)."""
    equal = sum(h == answer for h in humans)
    return sum(min(1.0, (equal - (h == answer)) / 3) for h in humans) / len(humans)


@metric("vqa_accuracy", unit="%")
def vqa_accuracy(predictions: Sequence[Value], references: Sequence[Value], rules: int = 2017) -> Score:
    """Mean over questions of the mean over the ten leave-one-out subsets of the human answers of
    min(1, number of equal answers / 3). The official script, vqaEval.py of GT-Vision-Lab/VQA, has two rules:

    `rules=2017` (commit a4f1afd, by which nearly all published numbers were made, and LAVIS): predictions are
    normalised in full; the human answers only lose punctuation, and only where they are not all equal.
    `rules=2021` (commit a013f00): where the human answers are not all equal, they and the prediction are
    normalised in full; where they are, neither is, so that `Yes` is wrong for ten `yes`.

    A single answer is none of ten that were normalised before: it counts as ten equal ones and is normalised
    as the predictions are, so that `none` can be right for `none`. The official figure is 100 times ours,
    rounded to two decimals. Figures by answer type: `by: answer_type`.
    """
    if rules not in (2017, 2021):
        raise UserError(
            f"vqa_accuracy: rules must be 2017 or 2021 (the year of the official script), not {rules}"
        )
    scores = []
    for prediction, reference in zip(predictions, references, strict=True):
        humans, said = list(strings(reference)), strings(prediction)[0]
        if not isinstance(reference, Texts) or len(humans) == 1:
            scores.append(float(normalise_answer(humans[0]) == normalise_answer(said)))
            continue
        if rules == 2017:
            differ = len(set(humans)) > 1
            humans = [strip_punctuation(h) for h in humans] if differ else humans
            scores.append(leave_one_out(normalise_answer(said), humans))
        else:
            humans = [_line(h) for h in humans]
            rule = normalise_answer if len(set(humans)) > 1 else _line
            scores.append(leave_one_out(rule(said), [rule(h) for h in humans]))
    note = "the official script's rules of 2021" if rules == 2021 else ""
    return mean_score(scores, note)
