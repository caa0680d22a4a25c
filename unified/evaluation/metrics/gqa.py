"""GQA's figures by its eval.py (Hudson and Manning 2019; gqadataset.org), but for grounding, which compares
attention maps over regions and has no meaning for answers in words."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from unified.evaluation.metrics.base import Score, metric, strings
from unified.evaluation.metrics.text import is_true
from unified.values.types import Value

_COMMON = ("color", "material", "shape")


def _right(predictions: Sequence[Value], references: Sequence[Value]) -> list[bool]:
    return [strings(p)[0] in strings(r) for p, r in zip(predictions, references, strict=True)]


def _counted(balanced: Sequence[Value] | None, n: int) -> list[bool]:
    """Which questions the figures are over: the balanced ones."""
    return [True] * n if balanced is None else [is_true(b, "gqa: isBalanced") for b in balanced]


def _mean(scores: Sequence[float], counted: Sequence[bool], note: str = "") -> Score:
    """Mean over the counted examples; those that are not counted have no score."""
    each = tuple(s if c else math.nan for s, c in zip(scores, counted, strict=True))
    known = [s for s in each if not math.isnan(s)]
    return Score(sum(known) / len(known) if known else math.nan, each, note)


@metric("gqa_accuracy", unit="%")
def gqa_accuracy(
    predictions: Sequence[Value],
    references: Sequence[Value],
    structural: Sequence[Value] | None = None,
    balanced: Sequence[Value] | None = None,
) -> Score:
    """Share of questions whose answer equals the true one letter by letter, as in GQA's eval.py.

    `structural`: each question's `types.structural`; then the parts `binary` and `open` are told, a question
    being open where its type is `query`. `balanced`: each question's `isBalanced`, where the set holds others
    too: only balanced questions count. By types: `by`, on `types.structural` or `types.semantic`."""
    right, counted = _right(predictions, references), _counted(balanced, len(references))
    score = _mean([float(r) for r in right], counted)
    if structural is None:
        return score
    parts = {}
    for name, is_open in (("binary", False), ("open", True)):
        kept = [c and (strings(s)[0] == "query") == is_open for c, s in zip(counted, structural, strict=True)]
        parts[name] = _mean([float(r) for r in right], kept).value
    return Score(score.value, score.per_example, score.note, parts)


@metric("gqa_consistency", unit="%")
def gqa_consistency(
    predictions: Sequence[Value],
    references: Sequence[Value],
    questions: Sequence[Value],
    entailed: Sequence[Value],
    balanced: Sequence[Value] | None = None,
) -> Score:
    """Over the (balanced) questions that were answered rightly and entail others: the mean of the share of
    the entailed questions that were answered rightly too. GQA's eval.py; 0 where none was answered rightly.

    `questions`: each question's key; `entailed`: the keys that it entails, its own left out. The official
    script wants answers to all questions of `<split>_all_questions.json`; entailed questions that are not in
    the evaluated set are left out here, and the note counts them."""
    keys = [strings(q)[0] for q in questions]
    right = dict(zip(keys, _right(predictions, references), strict=True))
    counted = _counted(balanced, len(references))
    scores, absent, entailing = [], 0, False
    for key, others, count in zip(keys, entailed, counted, strict=True):
        known = [right[e] for e in strings(others) if e != key and e in right]
        absent += sum(e not in right for e in strings(others))
        entailing |= count and bool(known)
        scores.append(sum(known) / len(known) if known and right[key] else math.nan)
    note = f"{absent} entailed questions outside the evaluated set left out" if absent else ""
    score = _mean(scores, counted, note)
    return Score(0.0, score.per_example, note) if entailing and math.isnan(score.value) else score


def _belongs(
    predictions: Sequence[Value],
    groups: Sequence[Value],
    detailed: Sequence[Value] | None,
    balanced: Sequence[Value] | None,
) -> Score:
    scores = []
    for i, (prediction, group) in enumerate(zip(predictions, groups, strict=True)):
        common = detailed is not None and "Common" in strings(detailed[i])[0]
        scores.append(float(strings(prediction)[0] in (_COMMON if common else strings(group))))
    return _mean(scores, _counted(balanced, len(scores)))


@metric("gqa_validity", unit="%")
def gqa_validity(
    predictions: Sequence[Value],
    references: Sequence[Value],
    detailed: Sequence[Value] | None = None,
    balanced: Sequence[Value] | None = None,
) -> Score:
    """Share of answers that are of the kind asked for, e.g. a colour to a question about colour: those in the
    `valid` list of `<split>_choices.json`, which `references` must name. `detailed`: each question's
    `types.detailed`; where it holds `Common`, the valid answers are color, material and shape. GQA's
    eval.py."""
    return _belongs(predictions, references, detailed, balanced)


@metric("gqa_plausibility", unit="%")
def gqa_plausibility(
    predictions: Sequence[Value],
    references: Sequence[Value],
    detailed: Sequence[Value] | None = None,
    balanced: Sequence[Value] | None = None,
) -> Score:
    """Share of answers that make sense for what is asked about: those in the `plausible` list of
    `<split>_choices.json`, which `references` must name. Else as `gqa_validity`. GQA's eval.py."""
    return _belongs(predictions, references, detailed, balanced)


@metric("gqa_distribution", unit="", higher_is_better=False)
def gqa_distribution(
    predictions: Sequence[Value],
    references: Sequence[Value],
    groups: Sequence[Value],
    balanced: Sequence[Value] | None = None,
) -> Score:
    """How far the answers' histogram is from the true one, lower is better: for each group of questions
    (`groups.global`; those of none, null, are left out) the chi-square sum over its true answers of
    (predicted - true)^2 / true, averaged over groups by their number of questions, and divided by 100.
    Answers that are true nowhere in a group only lack elsewhere. GQA's eval.py."""
    counted = _counted(balanced, len(references))
    true: dict[str, Counter[str]] = defaultdict(Counter)
    said: dict[str, Counter[str]] = defaultdict(Counter)
    for prediction, reference, field, count in zip(predictions, references, groups, counted, strict=True):
        group = strings(field)[0] if field is not None and strings(field) else ""
        if count and group not in ("", "None", "null"):
            true[group][strings(reference)[0]] += 1
            said[group][strings(prediction)[0]] += 1
    n = sum(sum(answers.values()) for answers in true.values())
    if not n:
        return Score(math.nan, None, "no question has a group")
    total = 0.0
    for group, answers in true.items():
        chi = sum((said[group][answer] - count) ** 2 / count for answer, count in answers.items())
        total += chi * sum(answers.values())
    return Score(total / n / 100)
