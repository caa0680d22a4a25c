"""Scenes of the built-in world that fill a form: examples, and fresh ones."""

from __future__ import annotations

import random

from unified.serving.app.forms import Filled, Form
from unified.serving.result import as_picture
from unified.sources.fields import read_fields
from unified.sources.open import open_source
from unified.specs.load import LoadedTask
from unified.specs.source_schema import ToyboxSource
from unified.values.types import Boxes, Label, Number, Points, Text, Texts, Value

SIDE = 256
"""Pixels of a scene: answers are as good as at the 64 that the toy model was trained on."""

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
    pictures = {blank.name: as_picture(values[blank.name]) for blank in form.pictures}
    return Filled(
        {name: picture for name, picture in pictures.items() if picture is not None},
        {blank.name: typed(values[blank.name]) for blank in (*form.texts, *form.lists)},
    )


def typed(value: Value) -> str:
    """A value as somebody would type it into a form."""
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
            return "  ".join(" ".join(f"{v:.0f}" for v in row) for row in value.xyxy)
        case Points():
            return "  ".join(" ".join(f"{v:.0f}" for v in row) for row in value.xy)
    raise TypeError(f"{type(value).__name__} cannot be typed")


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
