"""Generated ids -> typed values in the square frame of the model. Lenient: what is whole is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unified.specs.example import Rendered
from unified.tokenization.tokenizer_set import TokenizerSet
from unified.values.types import Boxes, GroundedText, Keypoints, Number, Points

Ids = npt.NDArray[np.int64]
TIGHT = tuple(".,;:!?)]}'")
"""What is written without a space before it."""

Segment = str | Ids
"""A stretch of text, or the ids of a run of locations."""


def segments(tokenizers: TokenizerSet, ids: Sequence[int]) -> tuple[list[Segment], bool]:
    """Text and runs of locations in turn, up to the end token; whether anything else stood between."""
    vocabulary = tokenizers.vocabulary
    found: list[Segment] = []
    text: list[int] = []
    run: list[int] = []
    foreign = False
    for token in (int(i) for i in ids):
        if token == vocabulary.eos_id:
            break
        if token in vocabulary.location:
            _close_text(tokenizers, text, found)
            run.append(token)
        elif token in vocabulary.text or token == vocabulary.unk_id:
            if run:
                found.append(np.array(run, dtype=np.int64))
                run = []
            text.append(token)
        elif token != vocabulary.pad_id:
            foreign = True
    _close_text(tokenizers, text, found)
    if run:
        found.append(np.array(run, dtype=np.int64))
    return found, foreign


def _close_text(tokenizers: TokenizerSet, text: list[int], found: list[Segment]) -> None:
    if text:
        found.append(tokenizers.text.decode(text))
        text.clear()


def rendered(tokenizers: TokenizerSet, parts: Sequence[Segment], size: int) -> Rendered:
    """Strings and, between them, runs of locations: Boxes where four divides them, else Points."""
    out: list[str | Boxes | Points] = []
    for part in parts:
        if isinstance(part, str):
            out.append(part)
        elif len(part) >= 4 and len(part) % 4 == 0:
            out.append(Boxes(_boxes(tokenizers, part, size)))
        elif len(part) >= 2:
            out.append(Points(_points(tokenizers, part, size)))
    return tuple(out)


@dataclass(frozen=True)
class Items:
    """Boxes (n, 4) or points (n, 2) with the text after each; `malformed` when something was left out."""

    coordinates: npt.NDArray[np.float64]
    labels: tuple[str, ...]
    malformed: bool


def items(tokenizers: TokenizerSet, parts: Sequence[Segment], size: int, group: int) -> Items:
    """Items of `group` locations, each with the text up to the next."""
    found: list[npt.NDArray[np.float64]] = []
    labels: list[str] = []
    malformed = False
    for part in parts:
        if isinstance(part, str):
            if labels and not labels[-1]:
                labels[-1] = part.strip()
            else:
                malformed = True
            continue
        malformed |= len(part) % group != 0
        read = _boxes if group == 4 else _points
        whole = read(tokenizers, part, size)
        found.append(whole)
        labels += [""] * len(whole)
    coordinates = np.concatenate(found) if found else np.zeros((0, group))
    return Items(coordinates, tuple(labels), malformed)


def boxes(
    tokenizers: TokenizerSet, parts: Sequence[Segment], size: int, labelled: bool | None
) -> tuple[Boxes, bool]:
    """Boxes, with labels if `labelled`; a box without a label is then left out. With None all are kept, with
    labels (empty where there is none) if any has one."""
    read = items(tokenizers, parts, size, 4)
    if labelled is None:
        return Boxes(read.coordinates, read.labels if any(read.labels) else None), read.malformed
    if not labelled:
        return Boxes(read.coordinates), read.malformed or any(read.labels)
    kept = [i for i, label in enumerate(read.labels) if label]
    whole = Boxes(read.coordinates[kept], tuple(read.labels[i] for i in kept))
    return whole, read.malformed or len(kept) < len(read.labels)


def points(
    tokenizers: TokenizerSet, parts: Sequence[Segment], size: int, labelled: bool | None
) -> tuple[Points, bool]:
    """Points, as `boxes`."""
    read = items(tokenizers, parts, size, 2)
    if labelled is None:
        return Points(read.coordinates, read.labels if any(read.labels) else None), read.malformed
    if not labelled:
        return Points(read.coordinates), read.malformed or any(read.labels)
    kept = [i for i, label in enumerate(read.labels) if label]
    whole = Points(read.coordinates[kept], tuple(read.labels[i] for i in kept))
    return whole, read.malformed or len(kept) < len(read.labels)


def keypoints(
    tokenizers: TokenizerSet, parts: Sequence[Segment], size: int, names: tuple[str, ...]
) -> tuple[Keypoints, bool]:
    """Figures of joints, each a point and a visibility 1..3 (COCO's 0..2). Half a figure is left out."""
    read = items(tokenizers, parts, size, 2)
    k = len(names)
    figures = len(read.labels) // k
    malformed = read.malformed or figures * k != len(read.labels)
    visibility = np.zeros((figures, k), dtype=np.int64)
    for i, mark in enumerate(read.labels[: figures * k]):
        if mark in ("1", "2", "3"):
            visibility[divmod(i, k)] = int(mark) - 1
        else:
            malformed = True
    return Keypoints(read.coordinates[: figures * k].reshape(figures, k, 2), visibility, names), malformed


def grounded(tokenizers: TokenizerSet, parts: Sequence[Segment], size: int) -> tuple[GroundedText, bool]:
    """`[phrase]` followed by its boxes, anywhere in text."""
    text, malformed = "", False
    spans: list[tuple[int, int]] = []
    shown: list[npt.NDArray[np.float64]] = []
    phrase: tuple[int, int] | None = None
    for part in parts:
        if not isinstance(part, str):
            malformed |= len(part) % 4 != 0 or phrase is None
            if phrase is not None:
                whole = _boxes(tokenizers, part, size)
                shown.append(whole)
                spans += [phrase] * len(whole)
            continue
        phrase = None
        head, bracket, inside = part.rpartition("[")
        if bracket and inside.endswith("]"):
            text = join_text(text, head)
            inside = inside[:-1].strip()
            text = join_text(text, inside)
            phrase = (len(text) - len(inside), len(text))
        else:
            text = join_text(text, part)
    coordinates = np.concatenate(shown) if shown else np.zeros((0, 4))
    return GroundedText(text, tuple(spans), Boxes(coordinates)), malformed


def join_text(before: str, after: str) -> str:
    """Two stretches of text with the space that belongs between them."""
    after = after.strip()
    if not before or not after:
        return before + after
    return before + ("" if after.startswith(TIGHT) else " ") + after


def plain_text(parts: Sequence[Segment]) -> tuple[str, bool]:
    """The text alone; whether locations were left out."""
    text = ""
    for part in parts:
        if isinstance(part, str):
            text = join_text(text, part)
    return text, any(not isinstance(part, str) for part in parts)


def number(text: str) -> tuple[Number, bool]:
    """The number that `text` spells; NaN if none."""
    try:
        return Number(float(text.replace(" ", ""))), False
    except ValueError:
        return Number(float("nan")), True


def _boxes(tokenizers: TokenizerSet, ids: Ids, size: int) -> npt.NDArray[np.float64]:
    """(4 n + rest,) ids -> (n, 4) xyxy with corners in order."""
    whole = ids[: len(ids) // 4 * 4].reshape(-1, 4)
    corners = tokenizers.locations.decode(whole, size).reshape(-1, 2, 2)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def _points(tokenizers: TokenizerSet, ids: Ids, size: int) -> npt.NDArray[np.float64]:
    return tokenizers.locations.decode(ids[: len(ids) // 2 * 2].reshape(-1, 2), size)
