"""Typed values as plain data, for JSON, and as words, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from unified.values.types import (
    TYPES,
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
    Text,
    Texts,
    Value,
)


def type_name(value: Value) -> str:
    """The name of a value's type in task specs."""
    return next(name for name, kind in TYPES.items() if isinstance(value, kind))


def plain(value: Value) -> dict[str, Any]:
    """JSON data with the value's `type`; coordinates in pixels, rounded to a hundredth. Of images, masks
    and maps only the size and a summary: their pixels belong in image files."""
    out: dict[str, Any] = {"type": type_name(value)}
    match value:
        case Text():
            return out | {"text": value.text}
        case Texts():
            return out | {"texts": list(value.items)}
        case Label():
            return out | {"label": value.name}
        case Number():
            return out | {"number": value.value if np.isfinite(value.value) else None}
        case Boxes():
            return out | _boxes(value)
        case Points():
            return out | {"xy": _rounded(value.xy)} | _labels(value.labels)
        case Keypoints():
            joints = {"names": list(value.names), "xy": _rounded(value.xy)}
            area = {} if value.area is None else {"area": _rounded(value.area)}
            return out | joints | {"visibility": value.visibility.tolist()} | area
        case GroundedText():
            spans = [list(span) for span in value.spans]
            return out | {"text": value.text, "spans": spans} | _boxes(value.boxes)
    width, height = value.size
    out |= {"width": width, "height": height}
    match value:
        case Mask():
            return out | {"share": round(float(value.array.mean()), 4)}
        case Segmentation():
            counts = np.bincount(value.classes.ravel(), minlength=len(value.names) + 1) / value.classes.size
            named = zip(("background", *value.names), counts, strict=True)
            return out | {"shares": {n: round(float(c), 4) for n, c in named if c > 0}}
        case Depth():
            known = value.metres if value.valid is None else value.metres[value.valid]
            if not known.size:
                return out
            return out | {
                "nearest_m": round(float(known.min()), 3),
                "farthest_m": round(float(known.max()), 3),
            }
    return out


def from_plain(data: Mapping[str, Any]) -> Value | None:
    """The value that `plain` was given, to a hundredth of a pixel; None for images, masks and maps."""
    match data["type"]:
        case "text":
            return Text(data["text"])
        case "texts":
            return Texts(tuple(data["texts"]))
        case "label":
            return Label(data["label"])
        case "number":
            return Number(np.nan if data["number"] is None else data["number"])
        case "boxes":
            return _boxes_of(data)
        case "points":
            return Points(np.array(data["xy"], float).reshape(-1, 2), _labels_of(data))
        case "keypoints":
            names, area = tuple(data["names"]), data.get("area")
            xy = np.array(data["xy"], float).reshape(-1, len(names), 2)
            visibility = np.array(data["visibility"], np.int64).reshape(-1, len(names))
            return Keypoints(xy, visibility, names, None if area is None else np.array(area, float))
        case "grounded_text":
            spans = tuple((start, end) for start, end in data["spans"])
            return GroundedText(data["text"], spans, _boxes_of(data))
    return None


def describe(value: Value) -> str:
    """The value in words, for a terminal: `red cube: 12.0 8.5 40.0 31.5`."""
    match value:
        case Text():
            return value.text
        case Texts():
            return " | ".join(value.items)
        case Label():
            return value.name
        case Number():
            return f"{value.value:g}"
        case Boxes():
            return _places(value.xyxy, value.labels, "no boxes")
        case Points():
            return _places(value.xy, value.labels, "no points")
        case Keypoints():
            figures = []
            for xy, seen in zip(value.xy, value.visibility, strict=True):
                joints = [(n, p) for n, p, v in zip(value.names, xy, seen, strict=True) if v]
                figures.append("\n".join(f"{n}: {_numbers(p)}" for n, p in joints) or "no joints")
            return "\n\n".join(figures) or "no figures"
        case GroundedText():
            phrases = [value.text[a:b] for a, b in value.spans]
            return "\n".join(
                [
                    value.text,
                    *(f"  {p}: {_numbers(b)}" for p, b in zip(phrases, value.boxes.xyxy, strict=True)),
                ]
            )
    data = plain(value)
    size = f"{data['width']} x {data['height']}"
    match value:
        case Mask():
            return f"mask, {size}, {100 * data['share']:.1f} % of the image"
        case Segmentation():
            shares = ", ".join(f"{n} {100 * s:.1f} %" for n, s in data["shares"].items())
            return f"segmentation, {size}: {shares}"
        case Depth() if "nearest_m" in data:
            return f"depth map, {size}, {data['nearest_m']:g} to {data['farthest_m']:g} m"
        case Image() | Depth() | Normals():
            return f"{'image' if isinstance(value, Image) else 'map'}, {size}"
    raise TypeError(f"{type(value).__name__} is not a value")


def _rounded(array: np.ndarray) -> list[Any]:
    return np.round(np.asarray(array, np.float64), 2).tolist()


def _labels(labels: tuple[str, ...] | None) -> dict[str, Any]:
    return {} if labels is None else {"labels": list(labels)}


def _boxes(boxes: Boxes) -> dict[str, Any]:
    scores = {} if boxes.scores is None else {"scores": _rounded(boxes.scores)}
    return {"xyxy": _rounded(boxes.xyxy)} | _labels(boxes.labels) | scores


def _labels_of(data: Mapping[str, Any]) -> tuple[str, ...] | None:
    return tuple(data["labels"]) if "labels" in data else None


def _boxes_of(data: Mapping[str, Any]) -> Boxes:
    scores = np.array(data["scores"], float) if "scores" in data else None
    return Boxes(np.array(data["xyxy"], float).reshape(-1, 4), _labels_of(data), scores)


def _numbers(row: np.ndarray) -> str:
    return " ".join(f"{v:.1f}" for v in row)


def _places(rows: np.ndarray, labels: tuple[str, ...] | None, none: str) -> str:
    if labels is None:
        return "\n".join(map(_numbers, rows)) or none
    return "\n".join(f"{name}: {_numbers(row)}" for name, row in zip(labels, rows, strict=True)) or none
