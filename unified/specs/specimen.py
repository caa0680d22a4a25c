"""Values made without data: one of each kind for trying a task out, and those of a golden row.

A golden row (`checks`) states values by field in plain YAML; locations are written back as
`<box x1 y1 x2 y2>`, `<point x y>` and `<keypoints n>` in pixels of its image.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unified.specs.example import Example, Rendered
from unified.specs.schema import TaskSpec
from unified.values.geometry import Geometry
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

SIZE = Size(64, 48)


def specimen(spec: TaskSpec, rng: np.random.Generator, size: Size = SIZE) -> dict[str, Value]:
    """A random value of the right type for every field of a task, all of one frame."""
    return {name: _specimen(spec, name, rng, size) for name in spec.fields}


def _specimen(spec: TaskSpec, name: str, rng: np.random.Generator, size: Size) -> Value:
    field, (w, h) = spec.fields[name], size
    names = tuple(field.names) if isinstance(field.names, list) else ("one", "two", "three")
    choices = spec.options.choices if spec.options and spec.options.choices else None
    low, high = spec.target.value_range or (0.0, 5.0)
    word = str(rng.choice(choices)) if choices and name == spec.target.field else f"some {name}"
    corners = np.sort(rng.uniform(0, 1, (2, 2, 2)), axis=1) * (w, h)
    xyxy = np.round(corners.reshape(2, 4), 1)
    xyxy[:, 2:] = np.maximum(xyxy[:, 2:], xyxy[:, :2] + 1)
    labels = names[:2] if field.labels else None
    match spec.field_type(name):
        case "text":
            return Text(word)
        case "texts":
            if spec.options is not None and name == spec.options.field and spec.modality == "label":
                word = names[0]  # an answer is among its options
            return Texts((word, f"other {name}"))
        case "label":
            return Label(word if choices else names[0])
        case "number":
            return Number(float(np.round(rng.uniform(low, high), 2)))
        case "boxes":
            return Boxes(xyxy[: len(labels)] if labels else xyxy[:1], labels)
        case "points":
            return Points(xyxy[: len(labels), :2] if labels else xyxy[:1, :2], labels)
        case "keypoints":
            xy = rng.uniform(0, 1, (1, len(names), 2)) * (w, h)
            return Keypoints(np.round(xy, 1), np.full((1, len(names)), 2), names)
        case "grounded_text":
            return GroundedText("a thing beside another", ((0, 7),), Boxes(xyxy[:1]))
        case "image":
            return Image(rng.integers(0, 256, (h, w, 3), dtype=np.uint8))
        case "mask":
            return Mask(rng.random((h, w)) < 0.5)
        case "segmentation":
            return Segmentation(rng.integers(0, len(names) + 1, (h, w)), names)
        case "depth":
            return Depth(rng.uniform(low, high, (h, w)))
        case "normals":
            vectors = rng.normal(size=(h, w, 3))
            return Normals(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))
    raise AssertionError(name)


# ----------------------------------------------------------------------------------- golden rows


class GoldenError(ValueError):
    """A golden row that does not state its values properly; the message says which and why."""


def golden_values(spec: TaskSpec, row: dict[str, Any]) -> dict[str, Value]:
    """The values of a golden row; images that it leaves out are 100 x 100."""
    values: dict[str, Value] = {}
    for name in spec.fields:
        kind = spec.field_type(name)
        if name not in row and kind != "image":
            continue
        try:
            values[name] = _golden(spec, name, kind, row.get(name, [100, 100]))
        except (TypeError, ValueError, KeyError, IndexError):
            raise GoldenError(f"'{row[name]}' cannot be read as {kind} of field '{name}'") from None
    return values


def _golden(spec: TaskSpec, name: str, kind: str, raw: Any) -> Value:
    match kind:
        case "text" | "label":
            if not isinstance(raw, str):
                raise TypeError(raw)
            return Text(raw) if kind == "text" else Label(raw)
        case "texts":
            return Texts(tuple(str(item) for item in raw))
        case "number":
            return Number(float(raw))
        case "boxes" | "points":
            numbers, labels = _located(raw, 4 if kind == "boxes" else 2)
            return Boxes(numbers, labels) if kind == "boxes" else Points(numbers, labels)
        case "keypoints":
            joints = np.asarray(raw, dtype=np.float64)
            joints = joints.reshape(-1, joints.shape[-2], 3)
            names = tuple(spec.fields[name].names or ())
            return Keypoints(joints[..., :2], joints[..., 2].astype(np.int64), names)
        case "image":
            width, height = map(int, raw)
            return Image(np.zeros((height, width, 3), np.uint8))
    raise GoldenError(f"a value of type {kind} cannot stand in a golden row; leave '{name}' out")


def _located(raw: Any, numbers: int) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Coordinates (n, numbers) and labels of `[..]`, `{box: [..], label: ..}`, or a list of either."""
    items = [raw] if isinstance(raw, dict) or (raw and not isinstance(raw[0], list | dict)) else raw
    labels = [item["label"] for item in items if isinstance(item, dict)]
    rows = [next(v for k, v in i.items() if k != "label") if isinstance(i, dict) else i for i in items]
    array = np.asarray(rows, dtype=np.float64).reshape(len(items), numbers)
    return array, tuple(map(str, labels)) if labels else None


def golden_text(rendered: Rendered, example: Example) -> str:
    """A rendered prompt or target as text, with locations in pixels of the example's first image."""
    back = example.geometries[0].inverse() if example.geometries else None
    return "".join(part if isinstance(part, str) else _written(part, back) for part in rendered)


def _written(value: Value, back: Geometry | None) -> str:
    value = back.apply(value) if back else value
    if isinstance(value, Keypoints):
        return f"<keypoints {len(value)}>"
    assert isinstance(value, Boxes | Points)
    name, rows = ("box", value.xyxy) if isinstance(value, Boxes) else ("point", value.xy)
    return " ".join(f"<{name} {' '.join(f'{round(float(v), 1):g}' for v in row)}>" for row in rows)
