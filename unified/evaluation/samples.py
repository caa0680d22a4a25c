"""Pictures of a few examples: input, true answer, prediction."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from unified.evaluation.cases import Case
from unified.evaluation.plain import describe
from unified.evaluation.results import SAMPLES
from unified.specs.example import Example
from unified.specs.load import LoadedTask
from unified.values.draw import draw
from unified.values.types import (
    Boxes,
    GroundedText,
    Image,
    Keypoints,
    Label,
    Number,
    Points,
    Text,
    Value,
)


def save_samples(
    out: Path, task: LoadedTask, picked: Sequence[tuple[Case, Value, float]], prefix: str = ""
) -> list[dict[str, Any]]:
    """Writes the pictures of (case, prediction, score) under `out/samples/`, their names begin with `prefix`;
    returns what `TaskResult.samples` holds; a score of nan is none."""
    folder = Path(SAMPLES) / file_name(task.name)
    (out / folder).mkdir(parents=True, exist_ok=True)

    def save(name: str, image: Image) -> str:
        path = folder / f"{prefix}{name}.png"
        Pillow.fromarray(image.pixels).save(out / path)
        return str(path)

    samples = []
    for i, (case, prediction, score) in enumerate(picked):
        example, words = case.example, isinstance(prediction, Text | Label | Number)
        sample: dict[str, Any] = {
            "key": example.key,
            "prompt": words_of(example),
            "reference": _words(case.target),
            "prediction": _words(prediction),
            "score": score if np.isfinite(score) else None,
            "worded": words or isinstance(prediction, GroundedText),
            "inputs": [save(f"{i}_input_{k}", image) for k, image in enumerate(inputs_of(example))],
            "reference_image": None,
            "prediction_image": None,
        }
        if not words:
            metres = task.spec.target.value_range if task.spec.modality == "depth" else None
            on = example.images[0] if example.images else Image(np.full((64, 64, 3), 255, np.uint8))
            sample["reference_image"] = save(f"{i}_target", draw(case.target, on, value_range=metres))
            sample["prediction_image"] = save(f"{i}_prediction", draw(prediction, on, value_range=metres))
        samples.append(sample)
    return samples


def file_name(task: str) -> str:
    """A task's name as that of a file."""
    return re.sub(r"[^\w.-]+", "_", task)


def _words(value: Value) -> str:
    return value.text if isinstance(value, GroundedText) else describe(value)


def words_of(example: Example) -> str:
    """The prompt for people: places as pixels of the (first) source image."""
    words = [
        part if isinstance(part, str) else f"⟨{describe(_back(example, part))}⟩" for part in example.prompt
    ]
    return "".join(words)


def _back(example: Example, place: Value) -> Value:
    """A place of the prompt in the frame of the first source image."""
    return example.geometries[0].inverse().apply(place) if example.geometries else place


def inputs_of(example: Example) -> list[Image]:
    """The input images; the places that the prompt names are drawn on the first."""
    images = list(example.images)
    places = [p for p in example.prompt if isinstance(p, Boxes | Points | Keypoints)]
    if images:
        for place in places:
            images[0] = draw(_back(example, place), images[0])
    return images
