"""From the typed values of a row to an example: preprocessing, frames, prompt and target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeGuard

import numpy as np

from unified.specs.example import BadRow, Example, Rendered
from unified.specs.preprocess import Sample, take
from unified.specs.prompts import TemplateError, render_value, template
from unified.specs.schema import PromptSpec, TargetSpec, TaskSpec
from unified.specs.task import LoadedTask
from unified.values.dense import to_image
from unified.values.geometry import Geometry, Rect
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
    Size,
    Text,
    Texts,
    Value,
)

_DENSE = tuple(TYPES[name] for name in DENSE_TYPES)


def _is_dense(value: Value | None) -> TypeGuard[DenseValue]:
    return isinstance(value, _DENSE)


def build_example(
    task: LoadedTask,
    values: Mapping[str, Value],
    *,
    key: str,
    rng: np.random.Generator,
    training: bool,
    image_size: int,
    target_size: int,
    with_target: bool = True,
) -> Example:
    """What a task makes of the values of one row.

    `image_size` and `target_size` are the sides in pixels of the model's input frame and of the image
    tokenizer's. In training, the prompt, one of several answers, random orders and random steps are
    drawn from `rng` alone; otherwise `eval_prompt` (or the first prompt), the first answer, the given
    order and no random steps are taken. Without `with_target` the values of the target may be absent,
    `target` is () and the prediction is brought back to the first image. Raises BadRow for rows that
    no example can be made of; detection (boxes with labels) may have nothing to find, its target is
    then ().
    """
    spec = task.spec
    sample = Sample(dict(values), _frames(spec, values), rng, training)
    _preprocess(task, sample, with_target)
    move = partial(_move, spec, sample, image_size)
    target: Rendered | DenseValue = ()
    target_geometry = None
    if with_target:
        target = _target(spec, sample, move)
    if spec.modality in DENSE_TYPES:
        target_geometry = _target_geometry(spec, sample, target_size)
    inputs = spec.input.images
    return Example(
        task=task.name,
        key=key,
        images=tuple(_image(sample.values, name) for name in inputs),
        prompt=_render(_prompt(spec, rng if training else None), "prompt", sample, move),
        target=target,
        values=sample.values,
        options=_options(spec, sample.values, target if with_target else None),
        geometries=tuple(_into_square(sample.geometry[name], image_size) for name in inputs),
        hidden=tuple(_hidden(sample, name, move) for name in inputs) if sample.hidden else (),
        target_geometry=target_geometry,
    )


# ---------------------------------------------------------------------------------------- frames

Move = Callable[[str], Value]
"""A field's value in the square model frame."""


def _frames(spec: TaskSpec, values: Mapping[str, Value]) -> dict[str, Geometry]:
    return {n: Geometry.identity(v.size) for n, v in values.items() if _is_dense(v) and spec.frame_of(n) == n}


def _preprocess(task: LoadedTask, sample: Sample, with_target: bool) -> None:
    for op in task.ops:
        absent = [field for field in op.fields().values() if field not in sample.values]
        if absent and with_target:
            raise BadRow(f"'{absent[0]}' is missing")
        if not absent and (sample.training or not op.random):
            op.apply(sample)


def _into_square(geometry: Geometry, side: int) -> Geometry:
    return geometry.then(Geometry.resize_pad(geometry.target, side))


def _move(spec: TaskSpec, sample: Sample, side: int, name: str) -> Value:
    value, frame = sample.values[name], spec.frame_of(name)
    if _is_dense(value) or frame not in sample.geometry:
        return value
    return _into_square(sample.geometry[frame], side).apply(value)


def _image(values: Mapping[str, Value], name: str) -> Image:
    if name not in values:
        raise BadRow(f"the image '{name}' is missing")
    value = values[name]
    if not _is_dense(value):
        raise BadRow(f"'{name}' is no image")
    return to_image(value)


def _hidden(sample: Sample, image: str, move: Move) -> Boxes | None:
    value = move(sample.hidden[image]) if image in sample.hidden else None
    return value if isinstance(value, Boxes) else None


def _target_geometry(spec: TaskSpec, sample: Sample, side: int) -> Geometry:
    """Source frame of a dense target -> frame of the image tokenizer."""
    name = spec.target.field
    assert name is not None  # dense modalities have a field
    value, frame = sample.values.get(name), spec.frame_of(name)
    known = frame if frame in sample.geometry else next(iter(spec.input.images), None)
    if known is None:  # made from text alone
        own = value.size if _is_dense(value) else Size(side, side)
        return Geometry.resize_pad(own, side)
    geometry = sample.geometry[known]
    if _is_dense(value) and value.size != geometry.source:  # a map of its own resolution
        geometry = _scale(value.size, geometry.source).then(geometry)
    return _into_square(geometry, side)


def _scale(source: Size, target: Size) -> Geometry:
    x, y = target.width / source.width, target.height / source.height
    return Geometry(source, target, x, y, 0.0, 0.0, Rect(0.0, 0.0, float(target.width), float(target.height)))


# ---------------------------------------------------------------------------------------- prompt


def _prompt(spec: TaskSpec, rng: np.random.Generator | None) -> str:
    prompts = spec.input.prompt
    if rng is None:
        return spec.input.eval_prompt or prompts[0].text
    return _weighted(prompts, rng.random()).text


