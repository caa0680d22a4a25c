"""From a request's bytes to a question: JSON with base64 pictures, or a form with files."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from unified.errors import UserError
from unified.serving.api.bodies import Body, PromptBody, TaskBody
from unified.serving.asking import Question
from unified.serving.pipeline import Pipeline
from unified.serving.uploads import Limits, TooLarge, from_base64, read_map, read_picture
from unified.specs.load import LoadedTask
from unified.specs.schema import FieldType
from unified.values.types import DENSE_TYPES, Image

B = TypeVar("B", bound=Body)
PLACES = ("boxes", "points", "keypoints")
PARTS = 100
"""Most fields and most files of a form."""
LARGEST = 1e6
"""Coordinates and numbers beyond it are no place in any picture."""


@dataclass
class Given:
    """A request, however it was sent; pictures in bytes."""

    images: list[bytes] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)
    draw: bool = False


async def read_json(request: Request, kind: type[B], limits: Limits) -> B:
    """Raises TooLarge, and UserError for what is no such JSON."""
    return parse_json(await _read_bytes(request, limits), kind)


def parse_json(data: bytes, kind: type[B]) -> B:
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        problems = [f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in found[:5]]
        raise UserError("; ".join(problems)) from None


async def read_given(request: Request, kind: type[PromptBody] | type[TaskBody], limits: Limits) -> Given:
    """Raises TooLarge, and UserError for bodies that cannot be read."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media == "multipart/form-data":
        return await _read_form(request, limits)
    if media != "application/json":
        raise UserError(f"content-type '{media}': send application/json or multipart/form-data")
    body = await read_json(request, kind, limits)
    images = [from_base64(text, f"images[{i}]", limits) for i, text in enumerate(body.images)]
    fields = body.fields if isinstance(body, TaskBody) else {"prompt": body.prompt, "target": body.target}
    return Given(images, dict(fields), body.draw)


async def _read_bytes(request: Request, limits: Limits) -> bytes:
    """The whole body; no more than the limit is ever held."""
    most = limits.max_bytes * 4 // 3 + 65_536  # base64, and words beside the pictures
    held = bytearray()
    async for part in request.stream():
        held += part
        if len(held) > most:
            raise TooLarge(f"the request is larger than {most / 2**20:.1f} MB; send smaller pictures")
    return bytes(held)


async def _read_form(request: Request, limits: Limits) -> Given:
    data = await _read_bytes(request, limits)

    async def stream() -> AsyncGenerator[bytes, None]:
        yield data

    try:
        form = await MultiPartParser(
            request.headers, stream(), max_files=PARTS, max_fields=PARTS, max_part_size=len(data) + 1
        ).parse()
    except MultiPartException as error:
        raise UserError(f"the form cannot be read: {error.message}") from None
    given = Given()
    for name, value in form.multi_items():
        content = await value.read() if isinstance(value, UploadFile) else value
        if name == "images":
            if isinstance(content, str):
                content = from_base64(content, name, limits)
            given.images.append(content)
        elif name == "draw":
            given.draw = content in ("true", "1")
        elif name in given.fields:
            raise UserError(f"{name}: is given twice")
        else:
            given.fields[name] = content
    await form.close()
    return given


def prompt_question(pipe: Pipeline, given: Given, limits: Limits) -> Question:
    """Raises TooLarge, and UserError where it cannot be asked."""
    unknown = given.fields.keys() - {"prompt", "target"}
    if unknown:
        raise UserError(f"{', '.join(sorted(unknown))}: unknown; there are prompt, images, target, draw")
    prompt, target = given.fields.get("prompt"), given.fields.get("target")
    if not isinstance(prompt, str) or not (target is None or isinstance(target, str)):
        raise UserError("prompt, target: give them as text")
    return pipe.free_question(prompt, _pictures(given, limits), target)  # type: ignore[arg-type]


def task_question(pipe: Pipeline, task: LoadedTask, given: Given, limits: Limits) -> Question:
    """Raises TooLarge, and UserError where it cannot be asked."""
    fields = {
        name: _value(value, task.spec.field_type(name), name, limits) if name in task.spec.fields else value
        for name, value in given.fields.items()
    }
    return pipe.task_question(task.name, _pictures(given, limits), fields)


def _pictures(given: Given, limits: Limits) -> list[Image]:
    return [read_picture(data, f"images[{i}]", limits) for i, data in enumerate(given.images)]


def _value(value: Any, kind: FieldType, name: str, limits: Limits) -> Any:
    """A field's value. Pictures are their bytes, never a path: a stranger shall not name files here."""
    if kind in DENSE_TYPES:
        if isinstance(value, str):
            value = from_base64(value, name, limits)
        if not isinstance(value, bytes):
            raise UserError(f"{name}: send a picture file, or its bytes in base64")
        return read_picture(value, name, limits) if kind == "image" else read_map(value, name, limits)
    if isinstance(value, bytes):
        raise UserError(f"{name}: is no picture but a {kind}; send it as text")
    if kind in ("text", "label") and not isinstance(value, str):
        raise UserError(f"{name}: is a {kind}; send it as a string")
    if kind == "texts" and not (isinstance(value, str) or _all(value, str)):
        raise UserError(f"{name}: send a list of strings, or one string with | between them")
    if kind == "number" and not isinstance(value, str | int | float):
        raise UserError(f"{name}: send a number")
    if kind in PLACES and not isinstance(value, str) and not _numbers(value):
        raise UserError(f"{name}: send a list of places, each a list of numbers in pixels of the image")
    return value


def _all(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _numbers(value: Any, depth: int = 3) -> bool:
    """Whether it is a list, of lists, of finite numbers of a usual size, all of one length."""
    if not isinstance(value, list) or depth == 0:
        return False
    if all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) <= LARGEST for v in value):
        return bool(np.isfinite(np.array(value, float)).all())
    inside = {len(v) if isinstance(v, list) else -1 for v in value}
    return len(inside) == 1 and all(_numbers(v, depth - 1) for v in value)
