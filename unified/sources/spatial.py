"""Boxes, points, keypoints and grounded text from what a row holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from unified.specs.example import BadRow
from unified.values.types import Boxes, GroundedText, Keypoints, Points, Size

Floats: TypeAlias = npt.NDArray[np.float64]

_TO_XYXY: dict[str, Callable[[Floats], Floats] | None] = {
    "xyxy": None,
    "yxyx": lambda b: b[:, [1, 0, 3, 2]],
    "xywh": lambda b: np.concatenate([b[:, :2], b[:, :2] + b[:, 2:]], axis=1),
    "cxcywh": lambda b: np.concatenate([b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2], axis=1),
}
NORMALIZED = "normalized_"


def to_boxes(
    raw: Any,
    form: str = "xyxy",
    *,
    size: Size | None = None,
    scale: float | None = None,
    labels: tuple[str, ...] | None = None,
) -> Boxes:
    """(n, 4) numbers, or 4 for one box, or text that holds them. `form`: xyxy, xywh, cxcywh or yxyx.

    `size`: frame of coordinates in 0..1, None for pixels. `scale`: factor on the raw numbers.
    """
    xyxy = _numbers(raw, 4, scale)
    convert = _TO_XYXY[form]
    if convert is not None:
        xyxy = convert(xyxy)
    if size is not None:
        xyxy = xyxy * np.asarray([*size, *size], dtype=np.float64)
    if (xyxy[:, 2:] < xyxy[:, :2]).any():
        bad = xyxy[(xyxy[:, 2:] < xyxy[:, :2]).any(axis=1)][0].round(2).tolist()
        raise BadRow(f"a box ends before it begins: x1, y1, x2, y2 = {bad} (is its `format` right?)")
    _check_labels(labels, len(xyxy), "boxes")
    return Boxes(xyxy, labels)


def to_points(
    raw: Any,
    *,
    size: Size | None = None,
    scale: float | None = None,
    labels: tuple[str, ...] | None = None,
) -> Points:
    """(n, 2) numbers x, y, or 2 for one point; else as to_boxes."""
    xy = _numbers(raw, 2, scale)
    if size is not None:
        xy = xy * np.asarray(size, dtype=np.float64)
    _check_labels(labels, len(xy), "points")
    return Points(xy, labels)


def to_keypoints(
    raw: Any, names: Sequence[str], *, size: Size | None = None, scale: float | None = None
) -> Keypoints:
    """COCO's x, y, visibility triples of k = len(names) joints: one figure as 3k numbers or (k, 3),
    several as (n, 3k) or (n, k, 3)."""
    k = len(names)
    try:
        triples = np.asarray(raw, dtype=np.float64)
    except (TypeError, ValueError):
        raise BadRow(f"not keypoints: {_short(raw)}") from None
    if triples.size == 0:
        triples = triples.reshape(0, k, 3)
    if triples.shape[-1] == 3 * k and triples.ndim <= 2:
        triples = triples.reshape(-1, k, 3)
    elif triples.shape == (k, 3):
        triples = triples[None]
    if triples.shape[1:] != (k, 3):
        raise BadRow(f"keypoints of shape {triples.shape} do not fit {k} joint names (x, y, visibility each)")
    if not np.isfinite(triples).all():
        raise BadRow("keypoints hold NaN or infinity")
    xy = triples[..., :2] if scale is None else triples[..., :2] * scale
    if size is not None:
        xy = xy * np.asarray(size, dtype=np.float64)
    visibility = triples[..., 2].astype(np.int64)
    if ((visibility < 0) | (visibility > 2)).any():
        raise BadRow("keypoint visibility is 0, 1 or 2")
    return Keypoints(np.ascontiguousarray(xy), visibility, tuple(names))


def to_grounded_text(
    raw: Any, form: str = "xyxy", *, size: Size | None = None, scale: float | None = None
) -> GroundedText:
    """{text, boxes, spans} with [start, end) characters for each box, or {text, boxes, phrases} with
    each phrase found in the text after the one before."""
    if not isinstance(raw, Mapping) or "text" not in raw or "boxes" not in raw:
        raise BadRow("grounded text is {text, boxes, spans} or {text, boxes, phrases}")
    text = raw["text"]
    boxes = to_boxes(raw["boxes"], form, size=size, scale=scale)
    spans: list[tuple[int, int]]
    if raw.get("spans") is not None:
        spans = [(int(start), int(end)) for start, end in raw["spans"]]
    else:
        spans = _find_phrases(text, raw.get("phrases") or [])
    if len(spans) != len(boxes):
        raise BadRow(f"grounded text has {len(spans)} phrases but {len(boxes)} boxes")
    order = sorted(range(len(spans)), key=lambda i: spans[i])
    spans = [spans[i] for i in order]
    previous = (0, 0)
    for span in spans:
        if not 0 <= span[0] < span[1] <= len(text) or (span != previous and span[0] < previous[1]):
            raise BadRow(f"phrase span {span} is empty, outside the text, or overlaps another")
        previous = span
    return GroundedText(text, tuple(spans), Boxes(boxes.xyxy[order]))


def _find_phrases(text: str, phrases: Sequence[str]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    position = 0
    for i, phrase in enumerate(phrases):
        if i and phrase == phrases[i - 1]:
            following = text.find(phrase, position)
            spans.append(spans[-1] if following < 0 else (following, following + len(phrase)))
        else:
            start = text.find(phrase, position)
            if start < 0:
                raise BadRow(f"phrase '{phrase}' does not follow in the text")
            spans.append((start, start + len(phrase)))
        position = spans[-1][1]
    return spans


def _numbers(raw: Any, columns: int, scale: float | None) -> Floats:
    """(n, columns) finite float64."""
    if isinstance(raw, str):
        # One CSV cell, or a format path: "10 20 30 40", "[10, 20, 30, 40]".
        words = [word for word in re.split(r"[\s,;()\[\]]+", raw) if word]
        try:
            raw = [float(word) for word in words]
        except ValueError:
            raise BadRow(f"not numbers: {_short(raw)}") from None
        if len(raw) % columns:
            raise BadRow(f"{len(raw)} numbers cannot be groups of {columns}")
        raw = np.asarray(raw, dtype=np.float64).reshape(-1, columns)
    try:
        array = np.asarray(raw, dtype=np.float64)
    except (TypeError, ValueError):
        raise BadRow(f"not rows of {columns} numbers: {_short(raw)}") from None
    if array.size == 0:
        array = array.reshape(0, columns)
    elif array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.shape[1] != columns:
        raise BadRow(f"expected rows of {columns} numbers, found an array of shape {array.shape}")
    if not np.isfinite(array).all():
        raise BadRow("coordinates hold NaN or infinity")
    return array if scale is None else array * scale


def _check_labels(labels: tuple[str, ...] | None, count: int, what: str) -> None:
    if labels is not None and len(labels) != count:
        raise BadRow(f"{count} {what} but {len(labels)} labels")


def _short(raw: Any) -> str:
    text = repr(raw)
    return text if len(text) <= 60 else text[:57] + "..."
