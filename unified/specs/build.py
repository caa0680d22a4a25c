"""From the typed values of a row to an example: preprocessing, frames, prompt and target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from unified.specs.example import BadRow, Example, Rendered
from unified.specs.preprocess import Sample, take
from unified.specs.prompts import TemplateError, render_value, template
from unified.specs.schema import TaskSpec
from unified.specs.task import LoadedTask
from unified.values.dense import to_image
from unified.values.geometry import Geometry
from unified.values.types import (
    DENSE_TYPES,
    TYPES,
    Boxes,
    DenseValue,
    Depth,
    Image,
    Keypoints,
    Normals,
    Number,
    Points,
    Text,
    Texts,
    Value,
)

DENSE = tuple(TYPES[name] for name in DENSE_TYPES)


def build_example(
    task: LoadedTask,
    values: Mapping[str, Value],
    *,
    key: str,
    rng: np.random.Generator,
    training: bool,
    image_size: int,
    target_size: int,
) -> Example:
    """What a task makes of the values of one row.

    `image_size` and `target_size` are the sides in pixels of the model's input frame and of the image
    tokenizer's. In training, the prompt, one of several answers, random orders and random steps are
    drawn from `rng` alone; otherwise `eval_prompt` (or the first prompt), the first answer and no
    random steps are taken. Raises BadRow for rows that no example can be made of.
    """
    spec = task.spec
    sample = Sample(dict(values), {}, rng, training)
    for name, value in sample.values.items():
        if spec.frame_of(name) == name and isinstance(value, DENSE):
            sample.geometry[name] = Geometry.identity(value.size)
    for op in task.ops:
        if training or not op.random:
            op.apply(sample)
    model = {
        name: geometry.then(Geometry.resize_pad(geometry.target, image_size))
        for name, geometry in sample.geometry.items()
    }
    moved = _Moved(spec, sample.values, model)
    if spec.target.field is not None:
        target, target_geometry = _field_target(spec, spec.target.field, sample, moved, target_size)
    else:
        target, target_geometry = _render(spec.target.template or "", moved, "target.template"), None
    if target == () and not _may_be_empty(spec, sample.values):
        raise BadRow("the target is empty")
    options = _options(spec, sample.values)
    if options is not None and spec.modality == "label" and target not in {(o,) for o in options}:
        raise BadRow(f"the answer {target!r} is not among the options")
    return Example(
        task=task.name,
        key=key,
        images=tuple(_input_image(sample.values, name) for name in spec.input.images),
        prompt=_prompt(spec, moved, rng if training else None),
        target=target,
        values=sample.values,
        options=options,
        geometries=tuple(model[name] for name in spec.input.images),
        target_geometry=target_geometry,
    )


class _Moved(Mapping[str, Value]):
    """The values in the square model frame, each moved when it is asked for."""

    def __init__(self, spec: TaskSpec, values: Mapping[str, Value], geometry: Mapping[str, Geometry]) -> None:
        self.spec, self.values_, self.geometry = spec, values, geometry

    def __getitem__(self, name: str) -> Value:
        frame = self.spec.frame_of(name)
        value = self.values_[name]
        return self.geometry[frame].apply(value) if frame in self.geometry else value

    def __iter__(self) -> Any:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)