def _weighted(prompts: list[PromptSpec], uniform: float) -> PromptSpec:
    rest = uniform * sum(p.weight for p in prompts)
    for prompt in prompts:
        rest -= prompt.weight
        if rest < 0:
            return prompt
    return prompts[-1]


def _render(text: str, what: str, sample: Sample, move: Move) -> Rendered:
    compiled = template(text)
    try:
        return compiled.render({name: move(name) for name in compiled.fields if name in sample.values})
    except TemplateError as error:
        raise BadRow(f"{what}: {error}") from error


# ---------------------------------------------------------------------------------------- target


def _target(spec: TaskSpec, sample: Sample, move: Move) -> Rendered | DenseValue:
    name = spec.target.field
    if name is None:
        target: Rendered | DenseValue = _render(spec.target.template or "", "target", sample, move)
    elif name not in sample.values:
        raise BadRow(f"the target '{name}' is missing")
    elif _is_dense(value := sample.values[name]):
        return _checked(value, spec.target)
    else:
        target = _field_target(move(name), spec.target, sample)
    found_nothing = name is not None and getattr(sample.values[name], "labels", None) is not None
    if target == () and not found_nothing:
        raise BadRow("the target is empty")
    return target


def _field_target(value: Value, target: TargetSpec, sample: Sample) -> Rendered:
    match value:
        case Number(number):
            if not np.isfinite(number):
                raise BadRow(f"the target is {number}")
            return (f"{number:.{target.decimals}f}",)
        case Texts(items):
            value = Text(_one_of(items, target, sample))
        case Boxes() | Points() | Keypoints():
            there = _seen(value) if isinstance(value, Keypoints) else value
            value = take(there, _order(there, target, sample)[: target.max_items])
    return render_value(value)


def _seen(value: Keypoints) -> Keypoints:
    """The figures of which at least one joint is in the frame."""
    return take(value, np.flatnonzero(value.visibility.any(axis=1)).tolist())


def _one_of(items: tuple[str, ...], target: TargetSpec, sample: Sample) -> str:
    if not items:
        raise BadRow("the target is empty")
    if not sample.training or target.sample == "first":
        return items[0]
    if target.sample == "most_common":
        return Counter(items).most_common(1)[0][0]
    return items[int(sample.rng.integers(len(items)))]


def _order(value: Boxes | Points | Keypoints, target: TargetSpec, sample: Sample) -> list[int]:
    """Indices in the order in which the items are written."""
    if target.order == "given" or (target.order == "random" and not sample.training):
        return list(range(len(value)))
    if target.order == "random":
        return sample.rng.permutation(len(value)).tolist()
    x1, y1, x2, y2 = _extents(value)
    if target.order == "largest_first":
        return np.argsort(-(x2 - x1) * (y2 - y1), kind="stable").tolist()
    return np.lexsort((y1, x1)).tolist()


def _extents(value: Boxes | Points | Keypoints) -> np.ndarray:
    """(4, n): left, top, right and bottom of each item; of keypoints, of the joints that are there."""
    if isinstance(value, Boxes):
        return value.xyxy.T
    if isinstance(value, Points):
        return np.concatenate([value.xy, value.xy], axis=1).T
    there = (value.visibility > 0)[..., None]
    low = np.where(there, value.xy, np.inf).min(axis=1)
    high = np.where(there, value.xy, -np.inf).max(axis=1)
    return np.concatenate([low, high], axis=1).T


def _checked(value: DenseValue, target: TargetSpec) -> DenseValue:
    """The value, if there is anything to learn from it."""
    if isinstance(value, Depth | Normals) and value.valid is not None and not value.valid.any():
        raise BadRow("the target has no valid pixel")
    if isinstance(value, Depth):
        metres = value.metres if value.valid is None else value.metres[value.valid]
        least, most = float(metres.min()), float(metres.max())
        if not np.isfinite([least, most]).all():
            raise BadRow("the depth is not finite everywhere that it is valid")
        low, high = target.value_range or (-np.inf, np.inf)
        if least > high or most < low:
            raise BadRow(
                f"depth is {least:g}..{most:g} m, all outside value_range {low:g}..{high:g}; "
                "set the field's `unit_scale`"
            )
    return value


def _options(
    spec: TaskSpec, values: Mapping[str, Value], target: Rendered | DenseValue | None
) -> tuple[str, ...] | None:
    if spec.options is None:
        return None
    if spec.options.pool is not None:  # an evaluation knows those of the other rows
        pool = values.get(spec.options.pool)
        return pool.items if isinstance(pool, Texts) else None
    options = tuple(spec.options.choices or ())
    if spec.options.field is not None:
        value = values.get(spec.options.field)
        if value is None and target is None and spec.options.decode == "constrain":
            return None  # somebody asks and gives no options
        if not isinstance(value, Texts) or not value.items:
            raise BadRow(f"there are no options in '{spec.options.field}'")
        options = value.items
    if target is not None and spec.modality == "label" and target not in {(option,) for option in options}:
        raise BadRow(f"the answer {target[0]!r} is not among the options")  # type: ignore[index]
    return options
