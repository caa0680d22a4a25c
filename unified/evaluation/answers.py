"""The rows of a split and what a model answers to them, a part at a time: the pictures of a whole benchmark
are more than a machine's memory holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from unified.evaluation.cases import Cases, read_in_parts
from unified.specs.example import Example
from unified.specs.load import LoadedTask
from unified.values.types import Image, Value

if TYPE_CHECKING:
    from unified.evaluation.predictor import Prediction, Predictor

PART = 1024
"""Examples whose pictures are held at once."""
KEPT = 4
"""Cases of each part that keep their pictures, to be shown."""


@dataclass
class Answered:
    """The rows of a split, a prediction for each of its examples, and the cases that still have their
    pictures; those of the others are blank, of the same size."""

    read: Cases = field(default_factory=Cases)
    predictions: list[Prediction] = field(default_factory=list)
    pictured: list[int] = field(default_factory=list)


def answer_split(
    predictor: Predictor, task: LoadedTask, split: str, *, limit: int | None, seed: int, unanswered: bool,
    scores: bool, on_progress: Callable[[int, int], None] | None = None,
) -> Answered:  # fmt: skip
    """Reads and answers the rows that `read_cases` would read. Where they are no more than PART, or the
    answer is an image (to which the input is compared), all keep their pictures. `on_progress` is told the
    examples done and those there are so far."""
    out, processor = Answered(), predictor.processor
    parts = read_in_parts(
        task, split, size=None if task.spec.modality == "image" else PART, limit=limit, seed=seed,
        image_size=processor.image_size, target_size=processor.target_size, unanswered=unanswered,
    )  # fmt: skip
    pending: Cases | None = None
    for part in parts:
        if pending is not None:
            _blank(out, pending)
        before, n = len(out.predictions), len(out.predictions) + len(part.examples)
        out.predictions += predictor.predict(
            task, part.examples, seed=seed + before, scores=scores,
            on_progress=(lambda done: on_progress(before + done, n)) if on_progress else None,  # noqa: B023
        )  # fmt: skip
        pending = part
    assert pending is not None  # at least one part is read, else reading raises
    if len(out.predictions) > len(pending.examples):
        _blank(out, pending)
    else:
        out.read, out.pictured = pending, list(range(len(pending.cases)))
    return out


def _blank(out: Answered, part: Cases) -> None:
    """Adds a part whose pictures are no longer needed, but for those of some cases."""
    kept = {part.places[i * len(part.cases) // KEPT] for i in range(KEPT)} if part.cases else set()
    out.pictured += [len(out.read.cases) + i for i, place in enumerate(part.places) if place in kept]
    examples = [e if i in kept else without_pictures(e) for i, e in enumerate(part.examples)]
    cases = [replace(c, example=examples[i]) for c, i in zip(part.cases, part.places, strict=True)]
    out.read.extend(Cases(cases, part.skipped, examples, part.places))


def without_pictures(example: Example) -> Example:
    """The example with blank images of the same sizes, which take no memory."""

    def blank(value: Value) -> Value:
        if not isinstance(value, Image):
            return value
        return Image(np.broadcast_to(np.zeros((1, 1, 3), np.uint8), value.pixels.shape))

    images = [blank(image) for image in example.images]
    return replace(
        example,
        images=tuple(image for image in images if isinstance(image, Image)),
        values={name: blank(value) for name, value in example.values.items()},
    )
