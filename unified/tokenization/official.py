"""Answers as the official Unified-IO code reads them (uio/utils.py, uio/runner.py), for strict mode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from unified.tokenization.tokenizer_set import TokenizerSet
from unified.values.types import Boxes, Keypoints

TIGHT = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")
"""What the official tokenizer writes without its spaces, one after another."""


MARKS = ("1", "2", "3")
"""COCO's visibility 0, 1, 2 after a joint."""


class Unreadable(ValueError):
    """Where the official code raises: ids that are no list of places, each with its label."""


def wording(tokenizers: TokenizerSet, ids: Sequence[int]) -> str:
    """The text of ids, locations and sentinels by their names, no space before punctuation."""
    vocabulary, words, run = tokenizers.vocabulary, [""], []
    for token in ids:
        name = None
        if token in vocabulary.sentinel:
            name = vocabulary.sentinel.index(token)
        elif token in vocabulary.location:
            name = vocabulary.sentinel.count + vocabulary.bin_of(token)
        if name is None:
            run.append(token)
            continue
        words += [tokenizers.text.decode(run), f"<extra_id_{name}>"]
        run = []
    text = " ".join(filter(None, [*words, tokenizers.text.decode(run)]))
    for part in TIGHT:
        text = text.replace(part, part.strip())
    return text


def boxes(tokenizers: TokenizerSet, ids: Sequence[int], side: int) -> Boxes:
    """Boxes in the square of `side` pixels around an image, also where they leave the image.

    Raises Unreadable.
    """
    corners, labels = _items(tokenizers, ids, 4)
    pairs = corners.reshape(-1, 2, 2) * (side / 1000)
    names = tuple(tokenizers.text.decode(label) for label in labels)
    xyxy = np.concatenate([pairs.min(axis=1), pairs.max(axis=1)], axis=1)
    return Boxes(xyxy, names if any(names) else None)


def joints(
    tokenizers: TokenizerSet, ids: Sequence[int], side: int, names: tuple[str, ...]
) -> tuple[Keypoints, bool]:
    """One figure, none where no joint is seen; and whether it was no whole one.

    Joints that are not seen, or not answered, stand at the mean of the others; what is beyond a figure is
    left out. Raises Unreadable.
    """
    points, labels = _items(tokenizers, ids, 2)
    points, k = points * (side / 1000), len(names)
    marks = [tokenizers.text.decode(label).strip() for label in labels]
    seen = np.array([int(mark) - 1 if mark in MARKS else 0 for mark in marks], dtype=np.int64)
    malformed = not set(marks) <= set(MARKS)
    if not seen.any():
        return no_figure(names), malformed
    points[seen == 0] = points[seen != 0].mean(axis=0)
    missing = max(0, k - len(points))
    xy = np.concatenate([points, np.tile(points.mean(axis=0), (missing, 1))])[:k]
    visibility = np.pad(seen, (0, missing))[:k]
    return Keypoints(xy[None], visibility[None], names), malformed or len(points) != k


def no_figure(names: tuple[str, ...]) -> Keypoints:
    """The figures of an answer that has none."""
    return Keypoints(np.zeros((0, len(names), 2)), np.zeros((0, len(names)), dtype=np.int64), names)


def _items(
    tokenizers: TokenizerSet, ids: Sequence[int], group: int
) -> tuple[npt.NDArray[np.float64], list[list[int]]]:
    """(n, group) thousandths x y x y ... and the ids of each one's label.

    A place is any id above the lowest of the locations, which is the last bin: that one is read as label.
    """
    vocabulary = tokenizers.vocabulary
    lowest, highest = vocabulary.location.start, vocabulary.location.stop
    found: list[list[int]] = []
    labels: list[list[int]] = []
    at = 0
    while at < len(ids):
        place = [int(i) for i in ids[at : at + group]]
        if len(place) < group or min(place) <= lowest:
            raise Unreadable(f"{place} are not {group} locations")
        at += group
        end = at
        while end < len(ids) and vocabulary.eos_id < ids[end] <= lowest:
            end += 1
        found.append([highest - i for i in place])
        labels.append([int(i) for i in ids[at:end]])
        at = end
    values = np.array(found, dtype=np.float64).reshape(-1, 2)[:, ::-1]
    return values.reshape(-1, group), labels
