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
from unified.specs.example import Example, Rendered
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
    out: Path, task: LoadedTask, picked: Sequence[tuple[Case, Value, float | None]]
) -> list[dict[str, Any]]:
    """Writes the pictures of (case, prediction, score of the headline metric) under `out/samples/`; returns
    what `TaskResult.samples` holds."""
    folder = Path(SAMPLES) / re.sub(r"[^\w.-]+", "_", task.name)
    (out / folder).mkdir(parents=True, exist_ok=True)

    def save(name: str, image: Image) -> str:
        path = folder / f"{name}.png"
        Pillow.fromarray(image.pixels).save(out / path)
        return str(path)

    samples = []
    for i, (case, prediction, score) in enumerate(picked):
        example, words = case.example, isinstance(prediction, Text | Label | Number)
        sample: dict[str, Any] = {
            "key": example.key,
            "prompt": words_of(example.prompt),
            "reference": describe(case.target),
            "prediction": describe(prediction),
            "score": score if score is not None and np.isfinite(score) else None,
            "worded": words or isinstance(prediction, GroundedText),
            "inputs": [save(f"{i}_input_{k}", image) for k, image in enumerate(_inputs(example))],
            "reference_image": None,
            "prediction_image": None,
        }
        if not words:
            ranges = {"value_range": task.spec.target.value_range}
            on = example.images[0] if example.images else Image(np.full((64, 64, 3), 255, np.uint8))
            sample["reference_image"] = save(f"{i}_target", draw(case.target, on, **ranges))
            sample["prediction_image"] = save(f"{i}_prediction", draw(prediction, on, **ranges))
        samples.append(sample)
    return samples


def words_of(parts: Rendered) -> str:
    """A rendered prompt for people: places as their numbers."""
    return "".join(part if isinstance(part, str) else f"⟨{describe(part)}⟩" for part in parts)


def _inputs(example: Example) -> list[Image]:
    """The input images; the places that the prompt names are drawn on the first."""
    images = list(example.images)
    places = [p for p in example.prompt if isinstance(p, Boxes | Points | Keypoints)]
    if images and places and example.geometries:
        back = example.geometries[0].inverse()
        for place in places:
            images[0] = draw(back.apply(place), images[0])
    return images
