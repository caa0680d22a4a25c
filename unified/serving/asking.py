"""From what a user hands over (a prompt or a task, images, fields) to the example that the model sees."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from unified.errors import UserError, did_you_mean
from unified.sources.fields import read_fields
from unified.sources.images import read_rgb
from unified.specs.build import build_example
from unified.specs.example import BadRow, Example
from unified.specs.load import LoadedTask
from unified.specs.prompts import template
from unified.specs.schema import FieldSpec, FieldType, InputSpec, PromptSpec, TargetSpec, TaskSpec
from unified.specs.vocabulary import LOCATIONS
from unified.tokenization.answers import labels_are_optional
from unified.values.types import DENSE_TYPES, TYPES, Boxes, Image, Points, Value

KEY = "prompt"
"""Where an asked example stands, for messages."""


@dataclass(frozen=True)
class Question:
    """An example to answer, the task whose rules the answer follows, and that task's name if it is one that
    the model knows."""

    example: Example
    task: LoadedTask
    known_as: str | None


@dataclass(frozen=True)
class _Asked:
    """A task as it is asked: `whole` with the one prompt, `reading` with the given fields alone."""

    whole: LoadedTask
    reading: LoadedTask


class Asker:
    """Makes examples of questions about the tasks that a model knows. Sides of frames in pixels."""

    def __init__(self, tasks: Mapping[str, LoadedTask], *, image_size: int, target_size: int) -> None:
        self.tasks = dict(tasks)
        self.image_size, self.target_size = image_size, target_size
        self._asked: dict[tuple[Any, ...], _Asked] = {}

    # ---------------------------------------------------------------------------------- tasks

    def find(self, name: str) -> LoadedTask | None:
        """The task of that name, or the shortest whose name ends in it after a `_` or `/`; None where there
        is none, or several as short."""
        if name in self.tasks:
            return self.tasks[name]
        ends = [full for full in self.tasks if re.search(rf"[_/]{re.escape(name)}$", full)]
        shortest = [full for full in ends if len(full) == min(map(len, ends))]
        return self.tasks[shortest[0]] if len(shortest) == 1 else None

    def task(self, name: str, images: Sequence[Any], fields: Mapping[str, Any]) -> Question:
        """A task's question about the given images (in the order of its `input.images`) and fields, by its
        evaluation prompt. Raises UserError for an unknown task, and missing, unknown or unreadable fields."""
        task = self.find(name)
        if task is None:
            known = f"; it knows {', '.join(self.tasks) or 'none'}"
            raise UserError(
                f"this model knows no task '{name}'{did_you_mean(name, list(self.tasks)) or known}"
            )
        return self._question(task, asked_prompt(task.spec), images, fields)

    def _question(
        self, task: LoadedTask, prompt: str, images: Sequence[Any], fields: Mapping[str, Any]
    ) -> Question:
        spec, needed = task.spec, needed_fields(task.spec, prompt)
        row = dict(fields)
        named = [name for name in spec.input.images if name not in row]
        if len(images) > len(named):
            raise UserError(f"task '{task.name}': {len(images)} images given, it takes {len(named)}")
        row |= dict(zip(named, images, strict=False))
        for name in row:
            if name not in spec.fields:
                hint = did_you_mean(name, needed) or f"; it takes {', '.join(needed) or 'none'}"
                raise UserError(f"task '{task.name}': unknown field '{name}'{hint}")
        missing = [f"{name} ({spec.field_type(name)})" for name in needed if name not in row]
        if missing:
            raise UserError(f"task '{task.name}': missing: {', '.join(missing)}")
        key = (task.identity, prompt, frozenset(row))
        if key not in self._asked:
            own = {name: _by_name(spec, name) for name in row}
            chosen = spec.input.model_copy(update={"eval_prompt": prompt})
            whole = spec.model_copy(update={"fields": {**spec.fields, **own}, "input": chosen})
            self._asked[key] = _asked(whole, task.path, list(row))
        row = {name: _raw(value, spec.field_type(name), name) for name, value in row.items()}
        return Question(self._example(self._asked[key], row), self._asked[key].whole, task.name)

    def _example(self, asked: _Asked, row: dict[str, Any]) -> Example:
        try:
            values = read_fields(asked.reading, row)
            _check_places(asked.reading.spec, values)
            return build_example(
                asked.whole, values, key=KEY, rng=np.random.default_rng(0), training=False,
                image_size=self.image_size, target_size=self.target_size, with_target=False,
            )  # fmt: skip
        except BadRow as bad:
            raise UserError(f"task '{asked.whole.name}': {bad}") from None

    # --------------------------------------------------------------------------- free prompts

    def freely(self, prompt: str, images: Sequence[Any], target: FieldType | None) -> Question:
        """A question in the user's words.

        If they are the words of a prompt of a known task (that takes as many images, and answers with a
        `target` if one is asked for), that task's rules hold. Otherwise the answer is a `target`, by
        default a text, and follows no task's options. Raises UserError for kinds of answer that the model
        does not know.
        """
        if not prompt.strip():
            raise UserError("the prompt is empty")
        matched = self.match(prompt, len(images), target)
        if matched is not None:
            task, words, fields = matched
            return self._question(task, words, images, fields)
        key = (target or "text", len(images))
        if key not in self._asked:
            spec = _free_spec(target or "text", len(images), self._like(target))
            self._asked[key] = _asked(spec, Path(KEY), [*spec.input.images, "prompt"])
        row: dict[str, Any] = {f"image_{i}": to_image(image) for i, image in enumerate(images)}
        return Question(
            self._example(self._asked[key], row | {"prompt": prompt}), self._asked[key].whole, None
        )

    def match(
        self, prompt: str, images: int, target: FieldType | None = None
    ) -> tuple[LoadedTask, str, dict[str, str]] | None:
        """The task and the template that a prompt has the words of, and the fields it fills in.

        The template with the most letters of its own wins. Templates without any, and places that are no
        coordinates, match nothing.
        """
        best: tuple[int, LoadedTask, str, dict[str, str]] | None = None
        for task in self.tasks.values():
            spec = task.spec
            if len(spec.input.images) != images or (target is not None and spec.modality != target):
                continue
            if spec.options is not None and (spec.options.field or spec.options.pool):
                continue  # the prompt does not hold its options
            for text in dict.fromkeys(
                [*filter(None, [spec.input.eval_prompt]), *(p.text for p in spec.input.prompt)]
            ):
                own = _own_letters(text)
                if own <= (best[0] if best else 0):
                    continue
                fields = template(text).match(prompt)
                if fields is not None and _readable(spec, fields):
                    best = (own, task, text, fields)
        return None if best is None else best[1:]

    def _like(self, target: FieldType | None) -> TaskSpec | None:
        """A known task that answers with a `target`, whose ranges and names a free answer borrows."""
        if target is None or target == "text":
            return None
        kinds = [kind for kind in TYPES if kind != "texts"]
        if target not in kinds:
            hint = did_you_mean(target, kinds) or f"; there are {', '.join(kinds)}"
            raise UserError(f"target '{target}': no such kind of answer{hint}")
        specs = [task.spec for task in self.tasks.values()]
        like = [s for s in specs if s.modality == target]
        found = next((s for s in like if s.target.field), None) or next(filter(answer_field, like), None)
        if found is None:
            known = sorted({s.modality for s in specs})
            raise UserError(
                f"target '{target}': no task of this model answers so; it knows {', '.join(known)}"
            )
        return found


def asked_prompt(spec: TaskSpec) -> str:
    """The template that a task is asked with."""
    return spec.input.eval_prompt or spec.input.prompt[0].text


def needed_fields(spec: TaskSpec, prompt: str) -> list[str]:
    """Names of the fields without which a task cannot be asked with that template, pictures first."""
    ranked = spec.options is not None and spec.options.decode == "rank"
    options = [spec.options.field or spec.options.pool] if spec.options is not None and ranked else []
    return list(dict.fromkeys([*spec.input.images, *sorted(template(prompt).fields), *filter(None, options)]))


def _check_places(spec: TaskSpec, values: Mapping[str, Value]) -> None:
    """Raises BadRow for a place that no pixel of its image lies in: the model would never hear of it."""
    for name, value in values.items():
        if isinstance(value, Boxes):
            corners = value.xyxy
        elif isinstance(value, Points):
            corners = np.concatenate([value.xy, value.xy], axis=1)
        else:
            continue
        image = values.get(spec.frame_of(name) or "")
        if not isinstance(image, Image):
            continue
        width, height = image.size
        for x1, y1, x2, y2 in corners:
            if x2 < 0 or y2 < 0 or x1 >= width or y1 >= height:
                raise BadRow(f"field '{name}': lies outside the image of {width} x {height} pixels")
            if isinstance(value, Boxes) and (x2 <= x1 or y2 <= y1):
                raise BadRow(f"field '{name}': the box {x1:g} {y1:g} {x2:g} {y2:g} has no area")


def _asked(whole: TaskSpec, path: Path, given: Sequence[str]) -> _Asked:
    # without the source: where rows came from in training, perhaps on another machine, is no matter here
    reading = whole.model_copy(
        update={"fields": {name: whole.fields[name] for name in given}, "source": None}
    )
    return _Asked(LoadedTask.of(whole, path), LoadedTask.of(reading, path))


def _by_name(spec: TaskSpec, name: str) -> FieldSpec:
    """How a field is read from what a user gives: no path, plain coordinates; formats of maps stay."""
    kind, field = spec.field_type(name), spec.fields[name]
    kept: dict[str, Any] = {"type": kind, "path": name, "image": field.image}
    if kind in DENSE_TYPES:
        kept |= {
            "format": field.format,
            "unit_scale": field.unit_scale,
            "axes": field.axes,
            "names": field.names,
        }
    elif kind == "keypoints":
        kept |= {"format": field.format, "names": field.names}
    return FieldSpec(**kept)


def _raw(value: Any, kind: FieldType, name: str) -> Any:
    """A user's value in a form that a field of that type is read from."""
    if isinstance(value, TYPES[kind]):
        return value
    if kind == "image":
        return to_image(value)
    if kind in DENSE_TYPES and isinstance(value, str | Path):
        return str(Path(value).expanduser().absolute())
    if kind in LOCATIONS and isinstance(value, str):
        return _coordinates(value, kind, name)
    if kind == "texts" and isinstance(value, str):
        return [part.strip() for part in value.split("|")]
    return value.tolist() if isinstance(value, np.ndarray) and kind not in DENSE_TYPES else value


