"""Preprocess steps: what may stand under `preprocess`, one class a step, its fields the options.

A step changes values (lower case, a choice among boxes), or moves the frames: geometry never touches
pixels here, it is composed, and applied once to all that lies in a frame. Steps with `random = True`
run in training only, and draw from the example's own generator.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, TypeVar

import numpy as np
from pydantic import Field

from unified.specs.example import BadRow
from unified.specs.schema import FieldType, Strict, TaskSpec
from unified.values.geometry import Geometry
from unified.values.types import Boxes, Image, Label, Mask, Points, Text, Texts, Value


@dataclass
class Sample:
    """What steps work on: the values in their source frames, and for each field with a frame of its
    own (an image) the geometry from there to the frame that goes on."""

    values: dict[str, Value]
    geometry: dict[str, Geometry]
    rng: np.random.Generator
    training: bool
    hidden: dict[str, str] = field(default_factory=dict)
    """Image -> the boxes in which the model does not see it, by field."""


class OfType:
    """Marks an option that names a field, with the types that the field may have."""

    def __init__(self, *types: FieldType) -> None:
        self.types = types


class Op(Strict):
    """A preprocess step. Raises BadRow where a row does not allow it."""

    random: ClassVar[bool] = False

    def fields(self) -> dict[str, str]:
        """Option -> the field that it names."""
        return {
            option: getattr(self, option)
            for option, info in type(self).model_fields.items()
            if any(isinstance(mark, OfType) for mark in info.metadata)
        }

    @abstractmethod
    def apply(self, sample: Sample) -> None:
        """Changes `sample` in place."""


OPS: dict[str, type[Op]] = {}
O = TypeVar("O", bound=type[Op])  # noqa: E741


def op(name: str) -> Callable[[O], O]:
    """Registers a step under the name that stands in the YAML."""

    def register(cls: O) -> O:
        OPS[name] = cls
        return cls

    return register


def build_ops(spec: TaskSpec) -> tuple[Op, ...]:
    """The steps of a spec, in order."""
    steps = (step for entry in spec.preprocess for step in entry.items())
    return tuple(OPS[name].model_validate(options) for name, options in steps)


# --------------------------------------------------------------------------------------- frames


@op("random_flip")
class RandomFlip(Op):
    """Mirrors all frames left to right. Words such as "left" in texts are not changed."""

    random: ClassVar[bool] = True
    probability: float = Field(0.5, gt=0, le=1)

    def apply(self, sample: Sample) -> None:
        if sample.rng.random() < self.probability:
            for name, geometry in sample.geometry.items():
                sample.geometry[name] = geometry.then(Geometry.flip(geometry.target))


@op("random_crop")
class RandomCrop(Op):
    """Cuts the same random part, `min_scale`..1 of each side, out of all frames."""

    random: ClassVar[bool] = True
    min_scale: float = Field(0.5, gt=0, lt=1)

    def apply(self, sample: Sample) -> None:
        width, height = sample.rng.uniform(self.min_scale, 1.0, size=2)
        left, top = sample.rng.random(2) * (1.0 - width, 1.0 - height)
        _crop(sample, left, top, width, height)


@op("center_crop")
class CenterCrop(Op):
    """Cuts the middle part, `scale` of each side, out of all frames."""

    scale: float = Field(gt=0, lt=1)

    def apply(self, sample: Sample) -> None:
        margin = (1.0 - self.scale) / 2
        _crop(sample, margin, margin, self.scale, self.scale)


def _crop(sample: Sample, left: float, top: float, width: float, height: float) -> None:
    """The part is given in shares of the frame's sides; at least one pixel stays."""
    for name, geometry in sample.geometry.items():
        w, h = geometry.target
        x1, y1 = min(round(left * w), w - 1), min(round(top * h), h - 1)
        x2, y2 = max(round((left + width) * w), x1 + 1), max(round((top + height) * h), y1 + 1)
        sample.geometry[name] = geometry.then(Geometry.crop(geometry.target, (x1, y1, x2, y2)))


# --------------------------------------------------------------------------------------- values


