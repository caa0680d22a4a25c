"""Scenes of the built-in world that fill a form: examples, and fresh ones."""

from __future__ import annotations

import random

import numpy as np
import numpy.typing as npt

from unified.serving.app.forms import Filled, Form
from unified.serving.result import as_picture
from unified.sources.fields import read_fields
from unified.sources.open import open_source
from unified.specs.load import LoadedTask
from unified.specs.source_schema import ToyboxSource
from unified.values.types import Boxes, Label, Number, Points, Text, Texts, Value

SIDE = 256
"""Pixels of a scene. Answers of the toy model, which was trained on 64, are as good on all sizes."""

SHOWN = {
    "vqa_colour": 0, "refer": 4, "depth": 3, "keypoints": 1, "grounded_caption": 4, "refer_mask": 2,
    "segmentation_shape": 3, "normals": 4, "inpaint": 8, "vqa_count": 1,
}  # fmt: skip
"""The examples: kinds of rows, and which row of each."""


def draws_scenes(form: Form) -> bool:
    """Whether the task's rows come from the built-in world."""
    return isinstance(form.task.spec.source, ToyboxSource)


def scene(form: Form, index: int | None = None) -> Filled:
    """The form of a task of the built-in world, filled from its row `index`, by default any row that no
    model was trained on."""
    spec = form.task.spec
    assert isinstance(spec.source, ToyboxSource)
    large = spec.model_copy(update={"source": spec.source.model_copy(update={"image_size": SIDE})})
    task = LoadedTask.of(large, form.task.path)
    splits = list(spec.source.splits)
    source = open_source(task, "validation" if "validation" in splits else splits[-1])
    row = source[random.randrange(len(source)) if index is None else index]  # type: ignore[index,arg-type]
    values = read_fields(task, row, source)
    # Places stand on whole pixels of the trained size: a model has hardly seen the location ids between them.
    step = SIDE / spec.source.image_size
    pictures = {blank.name: as_picture(values[blank.name]) for blank in form.pictures}
    return Filled(
        {name: picture for name, picture in pictures.items() if picture is not None},
        {blank.name: typed(values[blank.name], step) for blank in (*form.texts, *form.lists)},
    )


def typed(value: Value, step: float = 1) -> str:
    """A value as somebody would type it into a form; places as multiples of `step` pixels."""
    match value:
        case Text(text):
            return text
        case Label(name):
            return name
        case Number(number):
            return f"{number:g}"
        case Texts(items):
            return " | ".join(items)
        case Boxes():
            return _places(value.xyxy, step)
        case Points():
            return _places(value.xy, step)
    raise TypeError(f"{type(value).__name__} cannot be typed")


def _places(rows: npt.NDArray[np.float64], step: float) -> str:
    return "  ".join(" ".join(f"{round(v / step) * step:.0f}" for v in row) for row in rows)


def examples(forms: dict[str, Form]) -> dict[str, Filled]:
    """Of each kind in SHOWN that the model knows: a task, with its form filled."""
    chosen: dict[str, Filled] = {}
    for kind, row in SHOWN.items():
        for name, form in forms.items():
            source = form.task.spec.source
            if isinstance(source, ToyboxSource) and source.kind == kind:
                chosen[name] = scene(form, row)
                break
    return chosen
