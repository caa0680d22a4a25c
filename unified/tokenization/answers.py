"""What an answer of a task may look like, and how it is read back."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from unified.specs.prompts import template
from unified.specs.schema import TaskSpec
from unified.specs.task import LoadedTask
from unified.tokenization import automata, parsing
from unified.tokenization.grammar import Grammar
from unified.tokenization.tokenizer_set import TokenizerSet
from unified.values.types import DENSE_TYPES, Keypoints, Label, Text, Value

VISIBILITY = ("1", "2", "3")
"""How COCO's visibility 0, 1, 2 is written after a joint, as in the official models."""


def is_dense(task: LoadedTask) -> bool:
    """Whether the answer is an image-like value, a sequence of image codes."""
    return task.spec.modality in DENSE_TYPES


def has_labels(spec: TaskSpec) -> bool | None:
    """Whether each box or point of the answer has a label; None where a template decides."""
    name = spec.target.field
    return None if name is None else spec.fields[name].labels is not None


def labels_are_optional(spec: TaskSpec) -> bool:
    """Whether the answer is written by a template that is nothing but boxes or points: each may have a
    label then, as in the official models."""
    text = spec.target.template
    return text is not None and re.fullmatch(r"\s*\{\{\s*\w+\s*\}\}\s*", text) is not None


def joint_names(spec: TaskSpec) -> tuple[str, ...]:
    """The joints of the answer's figures."""
    names = spec.fields[_field(spec, "keypoints")].names
    assert isinstance(names, list)  # files of names are read in when a task is loaded
    return tuple(names)


def class_names(spec: TaskSpec) -> tuple[str, ...]:
    """The classes of an answered segmentation."""
    names = spec.fields[_field(spec, "segmentation")].names
    assert isinstance(names, list)
    return tuple(names)


def _field(spec: TaskSpec, kind: str) -> str:
    """The target field, or the only field of that type for targets made by a template."""
    return spec.target.field or next(name for name in spec.fields if spec.field_type(name) == kind)


def build_grammar(
    tokenizers: TokenizerSet, task: LoadedTask, options: Sequence[str] | None, codes: int
) -> Grammar:
    """The legal ids of a task's answers; `options`: the closed answers; `codes`: image codes an image."""
    spec, vocabulary, text = task.spec, tokenizers.vocabulary, tokenizers.text
    if is_dense(task):
        return automata.image_grammar(vocabulary, codes)
    if options is not None:
        return automata.choice_grammar(vocabulary, [text.encode(option) for option in options])
    match spec.modality:
        case "number":
            low = (spec.target.value_range or (-1.0, 1.0))[0]
            return automata.number_grammar(vocabulary, text, decimals=spec.target.decimals, negative=low < 0)
        case "boxes" | "points":
            labelled = has_labels(spec)
            group = 4 if spec.modality == "boxes" else 2
            if labels_are_optional(spec):
                return automata.open_location_grammar(vocabulary, group=group)
            if labelled is None:
                return automata.text_grammar(vocabulary, group=group)
            return automata.location_grammar(
                vocabulary, group=group, labelled=labelled, at_least=0 if labelled else 1,
                at_most=spec.target.max_items,
            )  # fmt: skip
        case "keypoints":
            marks = [text.encode(mark) for mark in VISIBILITY]
            return automata.keypoint_grammar(vocabulary, len(joint_names(spec)), marks, spec.target.max_items)
        case "grounded_text":
            return automata.grounded_grammar(vocabulary, text)
    return automata.text_grammar(vocabulary, group=_group_in(spec))


def _group_in(spec: TaskSpec) -> int:
    """How many locations stand together in a target template that is read as text; 0 for none."""
    if spec.target.template is None:
        return 0
    kinds = {spec.field_type(name) for name in template(spec.target.template).fields if name in spec.fields}
    if kinds & {"points", "keypoints"}:
        return 2
    return 4 if kinds & {"boxes", "grounded_text"} else 0


def read_answer(
    tokenizers: TokenizerSet, task: LoadedTask, ids: Sequence[int], size: int
) -> tuple[Value, bool]:
    """The typed value that ids spell, in the square model frame of side `size`; whether it was malformed."""
    spec = task.spec
    parts, foreign = parsing.segments(tokenizers, ids)
    value, malformed = _read(tokenizers, spec, parts, size)
    return value, malformed or foreign


def _read(
    tokenizers: TokenizerSet, spec: TaskSpec, parts: list[parsing.Segment], size: int
) -> tuple[Value, bool]:
    match spec.modality:
        case "boxes" | "points":
            labelled = has_labels(spec)
            if labelled is None and not labels_are_optional(spec):
                labelled = any(isinstance(part, str) for part in parts)
            read = parsing.boxes if spec.modality == "boxes" else parsing.points
            return read(tokenizers, parts, size, labelled)
        case "keypoints":
            return parsing.keypoints(tokenizers, parts, size, joint_names(spec))
        case "grounded_text":
            return parsing.grounded(tokenizers, parts, size)
    text, located = parsing.plain_text(parts)
    text = cleaned(text, spec)
    match spec.modality:
        case "number":
            number, malformed = parsing.number(text)
            return number, malformed or located
        case "label":
            return Label(text), located or not text
    return Text(text), located and _group_in(spec) == 0


def cleaned(text: str, spec: TaskSpec) -> str:
    """`text` after the task's `postprocess`."""
    for step in spec.postprocess:
        if step == "strip":
            text = text.strip()
        elif step == "lowercase":
            text = text.lower()
        else:
            text = text.split("\n", 1)[0]
    return text


def joint_tokens(tokenizers: TokenizerSet, value: Keypoints, size: int) -> list[int]:
    """Ids of figures: for each joint its point and how well it is seen. A joint that is not there stands
    at the mean of those that are, as in the official models. Every figure has a joint that is there."""
    ids: list[int] = []
    marks = [tokenizers.text.encode(mark) for mark in VISIBILITY]
    for xy, visibility in zip(value.xy, value.visibility, strict=True):
        there = visibility > 0
        places = np.where(there[:, None], xy, xy[there].mean(axis=0))
        for point, seen in zip(tokenizers.locations.encode(places, size), visibility, strict=True):
            ids += [*point.tolist(), *marks[seen]]
    return ids