@op("lowercase")
class Lowercase(Op):
    """Changes a text, texts or a label to lower case."""

    field: Annotated[str, OfType("text", "texts", "label")]

    def apply(self, sample: Sample) -> None:
        match sample.values[self.field]:
            case Text(text):
                sample.values[self.field] = Text(text.lower())
            case Texts(items):
                sample.values[self.field] = Texts(tuple(item.lower() for item in items))
            case Label(name):
                sample.values[self.field] = Label(name.lower())


@op("choose")
class Choose(Op):
    """Keeps `n` of several texts, boxes or points: random ones in training, else the first."""

    field: Annotated[str, OfType("texts", "boxes", "points")]
    n: int = Field(1, ge=1)

    def apply(self, sample: Sample) -> None:
        value = sample.values[self.field]
        count = len(value.items) if isinstance(value, Texts) else len(value)  # type: ignore[arg-type]
        if count > self.n:
            drawn = sample.rng.permutation(count)[: self.n] if sample.training else range(self.n)
            sample.values[self.field] = take(value, sorted(int(i) for i in drawn))


@op("min_area")
class MinArea(Op):
    """Drops boxes of less than `pixels` square pixels of the source."""

    field: Annotated[str, OfType("boxes")]
    pixels: float = Field(gt=0)

    def apply(self, sample: Sample) -> None:
        value = sample.values[self.field]
        if isinstance(value, Boxes):
            areas = (value.xyxy[:, 2] - value.xyxy[:, 0]) * (value.xyxy[:, 3] - value.xyxy[:, 1])
            sample.values[self.field] = take(value, np.flatnonzero(areas >= self.pixels).tolist())


@op("enclose")
class Enclose(Op):
    """Makes one box of several, the smallest around them all, without labels."""

    field: Annotated[str, OfType("boxes")]

    def apply(self, sample: Sample) -> None:
        value = sample.values[self.field]
        if isinstance(value, Boxes) and len(value):
            low, high = value.xyxy[:, :2].min(axis=0), value.xyxy[:, 2:].max(axis=0)
            sample.values[self.field] = Boxes(np.concatenate([low, high])[None])


@op("erase_region")
class EraseRegion(Op):
    """Paints the pixels of `image` grey in the boxes or the mask `region`. For inpainting: read the
    same picture into two image fields, erase one, and make the other the target."""

    image: Annotated[str, OfType("image")]
    region: Annotated[str, OfType("boxes", "mask")]
    grey: int = Field(127, ge=0, le=255)

    def apply(self, sample: Sample) -> None:
        image, region = sample.values[self.image], sample.values[self.region]
        assert isinstance(image, Image)  # lint has checked the type
        pixels = image.pixels.copy()
        if isinstance(region, Mask):
            if region.size != image.size:
                raise BadRow(f"{self.region}: the mask has not the size of {self.image}")
            pixels[region.array] = self.grey
        elif isinstance(region, Boxes):
            for x1, y1, x2, y2 in region.xyxy.clip(0).round().astype(int):
                pixels[y1:y2, x1:x2] = self.grey
        sample.values[self.image] = Image(pixels)


@op("hide_region")
class HideRegion(Op):
    """Hides the patches of `image` in the boxes `region` from the model; its pixels stay as they are. This
    is how the official models are shown what to fill in."""

    image: Annotated[str, OfType("image")]
    region: Annotated[str, OfType("boxes")]

    def apply(self, sample: Sample) -> None:
        sample.hidden[self.image] = self.region


def take(value: Any, indices: list[int]) -> Any:
    """Some items of texts, boxes, points or keypoints, in the given order."""
    if isinstance(value, Texts):
        return Texts(tuple(value.items[i] for i in indices))
    rows = np.asarray(indices, dtype=np.int64)
    if isinstance(value, Boxes | Points):
        labels = None if value.labels is None else tuple(value.labels[i] for i in indices)
        if isinstance(value, Points):
            return Points(value.xy[rows], labels)
        return Boxes(value.xyxy[rows], labels, None if value.scores is None else value.scores[rows])
    area = None if value.area is None else value.area[rows]
    return replace(value, xy=value.xy[rows], visibility=value.visibility[rows], area=area)