def _coordinates(text: str, kind: FieldType, name: str) -> list[list[float]]:
    """`12 8 40 31` (several: one after another) as rows of numbers."""
    group = 4 if kind == "boxes" else 2
    try:
        numbers = [float(part) for part in re.split(r"[\s,;]+", text.strip(" ()[]"))]
    except ValueError:
        numbers = []
    if not numbers or len(numbers) % group:
        what = "x1 y1 x2 y2" if group == 4 else "x y"
        raise UserError(f"field '{name}': '{text}' is not a place; write pixels of the image as: {what}")
    return [numbers[i : i + group] for i in range(0, len(numbers), group)]


def to_image(value: Any) -> Image:
    """An image from a path, bytes, a PIL image or an array; UserError where it cannot be read."""
    if isinstance(value, Image):
        return value
    try:
        return Image(
            read_rgb(str(Path(value).expanduser()) if isinstance(value, str | Path) else value, Path.cwd())
        )
    except BadRow as bad:
        raise UserError(f"image: {bad}") from None


@lru_cache(maxsize=4096)
def _own_letters(text: str) -> int:
    """Letters of a template outside its fields."""
    return len(re.findall(r"\w", re.sub(r"\{[{%].*?[}%]\}", "", text)))


def _readable(spec: TaskSpec, fields: Mapping[str, str]) -> bool:
    for name, value in fields.items():
        kind = spec.field_type(name)
        if kind in DENSE_TYPES or kind == "keypoints":
            return False
        if kind in LOCATIONS:
            try:
                _coordinates(value, kind, name)
            except UserError:
                return False
    return True


def answer_field(spec: TaskSpec) -> str | None:
    """The field that the answer is, if it is one and nothing else."""
    if spec.target.template is None:
        return spec.target.field
    names = template(spec.target.template).fields if labels_are_optional(spec) else frozenset()
    return next(iter(names), None)


def _free_spec(kind: FieldType, images: int, like: TaskSpec | None) -> TaskSpec:
    """A task whose whole prompt is the user's, and whose answers are of a kind, as in the task `like`."""
    names = [f"image_{i}" for i in range(images)]
    answer, target = FieldSpec(type=kind), TargetSpec(field="answer")
    if like is not None:
        name = answer_field(like)
        assert name is not None
        own = like.fields[name]
        answer = FieldSpec(type=like.field_type(name), names=own.names, labels=own.labels)
        written = {"template": "{{ answer }}"} if like.target.field is None else {"field": "answer"}
        target = like.target.model_copy(update=written)
    return TaskSpec(
        task=f"free_{kind}",
        fields={
            **{name: FieldSpec(type="image") for name in names},
            "prompt": FieldSpec(type="text"),
            "answer": answer,
        },
        input=InputSpec(images=names, prompt=[PromptSpec(text="{{ prompt }}")]),
        target=target,
    )
