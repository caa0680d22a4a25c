"""Templates: from typed values to text with locations between.

A template is sandboxed jinja2. Its output is never one string in which locations are marked: values
travel through jinja as objects and come out as objects, so nothing that stands in the data can be
taken for a location or a control token.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import jinja2
import numpy as np
from jinja2 import meta, nodes
from jinja2.nativetypes import NativeCodeGenerator
from jinja2.sandbox import SandboxedEnvironment

from unified.errors import did_you_mean
from unified.specs.example import Rendered
from unified.values.types import Boxes, GroundedText, Keypoints, Label, Number, Points, Text, Texts, Value

FILTERS = (
    "article", "capitalize", "default", "first", "int", "join", "last", "length", "list", "lower",
    "replace", "round", "sort", "title", "trim", "upper",
)  # fmt: skip
"""What may follow `|` in a template; jinja's own, and `article` ("apple" -> "an apple")."""


class TemplateError(ValueError):
    """A template that cannot be compiled, or not be rendered with the given values."""


class Template:
    """A compiled template. `fields`: the names that it uses. Use `template(text)`, which caches."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._ast = _ENVIRONMENT.parse(text)
            self._compiled = _ENVIRONMENT.from_string(self._ast)
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(_syntax_message(error)) from None
        self.fields = frozenset(meta.find_undeclared_variables(self._ast) - set(_ENVIRONMENT.globals))
        self._pattern: tuple[re.Pattern[str], list[str]] | None = None

    def render(self, values: Mapping[str, Value]) -> Rendered:
        """The text with each location in its place; white space at both ends is dropped.

        Text and labels stand as they are, numbers without needless digits, several texts joined by
        ", ". Boxes and points stand as one value, or where they have labels as each location and its
        label in turn; grounded text as "[phrase]" and the phrase's boxes. Raises TemplateError.
        """
        variables = {name: _variable(values[name]) for name in self.fields if name in values}
        parts: list[str | Value] = []
        try:
            for chunk in self._compiled.root_render_func(self._compiled.new_context(variables)):
                if isinstance(chunk, str):
                    parts.append(chunk)
                else:
                    parts.extend(chunk)
        except Exception as error:  # whatever an expression of the template may raise
            raise TemplateError(str(error)) from error
        return joined(parts)

    def match(self, text: str) -> dict[str, str] | None:
        """The fields' strings, if `text` may have come from this template; else None.

        Case and the amount of white space do not count. Templates with more than plain
        `{{ field }}` match nothing.
        """
        if self._pattern is None:
            self._pattern = _pattern(self._ast)
        pattern, names = self._pattern
        found = pattern.fullmatch(" ".join(text.split()))
        return {name: found[f"f{i}"].strip() for i, name in enumerate(names)} if found else None


@lru_cache(maxsize=4096)
def template(text: str) -> Template:
    """The template, compiled once a process."""
    return Template(text)


def render_value(value: Value) -> Rendered:
    """A value as `{{ value }}` alone would render it."""
    return joined(_finalize(_variable(value)))


def joined(parts: Iterable[str | Value]) -> Rendered:
    """Neighbouring strings become one, empty ones and white space at both ends go."""
    out: list[str | Value] = []
    for part in parts:
        if isinstance(part, str) and out and isinstance(out[-1], str):
            out[-1] += part
        else:
            out.append(part)
    if out and isinstance(out[0], str):
        out[0] = out[0].lstrip()
    if out and isinstance(out[-1], str):
        out[-1] = out[-1].rstrip()
    return tuple(p for p in out if not isinstance(p, str) or p)


# ------------------------------------------------------------------------------ jinja2 variables


class Locations:
    """Boxes or points as a template sees them: `labels`, `length`, and a loop over the single ones,
    each with `label` and `location` (itself without the label)."""

    __slots__ = ("_value",)

    def __init__(self, value: Boxes | Points) -> None:
        self._value = value

    def __len__(self) -> int:
        return len(self._value)

    def __getitem__(self, index: int) -> Locations:
        labels = self._value.labels
        return Locations(_take(self._value, index, None if labels is None else labels[index]))

    def __iter__(self) -> Iterator[Locations]:
        return (self[i] for i in range(len(self)))

    @property
    def labels(self) -> tuple[str, ...]:
        if self._value.labels is None:
            raise TemplateError("these locations have no labels")
        return self._value.labels

    @property
    def label(self) -> str:
        if len(self) != 1:
            raise TemplateError("'label' is of a single location; there are 'labels'")
        return self.labels[0]

    @property
    def location(self) -> Locations:
        value = self._value
        return Locations(Boxes(value.xyxy) if isinstance(value, Boxes) else Points(value.xy))

    def parts(self) -> Iterator[str | Value]:
        value = self._value
        if value.labels is None:
            if len(value):
                yield value
            return
        for i, label in enumerate(value.labels):
            yield _take(value, i, None)
            yield f" {label}"

    def __str__(self) -> str:
        raise TemplateError("a location cannot be changed into text")


class Joints:
    """Keypoints as a template sees them: they can only be written."""

    __slots__ = ("_value",)

    def __init__(self, value: Keypoints) -> None:
        self._value = value

    def __len__(self) -> int:
        return len(self._value)

    def parts(self) -> Iterator[str | Value]:
        if len(self._value):
            yield self._value

    def __str__(self) -> str:
        raise TemplateError("keypoints cannot be changed into text")


class Grounded:
    """A grounded text as a template sees it; `text` is the text alone."""

    __slots__ = ("_value",)

    def __init__(self, value: GroundedText) -> None:
        self._value = value

    @property
    def text(self) -> str:
        return self._value.text

    def parts(self) -> Iterator[str | Value]:
        text, spans, xyxy = self._value.text, self._value.spans, self._value.boxes.xyxy
        end = 0
        for start, stop in dict.fromkeys(spans):
            yield f"{text[end:start]}[{text[start:stop]}] "
            yield Boxes(xyxy[[i for i, span in enumerate(spans) if span == (start, stop)]])
            end = stop
        yield text[end:]

    def __str__(self) -> str:
        raise TemplateError("grounded text cannot be changed; use `.text` for the text alone")


def _take(value: Boxes | Points, index: int, label: str | None) -> Boxes | Points:
    labels = None if label is None else (label,)
    row = np.asarray([index])
    return Boxes(value.xyxy[row], labels) if isinstance(value, Boxes) else Points(value.xy[row], labels)


def _variable(value: Value) -> Any:
    match value:
        case Text():
            return value.text
        case Label():
            return value.name
        case Number():
            return value.value
        case Texts():
            return value.items
        case Boxes() | Points():
            return Locations(value)
        case Keypoints():
            return Joints(value)
        case GroundedText():
            return Grounded(value)
    raise TemplateError("an image, mask or map cannot stand in text")


def _finalize(value: Any) -> Any:
    """What stands in the output for the value of an expression: a string, or an iterable of parts."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:.6g}"
    if isinstance(value, Locations | Joints | Grounded):
        return value.parts()
    if isinstance(value, tuple | list):
        return ", ".join(str(_finalize(v)) if isinstance(v, str | float) else str(v) for v in value)
    if value is None:
        raise TemplateError("an expression has no value")
    return str(value)


