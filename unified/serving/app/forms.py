"""What a task asks for, as a form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from unified.errors import UserError
from unified.serving.asking import asked_prompt, needed_fields
from unified.serving.uploads import Limits, read_map, read_picture
from unified.specs.load import LoadedTask
from unified.specs.schema import FieldType
from unified.specs.vocabulary import TEXT_LIKE
from unified.values.types import DENSE_TYPES, Image

HINTS: dict[FieldType, str] = {
    "boxes": "x1 y1 x2 y2 in pixels of the image",
    "points": "x y in pixels of the image",
    "texts": "one | another | a third",
    "number": "a number",
}
UNWRITABLE: tuple[FieldType, ...] = ("keypoints", "grounded_text")
"""Kinds of fields that nobody types into a form."""


@dataclass(frozen=True)
class Blank:
    """One field to fill. `choices`: all that may stand in it, () for anything."""

    name: str
    kind: FieldType
    choices: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        words = self.name.replace("_", " ")
        return words if self.kind in (self.name, "image", *TEXT_LIKE) else f"{words} ({self.kind})"

    @property
    def hint(self) -> str:
        return HINTS.get(self.kind, "")


@dataclass(frozen=True)
class Filled:
    """What stands in a form, by field: pictures as they are stored, all else as it is typed."""

    pictures: Mapping[str, Pillow.Image] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Form:
    """The fields of a task's question: pictures, boxes to type in, closed lists to choose from."""

    task: LoadedTask
    pictures: tuple[Blank, ...]
    texts: tuple[Blank, ...]
    lists: tuple[Blank, ...]

    @staticmethod
    def of(task: LoadedTask) -> Form | None:
        """None for a task with a field that nobody can type."""
        spec = task.spec
        blanks = [
            Blank(name, spec.field_type(name), _choices(task, name))
            for name in needed_fields(spec, asked_prompt(spec))
        ]
        if any(blank.kind in UNWRITABLE for blank in blanks):
            return None
        typed = [blank for blank in blanks if blank.kind not in DENSE_TYPES]
        return Form(
            task,
            tuple(blank for blank in blanks if blank.kind in DENSE_TYPES),
            tuple(blank for blank in typed if not blank.choices),
            tuple(blank for blank in typed if blank.choices),
        )

    @property
    def about(self) -> str:
        """In Markdown: what the task is, how it asks, and what it may answer."""
        spec = self.task.spec
        options = spec.options.choices if spec.options is not None else None
        answer = f"{spec.modality}: {', '.join(options)}" if options else spec.modality
        return f"{spec.description}\n\n`{asked_prompt(spec)}`\n\nAnswered with {answer}"

    def read(
        self, pictures: Sequence[str | None], words: Sequence[str | None], limits: Limits
    ) -> dict[str, Any]:
        """The fields that are filled. `pictures`: files; `words`: those of `texts`, then of `lists`. Raises
        UserError for pictures that cannot be read."""
        fields: dict[str, Any] = {}
        for blank, file in zip(self.pictures, pictures, strict=False):
            if file is not None:
                read = read_picture if blank.kind == "image" else read_map
                fields[blank.name] = read(read_file(file, blank.label, limits), blank.label, limits)
        for blank, text in zip([*self.texts, *self.lists], words, strict=False):
            if text is not None and text.strip():
                fields[blank.name] = text
        return fields


def read_images(files: Iterable[str | None], limits: Limits) -> list[Image]:
    """The pictures that are there, named by their slots. Raises UserError for one that cannot be read."""
    named = [(file, f"image {i + 1}") for i, file in enumerate(files) if file is not None]
    return [read_picture(read_file(file, name, limits), name, limits) for file, name in named]


def read_file(file: str, name: str, limits: Limits) -> bytes:
    """No more than a byte beyond the limit, so that larger files are told and never held."""
    try:
        with Path(file).open("rb") as opened:
            return opened.read(limits.max_bytes + 1)
    except OSError:
        raise UserError(f"{name}: the upload is gone; choose the picture again") from None


def _choices(task: LoadedTask, name: str) -> tuple[str, ...]:
    spec = task.spec.fields[name]
    if task.spec.field_type(name) not in ("text", "label"):
        return ()
    if spec.map is not None:
        return tuple(dict.fromkeys(spec.map.values()))
    return () if spec.names is None or isinstance(spec.names, str) else tuple(spec.names)
