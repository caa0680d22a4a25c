"""Situations: a verb, and the noun and box of each of its roles (grounded situation recognition)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from unified.evaluation.metrics.base import Score, metric, strings
from unified.evaluation.metrics.boxes import iou_matrix
from unified.values.types import GroundedText, Text, Texts

FIGURES = ("value", "value-all", "grounded value", "grounded value-all")
_ROLE = re.compile(r"(?:^|,\s*|\s)([^\s,:]+):(?:\s+|$)")


@dataclass(frozen=True)
class Situation:
    """`nouns`: role -> noun; `boxes`: role -> xyxy, for the roles that have one."""

    verb: str
    nouns: Mapping[str, str]
    boxes: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)


def read_situation(value: GroundedText | Text) -> Situation:
    """The situation that `kicking, agent: man, item: ball` tells; without a verb it is `""`. A noun's box
    is the first whose phrase starts within it."""
    text = value.text
    marks = list(_ROLE.finditer(text))
    verb = text[: marks[0].start()] if marks else text
    nouns: dict[str, str] = {}
    boxes: dict[str, npt.NDArray[np.float64]] = {}
    for i, mark in enumerate(marks):
        start, end = mark.end(), marks[i + 1].start() if i + 1 < len(marks) else len(text)
        role = _same(mark.group(1))
        if role in nouns:
            continue  # said twice: the first counts
        nouns[role] = _same(text[start:end])
        if isinstance(value, GroundedText):
            for span, box in zip(value.spans, value.boxes.xyxy, strict=True):
                if start <= span[0] < end:
                    boxes.setdefault(role, box)
    return Situation(_same(verb), nouns, boxes)


def _same(words: str) -> str:
    return " ".join(words.lower().strip(" ,.").split())


def _boxes_agree(a: npt.NDArray[np.float64] | None, b: npt.NDArray[np.float64] | None) -> bool:
    if a is None or b is None:
        return a is None and b is None
    return bool(iou_matrix(a, b, pixel=1)[0, 0] > 0.5)


@metric("situation", unit="%")
def situation(
    predictions: Sequence[Any],
    references: Sequence[GroundedText],
    frames: Sequence[Texts] | None = None,
    verbs: Sequence[Any] | None = None,
) -> Score:
    """The five figures of grounded situation recognition on SWiG (Pratt et al. 2020), as allenai/swig
    global_utils/imsitu_eval.py: BboxEval computes them. The headline is the verb's accuracy; the parts are
    `value` (roles whose noun any annotator said), `value-all` (pictures with all of them), and the same
    grounded (noun and box; the box is right where prediction and truth both have none, or with IoU > 0.5, x2
    and y2 being the last pixels inside). Those four are averaged within each true verb, then over verbs.

    Settings: top-1, a wrong verb makes all roles wrong; top-5, where a prediction is a list of up to five
    situations, best first, and that of the right verb counts; ground-truth verb, where `verbs` gives the true
    verbs: then texts hold roles only and the headline is `value`.

    Values are texts `verb, role: noun, role: noun` with boxes on the nouns. `frames`: the same of each
    annotator, without boxes. Nouns are compared as words, in the official files as WordNet ids.
    """
    hits: dict[str, dict[str, list[float]]] = {figure: defaultdict(list) for figure in FIGURES}
    each = []
    for i, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
        want = read_situation(reference)
        said = [read_situation(Text(frame)) for frame in (strings(frames[i]) if frames is not None else ())]
        guesses = list(prediction) if isinstance(prediction, (list, tuple)) else [prediction]
        got = [read_situation(guess) for guess in guesses[:5]]
        if verbs is None:
            verb = want.verb
            chosen = next((guess for guess in got if guess.verb == verb), None)
        else:
            verb, chosen = _same(strings(verbs[i])[0]), got[0] if got else None
        if not want.nouns:
            raise TypeError(f"'{reference.text}' tells no role: it must read `verb, role: noun, role: noun`")
        right, grounded = [], []
        for role, noun in want.nouns.items():
            nouns = {noun, *(frame.nouns[role] for frame in said if role in frame.nouns)}
            right.append(chosen is not None and chosen.nouns.get(role) in nouns)
            boxes = None if chosen is None else chosen.boxes.get(role)
            grounded.append(right[-1] and _boxes_agree(boxes, want.boxes.get(role)))
        for figure, roles in (("value", right), ("grounded value", grounded)):
            hits[figure][verb].append(float(np.mean(roles)))
            hits[f"{figure}-all"][verb].append(float(all(roles)))
        each.append(float(chosen is not None) if verbs is None else float(np.mean(right)))
    parts = {
        figure: float(np.mean([np.mean(scores) for scores in hits[figure].values()])) for figure in FIGURES
    }
    if verbs is None:
        return Score(float(np.mean(each)), tuple(each), "", parts)
    return Score(parts.pop("value"), tuple(each), "the true verb is given", parts)
