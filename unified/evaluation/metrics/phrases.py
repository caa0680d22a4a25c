"""Phrases and words grounded in boxes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from unified.errors import UserError
from unified.evaluation.metrics.base import Score, mean_score, metric, strings
from unified.evaluation.metrics.boxes import iou_matrix
from unified.evaluation.metrics.text import normalise
from unified.values.types import Boxes, GroundedText, Texts

Floats = npt.NDArray[np.float64]
Protocol = Literal["any", "merged"]
RECALLS = (1, 5, 10)


def phrases(value: GroundedText) -> list[tuple[str, Floats]]:
    """(phrase, its (n, 4) boxes in order) of each span."""
    boxes: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, span in enumerate(value.spans):
        boxes[span].append(i)
    return [(value.text[start:end], value.boxes.xyxy[rows]) for (start, end), rows in boxes.items()]


def _ranked(boxes: Boxes) -> Floats:
    if boxes.scores is None:
        return boxes.xyxy
    return boxes.xyxy[np.argsort(-boxes.scores, kind="stable")]


def _pairs(prediction: Boxes | GroundedText, reference: Boxes | GroundedText) -> list[tuple[Floats, Floats]]:
    """(ranked predicted boxes, true boxes) of each phrase that has true boxes."""
    if isinstance(reference, Boxes):
        if not isinstance(prediction, Boxes):
            raise TypeError("boxes are referenced, grounded text is predicted")
        return [(_ranked(prediction), reference.xyxy)] if len(reference) else []
    if not isinstance(prediction, GroundedText):
        raise TypeError("grounded text is referenced, boxes are predicted")
    got: dict[str, list[Floats]] = defaultdict(list)
    for phrase, boxes in phrases(prediction):
        got[normalise(phrase)].append(boxes)
    pairs = []
    for phrase, boxes in phrases(reference):
        same = got[normalise(phrase)]  # the first occurrence answers the first, and so on
        pairs.append((same.pop(0) if same else np.zeros((0, 4)), boxes))
    return pairs


@metric("phrase_recall", unit="%")
def phrase_recall(
    predictions: Sequence[Boxes | GroundedText],
    references: Sequence[Boxes | GroundedText],
    protocol: Protocol = "any",
    threshold: float = 0.5,
    types: Sequence[Texts] | None = None,
) -> Score:
    """Recall@1 of Flickr30k Entities (Plummer et al. 2015): the share of phrases for which the first box has
    IoU >= 0.5 (continuous coordinates) with a true box; the parts are Recall@5, @10 and `upper bound` (any
    box).

    `protocol`: `any`: one of the phrase's true boxes is enough; `merged`: the smallest box around them all is
    the one to hit. Phrases without boxes are left out. Both as ashkamath/mdetr datasets/flickr_eval.py
    computes them. Boxes are ranked by their scores, where they have some, else as given.

    An example is a phrase (boxes against boxes) or a caption (grounded text; a phrase is found again by its
    words). `types`: the phrase types of an example (people, clothing, ...): Recall@1 of each as further
    parts.
    """
    if protocol not in ("any", "merged"):
        raise UserError(f"metric phrase_recall: there is no protocol '{protocol}'; there are: any, merged")
    counts: dict[int | None, list[bool]] = {k: [] for k in (*RECALLS, None)}
    by_type: dict[str, list[bool]] = defaultdict(list)
    each = []
    for i, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
        first = []
        for got, want in _pairs(prediction, reference):
            if protocol == "merged":
                want = np.concatenate([want[:, :2].min(axis=0), want[:, 2:].max(axis=0)])[None]
            hit = np.any(iou_matrix(got, want) >= threshold, axis=1)
            for k, hits in counts.items():
                hits.append(bool(hit[:k].any()))
            first.append(bool(hit[:1].any()))
            for name in strings(types[i]) if types is not None else ():
                by_type[name].append(first[-1])
        each.append(float(np.mean(first)) if first else np.nan)
    recall = {k: float(np.mean(hits)) if hits else np.nan for k, hits in counts.items()}
    parts = {f"R@{k}": recall[k] for k in RECALLS[1:]} | {"upper bound": recall[None]}
    parts |= {f"R@1 {name}": float(np.mean(hits)) for name, hits in sorted(by_type.items())}
    note = f"Recall@1 over {len(counts[1])} phrases; protocol: {protocol}"
    return Score(recall[1], tuple(each), note, parts)


def _named(value: Boxes | GroundedText) -> list[tuple[str, Floats]]:
    """(normalised name, xyxy) of each box; the name of a grounded phrase is the phrase."""
    if isinstance(value, GroundedText):
        names = [value.text[start:end] for start, end in value.spans]
        return [(normalise(n), b) for n, b in zip(names, value.boxes.xyxy, strict=True)]
    names = list(value.labels) if value.labels is not None else [""] * len(value)
    return [(normalise(n), b) for n, b in zip(names, value.xyxy, strict=True)]


@metric("grounding_f1", unit="%")
def grounding_f1(
    predictions: Sequence[Boxes | GroundedText],
    references: Sequence[Boxes | GroundedText],
    threshold: float = 0.5,
) -> Score:
    """F1 over named boxes of the whole set: a predicted (phrase, box) is right when an unused reference
    of the same phrase (case, punctuation and articles apart) has IoU >= threshold, taken greedily by
    IoU. A plainer relative of F1_all of ActivityNet-Entities, which is `grounded_caption_f1`."""
    hits = n_got = n_want = 0
    each = []
    for prediction, reference in zip(predictions, references, strict=True):
        got, want = _named(prediction), _named(reference)
        iou = iou_matrix(np.array([b for _, b in got]), np.array([b for _, b in want]))
        for i, (name, _) in enumerate(got):
            iou[i, [name != other for other, _ in want]] = 0
        hit = 0
        while iou.size and iou.max() >= threshold:
            best = np.unravel_index(iou.argmax(), iou.shape)
            iou[best[0], :] = iou[:, best[1]] = 0
            hit += 1
        hits, n_got, n_want = hits + hit, n_got + len(got), n_want + len(want)
        each.append(2 * hit / (len(got) + len(want)) if got or want else 1.0)
    return Score(2 * hits / (n_got + n_want) if n_got + n_want else 1.0, tuple(each))


# ------------------------------------------------------------- ActivityNet-Entities: words and boxes

_IRREGULAR = {
    "children": "child", "feet": "foot", "teeth": "tooth", "mice": "mouse", "geese": "goose",
    "knives": "knife", "leaves": "leaf", "shelves": "shelf", "loaves": "loaf", "buses": "bus",
    "potatoes": "potato", "tomatoes": "tomato", "movies": "movie", "cookies": "cookie", "hoodies": "hoodie",
    "ties": "tie",
}  # fmt: skip
_STAYS = ("ss", "us", "is", "glasses", "scissors", "pants", "shorts", "jeans")


def lemma(word: str) -> str:
    """The singular of an English noun by rule: dogs -> dog, ladies -> lady, boxes -> box, men -> man."""
    word = word.lower()
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("men") and word not in ("specimen", "abdomen", "omen"):
        return word[:-2] + "an"
    if word.endswith(_STAYS) or len(word) < 4 or not word.endswith("s"):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("sses", "xes", "ches", "shes")) else word[:-1]


@dataclass(frozen=True)
class GroundedSentence:
    """What the F1 of grounded captions sees of a sentence. `objects`: (class, (n, 4) boxes) of each
    grounded word in order. `others`: lemmas of the words that are not grounded."""

    objects: tuple[tuple[str, Floats], ...]
    others: frozenset[str] = frozenset()


def grounded_sentence(value: GroundedText) -> GroundedSentence:
    """The class of a phrase is the lemma of its last word."""
    heads = {start + _head(value.text[start:end])[0] for start, end in value.spans}
    words = [(m.start(), lemma(m.group())) for m in _WORD.finditer(value.text)]
    objects = tuple((lemma(_head(phrase)[1]), boxes) for phrase, boxes in phrases(value))
    return GroundedSentence(objects, frozenset(w for start, w in words if start not in heads))


_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def _head(phrase: str) -> tuple[int, str]:
    """(start, word) of the last word of a phrase."""
    found = list(_WORD.finditer(phrase))
    return (found[-1].start(), found[-1].group()) if found else (0, phrase)


def _overlaps(got: Floats, want: Floats, threshold: float) -> bool:
    """Whether the first predicted box has IoU > threshold with one of the true ones, x2 and y2 being the last
    pixels inside; boxes of a single pixel never do."""
    if not len(got) or (got[0, :2] == got[0, 2:]).all():
        return False
    iou = iou_matrix(got[:1], want, pixel=1)[0]
    iou[(want[:, :2] == want[:, 2:]).all(axis=1)] = 0
    return bool((iou > threshold).any())


@dataclass(frozen=True)
class _F1:
    precision: float
    recall: float
    per_sentence: tuple[float, ...]
    """nan where the sentence has no target."""
    sentence_divisor: int

    @property
    def f1(self) -> float:
        return _harmonic(self.precision, self.recall)


def _harmonic(a: float, b: float) -> float:
    return 0.0 if a + b == 0 else 2 * a * b / (a + b)  # nan stays nan


def _class_f1(
    predictions: Sequence[GroundedSentence],
    references: Sequence[GroundedSentence],
    every: bool,
    threshold: float,
) -> _F1:
    precision: dict[str, list[bool]] = defaultdict(list)
    recall: dict[str, list[bool]] = defaultdict(list)
    classes: set[str] = set()
    sentences: list[float] = []
    without_target = 0
    for got, want in zip(predictions, references, strict=True):
        if not want.objects:  # not annotated: nothing is known to be wrong
            sentences.append(np.nan)
            continue
        first_true: dict[str, Floats] = {}
        for name, boxes in want.objects:
            first_true.setdefault(name, boxes)
        first_said: dict[str, Floats] = {}
        classes |= set(first_true)
        right, found = [], []
        for name, boxes in got.objects:
            first_said.setdefault(name, boxes)
            if name in first_true:
                right.append(_overlaps(boxes, first_true[name], threshold))
            elif not every or lemma(name) in want.others:
                continue
            else:
                right.append(False)  # no such object
            precision[name].append(right[-1])
        for name, boxes in want.objects:
            if name in first_said:
                found.append(_overlaps(first_said[name], boxes, threshold))
            elif every:
                found.append(False)
            else:
                continue
            recall[name].append(found[-1])
        if not found:
            without_target += 1
            sentences.append(np.nan)
        else:
            sentences.append(_harmonic(float(np.mean(right)) if right else 0.0, float(np.mean(found))))
    n = len(classes)
    return _F1(
        float(sum(np.mean(v) for v in precision.values())) / n if n else np.nan,
        float(sum(np.mean(v) for v in recall.values())) / n if n else np.nan,
        tuple(sentences),
        len(predictions) - without_target,
    )


@metric("grounded_caption_f1", unit="%")
def grounded_caption_f1(
    predictions: Sequence[GroundedText], references: Sequence[GroundedText], threshold: float = 0.5
) -> Score:
    """F1_all of grounded captions (Zhou et al. 2019, "Grounded video description"), as
    facebookresearch/ActivityNet-Entities scripts/eval_grd_anet_entities.py computes it on one frame; F1_loc
    and the precisions and recalls of both are parts.

    An object is right when class and box are (IoU > 0.5, + 1 pixels; of several true boxes one is enough).
    Precision is over predicted objects, recall over true ones, each averaged within a class, then over the
    classes of the references. F1_loc looks only at objects whose class was named. Words of the
    reference that are not grounded are not held against the prediction, nor is anything in an example without
    boxes. Objects of one class in a sentence: the first counts. The parts `per sentence` average the
    F1 of each sentence over the number of predictions less those without targets.

    The class of a phrase is its last word in the singular; the official files list classes by CoreNLP's
    lemmas.
    """
    got = [grounded_sentence(p) for p in predictions]
    want = [grounded_sentence(r) for r in references]
    scores = {name: _class_f1(got, want, name == "all", threshold) for name in ("all", "loc")}
    parts = {"F1_loc": scores["loc"].f1}
    for name, score in scores.items():
        parts |= {f"precision_{name}": score.precision, f"recall_{name}": score.recall}
        total = float(np.nansum(score.per_sentence))
        divisor = score.sentence_divisor
        parts[f"F1_{name} per sentence"] = total / divisor if divisor else np.nan
    note = "class of a phrase: its last word in the singular"
    return Score(scores["all"].f1, mean_score(scores["all"].per_sentence).per_example, note, parts)