# ---------------------------------------------------------------------------------------- jinja2


class _Environment(SandboxedEnvironment):
    """jinja2 that yields objects: what an expression gives is not turned into a string."""

    code_generator_class = NativeCodeGenerator

    @staticmethod
    def concat(parts: Iterable[Any]) -> str:
        """Joins the output of a `{% set %}` block or a macro, which becomes one string."""
        parts = list(parts)
        if not all(isinstance(part, str) for part in parts):
            raise TemplateError("a location cannot stand inside a set block or a macro")
        return "".join(parts)


def _article(word: str) -> str:
    """`apple` -> `an apple`, by the first letter."""
    vowel = word[:1].lower() in tuple("aeiou") and not word.lower().startswith(("one", "uni", "use", "eu"))
    return f"{'an' if vowel else 'a'} {word}"


def _environment() -> _Environment:
    environment = _Environment(
        undefined=jinja2.StrictUndefined, finalize=_finalize, trim_blocks=True, lstrip_blocks=True
    )
    filters: dict[str, Callable[..., Any]] = {**environment.filters, "article": _article}
    environment.filters = {name: filters[name] for name in FILTERS}
    environment.globals = {"range": environment.globals["range"]}
    return environment


_ENVIRONMENT = _environment()


def _syntax_message(error: jinja2.TemplateSyntaxError) -> str:
    message = (error.message or "cannot be read").rstrip(".")
    if unknown := re.match(r"No filter named '(.*?)'", message):
        name = unknown[1]
        hint = did_you_mean(name, FILTERS) or "; there are " + ", ".join(FILTERS)
        return f"unknown filter '{name}'{hint}"
    return message[:1].lower() + message[1:]


_NOTHING = re.compile(r"(?!)")


def _pattern(ast: nodes.Template) -> tuple[re.Pattern[str], list[str]]:
    names: list[str] = []
    source = ""
    for output in ast.body:
        if not isinstance(output, nodes.Output):
            return _NOTHING, []
        for node in output.nodes:
            if isinstance(node, nodes.TemplateData):
                source += rf"\s*{_literal_pattern(node.data)}\s*"
            elif isinstance(node, nodes.Name) and node.name in names:
                source += f"(?P=f{names.index(node.name)})"
            elif isinstance(node, nodes.Name):
                source += f"(?P<f{len(names)}>.+?)"
                names.append(node.name)
            else:
                return _NOTHING, []
    return re.compile(source, re.IGNORECASE), names


def _literal_pattern(text: str) -> str:
    """Words must be apart as in the text, white space beside punctuation is free."""
    tokens = re.findall(r"\w+|[^\w\s]", text)
    pattern = ""
    for before, token in zip(["", *tokens], tokens, strict=False):
        apart = before[-1:].isalnum() and token[0].isalnum()
        pattern += (r"\s+" if apart else r"\s*" if before else "") + re.escape(token)
    return pattern
