"""What requests and answers look like; the OpenAPI document is made of these."""

from __future__ import annotations

import base64
import io
from typing import Annotated, Any, Literal

import numpy as np
from PIL import Image as Pillow
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from unified.evaluation.plain import plain
from unified.serving.asking import asked_prompt, needed_fields
from unified.serving.result import Result
from unified.specs.load import LoadedTask
from unified.specs.schema import FieldType
from unified.values.types import DENSE_TYPES, TYPES

Base64 = Annotated[str, Field(description="A picture file in base64, or a data: URI.")]
Png = Annotated[str, Field(description="A PNG file in base64.")]
Pair = Annotated[list[float], Field(min_length=2, max_length=2)]
Box = Annotated[list[float], Field(min_length=4, max_length=4, description="x1 y1 x2 y2 in pixels")]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class PromptBody(Body):
    prompt: str = Field(max_length=20_000)
    images: list[Base64] = []
    target: FieldType | None = Field(None, description="Kind of answer to words that no task asks in.")
    draw: bool = Field(False, description="Also send a picture of the answer.")


class TaskBody(Body):
    fields: dict[str, JsonValue] = Field({}, description="By name; pictures in base64, places in pixels.")
    images: list[Base64] = Field([], description="Of the task's image fields, in their order.")
    draw: bool = Field(False, description="Also send a picture of the answer.")


class Answered(BaseModel):
    """Values in pixels of the first image."""


class TextValue(Answered):
    type: Literal["text"]
    text: str


class TextsValue(Answered):
    type: Literal["texts"]
    texts: list[str]


class LabelValue(Answered):
    type: Literal["label"]
    label: str


class NumberValue(Answered):
    type: Literal["number"]
    number: float | None = Field(None, description="Left out where the output was no number.")


class BoxesValue(Answered):
    type: Literal["boxes"]
    xyxy: list[Box]
    labels: list[str] | None = None
    scores: list[float] | None = None


class PointsValue(Answered):
    type: Literal["points"]
    xy: list[Pair]
    labels: list[str] | None = None


class KeypointsValue(Answered):
    type: Literal["keypoints"]
    names: list[str]
    xy: list[list[Pair]]
    visibility: list[list[int]]


class GroundedTextValue(Answered):
    type: Literal["grounded_text"]
    text: str
    spans: list[list[int]] = Field(description="Start and end of the letters of each box's phrase.")
    xyxy: list[Box]
    labels: list[str] | None = None
    scores: list[float] | None = None


class Map(Answered):
    width: int
    height: int
    png: Png


class ImageValue(Map):
    type: Literal["image"]


class NormalsValue(Map):
    type: Literal["normals"]


class MaskValue(Map):
    type: Literal["mask"]
    share: float = Field(description="Of the picture that it covers.")


class SegmentationValue(Map):
    """`png` holds class numbers, 0 the background."""

    type: Literal["segmentation"]
    shares: dict[str, float]


class DepthValue(Map):
    """`png` holds millimetres in 16 bits, 0 where nothing is known."""

    type: Literal["depth"]
    nearest_m: float | None = None
    farthest_m: float | None = None


class Answer(BaseModel):
    task: str | None = Field(None, description="The task whose rules were followed, if any.")
    prompt: str = Field(description="What the model was asked.")
    text: str = Field(description="The answer in words.")
    value: Annotated[
        TextValue | TextsValue | LabelValue | NumberValue | BoxesValue | PointsValue | KeypointsValue
        | GroundedTextValue | ImageValue | NormalsValue | MaskValue | SegmentationValue | DepthValue,
        Field(discriminator="type"),
    ]  # fmt: skip
    score: float | None = Field(None, description="Log-probability, where nothing was sampled.")
    malformed: bool = Field(description="The output was no whole answer; `value` is what could be read.")
    drawn: Png | None = None


class FieldInfo(BaseModel):
    name: str
    type: FieldType
    image: bool = Field(description="One of the pictures that the model looks at.")


class TaskInfo(BaseModel):
    name: str
    description: str
    answer: str = Field(description="Type of the answer's value.")
    prompt: str
    fields: list[FieldInfo]
    options: list[str] | None = Field(None, description="The only answers there are, where they are fixed.")


class TaskList(BaseModel):
    tasks: list[TaskInfo]


class Health(BaseModel):
    status: Literal["ok"]
    model: str


class ErrorDetail(BaseModel):
    message: str
    type: str


class ErrorBody(BaseModel):
    error: ErrorDetail


def answer_of(result: Result, draw: bool) -> Answer:
    value: dict[str, Any] = plain(result.value)
    if isinstance(result.value, tuple(TYPES[kind] for kind in DENSE_TYPES)):
        value["png"] = png(result.picture())
    drawn = png(Pillow.fromarray(result.drawn().pixels)) if draw else None
    score = None if result.score is None or not np.isfinite(result.score) else result.score
    return Answer(
        task=result.task, prompt=result.prompt, text=result.text, value=value, score=score,  # type: ignore[arg-type]
        malformed=result.malformed, drawn=drawn,
    )  # fmt: skip


def task_info(task: LoadedTask) -> TaskInfo:
    spec, prompt = task.spec, asked_prompt(task.spec)
    choices = spec.options.choices if spec.options is not None else None
    return TaskInfo(
        name=task.name,
        description=" ".join(spec.description.split()),
        answer=spec.modality,
        prompt=prompt,
        fields=[
            FieldInfo(name=name, type=spec.field_type(name), image=name in spec.input.images)
            for name in needed_fields(spec, prompt)
        ],
        options=None if choices is None else list(map(str, choices)),
    )


def png(picture: Pillow.Image) -> str:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()
