"""The trivial predictors: the best answer that needs no look at the input.

A constant (the commonest answer, the mean box, the mean depth map ...) is fitted on training rows.
Where several constants suggest themselves, the one with the best headline metric on those rows is taken.
Coordinates and maps are constant relative to the frame of the image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from unified.evaluation.cases import Case, frame_of
from unified.specs.example import Example
from unified.values.types import (
    Boxes,
    Depth,
    GroundedText,
    Image,
    Keypoints,
    Label,
    Mask,
    Normals,
    Number,
    Points,
    Segmentation,
    Size,
    Text,
    Texts,
    Value,
)

Score = Callable[[Sequence[Value], Sequence[Case]], float]
"""Goodness of predictions, the larger the better."""
GRID = 128
"""Side of mean maps where the images of a set differ in size."""
TRIED = 8
"""Constants that are tried, of each sort."""
JUDGED = 150
"""Training rows on which they are compared."""


@dataclass(frozen=True)
class Baseline:
    """A trivial predictor. `name` says what it answers, in a few words."""

    name: str
    predict: Callable[[Example], Value]


def fit_baseline(modality: str, cases: Sequence[Case], goodness: Score) -> Baseline:
    """The best trivial predictor of answers of kind `modality`, chosen on training cases."""
    if not cases:
        raise ValueError("a baseline needs training rows")
    candidates = _candidates(modality, cases)
    if len(candidates) == 1:
        return candidates[0]
    judged = cases[:: -(-len(cases) // JUDGED)]
    if cases[0].own is not None:  # options pooled over the rows ask for all of them
        judged = cases
    return max(candidates, key=lambda b: goodness([b.predict(c.example) for c in judged], judged))


def copy_input(cases: Sequence[Case]) -> Baseline | None:
    """The predictor that answers an image task with its own input image; None where sizes differ."""
    if all(c.example.images and isinstance(c.target, Image) for c in cases):
        same = all(c.example.images[0].size == c.target.size for c in cases)  # type: ignore[union-attr]
        return Baseline("the input image", lambda example: example.images[0]) if same else None
    return None


def _candidates(modality: str, cases: Sequence[Case]) -> list[Baseline]:
    if modality in ("text", "label"):
        if all(c.example.options for c in cases):
            return _options(modality, cases)
        return [_constant(f'"{s}"', _word(modality, s)) for s in _common_strings(cases)]
    targets = [c.target for c in cases]
    if modality == "number":
        return _numbers(targets)
    frames = [frame_of(c.example) for c in cases]
    make: dict[str, Callable[[list[Value], list[Size]], list[Baseline]]] = {
        "boxes": _boxes,
        "points": _points,
        "keypoints": _keypoints,
        "grounded_text": _grounded,
        "mask": _masks,
        "segmentation": _segmentations,
        "depth": _depths,
        "normals": _normals,
        "image": _images,
    }
    return make[modality](targets, frames)


def _constant(name: str, value: Value) -> Baseline:
    return Baseline(name, lambda example: value)


# ------------------------------------------------------------------------------------- text


def _word(modality: str, text: str) -> Value:
    return Label(text) if modality == "label" else Text(text)


def _first(target: Value) -> str:
    if isinstance(target, Texts):
        return target.items[0] if target.items else ""
    return target.name if isinstance(target, Label) else str(getattr(target, "text", ""))


def _all_strings(target: Value) -> tuple[str, ...]:
    return target.items if isinstance(target, Texts) else (_first(target),)


def _spread(items: Sequence[str]) -> list[str]:
    """At most TRIED items, evenly spaced."""
    return [items[i] for i in np.linspace(0, len(items) - 1, min(TRIED, len(items))).astype(int)]


def _common_strings(cases: Sequence[Case]) -> list[str]:
    """The commonest answers, and some others: of captions, hardly any occurs twice."""
    counts = Counter(s for c in cases for s in _all_strings(c.target))
    common = [s for s, n in counts.most_common(TRIED) if n > 1]
    return list(dict.fromkeys([*common, *_spread([_first(c.target) for c in cases])]))


def _options(modality: str, cases: Sequence[Case]) -> list[Baseline]:
    """Always the option of the same text, or of the same place."""
    texts = Counter(_first(c.target) for c in cases)
    answers = [s for s, _ in texts.most_common(TRIED)]

    def same_text(text: str) -> Baseline:
        def predict(example: Example) -> Value:
            options = example.options or ()
            return _word(modality, text if text in options else options[0])

        return Baseline(f'"{text}"', predict)

    def same_place(place: int) -> Baseline:
        def predict(example: Example) -> Value:
            options = example.options or ()
            return _word(modality, options[min(place, len(options) - 1)])

        return Baseline(f"option {place + 1}", predict)

    if len({c.example.options for c in cases}) == 1:
        return [same_text(a) for a in answers]
    places = max(len(c.example.options or ()) for c in cases)
    return [*map(same_place, range(min(places, TRIED))), *map(same_text, answers[:4])]


def _numbers(targets: list[Value]) -> list[Baseline]:
    values = np.array([t.value for t in targets if isinstance(t, Number)])
    centres = {"mean": float(values.mean()), "median": float(np.median(values))}
    return [_constant(f"the {name}, {value:.3g}", Number(value)) for name, value in centres.items()]


# ------------------------------------------------------------------------------------ places


def _relative(xy: npt.NDArray[np.float64], frame: Size) -> npt.NDArray[np.float64]:
    """(..., 2) or (..., 4) pixels as fractions of the frame."""
    return xy / np.resize(np.array(frame, np.float64), xy.shape[-1])


def _absolute(fractions: npt.NDArray[np.float64], example: Example) -> npt.NDArray[np.float64]:
    return fractions * np.resize(np.array(frame_of(example), np.float64), fractions.shape[-1])


def _rank_means(rows: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """(n, k) mean of the first, second ... rows, for the usual number of rows."""
    n = max(1, round(float(np.mean([len(r) for r in rows]))))
    ranked = [[r[i] for r in rows if len(r) > i] for i in range(n)]
    return np.array([np.mean(r, axis=0) for r in ranked if r])


def _boxes(targets: list[Value], frames: list[Size]) -> list[Baseline]:
    pairs = list(zip(targets, frames, strict=True))
    boxes = [(t, _relative(t.xyxy, f)) for t, f in pairs if isinstance(t, Boxes)]
    labels = Counter(label for t, _ in boxes for label in t.labels or ())

    def fixed(name: str, fractions: npt.NDArray[np.float64], names: tuple[str, ...] | None) -> Baseline:
        return Baseline(name, lambda example: Boxes(_absolute(fractions, example), names))

    if not labels:
        ranked = _rank_means([b for _, b in boxes])
        name = "the mean box" if len(ranked) == 1 else f"{len(ranked)} mean boxes"
        return [fixed(name, ranked, None), fixed("the whole image", np.array([[0.0, 0.0, 1.0, 1.0]]), None)]
    mean = {
        label: np.mean(
            [b for t, bs in boxes for b, n in zip(bs, t.labels or (), strict=True) if n == label], 0
        )
        for label in labels
    }
    out = []
    for n in dict.fromkeys((1, 2, 4, 8, len(labels))):
        common = [label for label, _ in labels.most_common(min(n, len(labels)))]
        name = f"mean box of the {len(common)} commonest labels"
        out.append(fixed(name, np.array([mean[label] for label in common]), tuple(common)))
    return out


def _points(targets: list[Value], frames: list[Size]) -> list[Baseline]:
    rows = [_relative(t.xy, f) for t, f in zip(targets, frames, strict=True) if isinstance(t, Points)]
    ranked = _rank_means(rows)
    return [Baseline("the mean point", lambda example: Points(_absolute(ranked, example)))]


def _keypoints(targets: list[Value], frames: list[Size]) -> list[Baseline]:
    figures = [
        (t, _relative(t.xy, f)) for t, f in zip(targets, frames, strict=True) if isinstance(t, Keypoints)
    ]
    names = figures[0][0].names
    known = np.concatenate([t.visibility > 0 for t, _ in figures])[..., None]
    xy = np.where(known, np.concatenate([xy for _, xy in figures]), 0.0)
    mean = xy.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    seen = np.full((1, len(names)), 2)
    return [
        Baseline("the mean figure", lambda example: Keypoints(_absolute(mean[None], example), seen, names))
    ]


def _grounded(targets: list[Value], frames: list[Size]) -> list[Baseline]:
    rows = [(t, f) for t, f in zip(targets, frames, strict=True) if isinstance(t, GroundedText)]

    def fixed(value: GroundedText, frame: Size) -> Baseline:
        fractions = _relative(value.boxes.xyxy, frame)

        def predict(example: Example) -> Value:
            return replace(value, boxes=replace(value.boxes, xyxy=_absolute(fractions, example)))

        return Baseline(f'"{value.text}" with its boxes', predict)

    return [fixed(*rows[i]) for i in np.linspace(0, len(rows) - 1, min(TRIED, len(rows))).astype(int)]


# -------------------------------------------------------------------------------------- maps


def _shape(arrays: Sequence[npt.NDArray]) -> tuple[int, int]:
    shapes = {(a.shape[0], a.shape[1]) for a in arrays}
    return shapes.pop() if len(shapes) == 1 else (GRID, GRID)


def _nearest(array: npt.NDArray, shape: tuple[int, int]) -> npt.NDArray:
    """(h, w, ...) as (height, width, ...) by the nearest pixel."""
    rows, columns = (
        ((np.arange(n) + 0.5) * s / n).astype(int) for n, s in zip(shape, array.shape, strict=False)
    )
    return array[rows][:, columns]


def _stack(arrays: Sequence[npt.NDArray]) -> npt.NDArray:
    shape = _shape(arrays)
    return np.stack([_nearest(a, shape) for a in arrays])


def _fixed_map(name: str, array: npt.NDArray, make: Callable[[npt.NDArray], Value]) -> Baseline:
    def predict(example: Example) -> Value:
        size = frame_of(example)
        return make(_nearest(array, (size.height, size.width)))

    return Baseline(name, predict)


def _masks(targets: list[Value], frames: list[Size]) -> list[Baseline]:
    share = _stack([t.array for t in targets if isinstance(t, Mask)]).mean(axis=0)
    out = [_fixed_map("the whole image", np.ones_like(share, bool), Mask)]
    for level in (0.5, 0.3, 0.2, 0.1):
        if (share >= level).any():
            out.append(_fixed_map(f"pixels that {level:.0%} of masks hold", share >= level, Mask))
    return out


def _segmentations(targets: list[Value], frames: list[Size]) -> list[Baseline]:
    rows = [t for t in targets if isinstance(t, Segmentation)]
    names = rows[0].names
    stack = _stack([t.classes for t in rows])
    counts = np.stack([(stack == i).sum(axis=0) for i in range(len(names) + 1)])

    def make(array: npt.NDArray) -> Value:
        return Segmentation(array, names)

    common = int(counts.sum(axis=(1, 2)).argmax())
    what = names[common - 1] if common else "background"
    everywhere = np.full(stack.shape[1:], common)
    return [
        _fixed_map("the commonest class of each pixel", counts.argmax(axis=0), make),
        _fixed_map(f"{what} everywhere", everywhere, make),
    ]


def _masked_mean(values: npt.NDArray, known: npt.NDArray) -> npt.NDArray:
    """Mean over axis 0 where known; the overall mean where nothing ever is."""
    weight = known.reshape(*known.shape, *(1,) * (values.ndim - known.ndim)).astype(float)
    total, count = (np.where(weight > 0, values, 0.0)).sum(axis=0), weight.sum(axis=0)
    overall = total.sum(axis=(0, 1)) / max(float(count.sum()), 1.0)
    return np.where(count > 0, total / np.maximum(count, 1.0), overall)


def _depths(targets: list[Value], frames: list[Size]) -> list[Baseline]:
    rows = [t for t in targets if isinstance(t, Depth)]
    known = _stack([_known(t.metres > 0, t.valid) & np.isfinite(t.metres) for t in rows])
    mean = _masked_mean(_stack([t.metres for t in rows]), known)
    return [_fixed_map("the mean depth map", mean, Depth)]


def _normals(targets: list[Value], frames: list[Size]) -> list[Baseline]:
    rows = [t for t in targets if isinstance(t, Normals)]
    known = _stack([_known(np.linalg.norm(t.vectors, axis=-1) > 0, t.valid) for t in rows])
    mean = _masked_mean(_stack([t.vectors for t in rows]), known)
    overall = np.broadcast_to(mean.mean(axis=(0, 1)), mean.shape)
    named = {"the mean normal of each pixel": mean, "the mean normal": overall}
    return [_fixed_map(name, _unit(array), Normals) for name, array in named.items()]


def _known(has_value: npt.NDArray, valid: npt.NDArray[np.bool_] | None) -> npt.NDArray:
    return has_value if valid is None else has_value & valid


def _unit(vectors: npt.NDArray) -> npt.NDArray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.where(length > 1e-6, vectors / np.maximum(length, 1e-6), [0.0, 0.0, -1.0])


def _images(targets: list[Value], frames: list[Size]) -> list[Baseline]:
    mean = _stack([t.pixels for t in targets if isinstance(t, Image)]).mean(axis=0)
    return [_fixed_map("the mean image", np.rint(mean).astype(np.uint8), Image)]
