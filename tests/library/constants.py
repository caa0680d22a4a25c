"""The constant predictor: one answer for all examples, so plain that its scores can be worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from unified.evaluation.cases import Case, frame_of
from unified.specs.load import LoadedTask
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
    Text,
    Value,
)


def constant(task: LoadedTask, case: Case, answer: Any) -> Value:
    """What the constant predictor says. `answer` is what the expectations state; without it

    text and label: the first option, or "" where there are none; number: 0; boxes: the whole image
    (`answer`: a label or list of labels, each with the whole image); points: the centre of the image;
    keypoints: one figure, all its joints in the centre; grounded_text: `answer`, all of it with the whole
    image; mask: all of the image; segmentation: class 1 (`answer`: its number) everywhere; depth: 1 m
    (`answer`); normals: towards the camera; image: grey, 128.
    """
    example, kind = case.example, task.spec.modality
    if kind in ("text", "label", "number"):
        if kind == "number":
            return Number(float(answer or 0))
        said = answer if answer is not None else next(iter(example.options or ()), "")
        return Label(str(said)) if kind == "label" else Text(str(said))
    size = frame_of(example)
    field = task.spec.fields.get(task.spec.target.field or "")
    names = tuple(field.names or ()) if field is not None else ()
    names = names[1:] if names and names[0].lower() == "background" else names
    whole = np.array([[0.0, 0.0, size.width, size.height]])
    shape = (size.height, size.width)
    match kind:
        case "boxes":
            labels = [answer] if isinstance(answer, str) else answer
            return Boxes(np.repeat(whole, len(labels or [0]), 0), tuple(labels) if labels else None)
        case "points":
            return Points(whole[:, 2:] / 2)
        case "keypoints":
            middle = np.broadcast_to(whole[:, None, 2:] / 2, (1, len(names), 2))
            return Keypoints(middle, np.full((1, len(names)), 2), names)
        case "grounded_text":
            return GroundedText(str(answer), ((0, len(str(answer))),), Boxes(whole))
        case "mask":
            return Mask(np.ones(shape, bool))
        case "segmentation":
            return Segmentation(np.full(shape, int(answer or 1)), names)
        case "depth":
            return Depth(np.full(shape, float(answer or 1.0), np.float32))
        case "normals":
            return Normals(np.broadcast_to(np.array([0.0, 0.0, -1.0], np.float32), (*shape, 3)))
        case "image":
            return Image(np.full((*shape, 3), 128, np.uint8))
    raise AssertionError(kind)
