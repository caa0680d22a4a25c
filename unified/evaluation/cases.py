"""Rows of a split as examples with their true answers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from typing import Any

import numpy as np

from unified.errors import UserError
from unified.evaluation.metrics.base import strings
from unified.sources.base import RowSource, RowStream
from unified.sources.fields import read_fields
from unified.sources.location import AbsentFile, MissingData
from unified.sources.open import open_source
from unified.specs.build import build_example
from unified.specs.example import BadRow, Example
from unified.specs.load import LoadedTask
from unified.specs.prompts import template
from unified.specs.schema import TaskSpec
from unified.values.types import (
    DENSE_TYPES,
    Boxes,
    GroundedText,
    Keypoints,
    Label,
    Number,
    Points,
    Size,
    Text,
    Texts,
    Value,
)

_PHRASE = re.compile(r"\[([^\[\]]*)\]\s*$")


@dataclass(frozen=True)
class Case:
    """An example and its true answer in the source frame. The answer of a field of several strings is
    all of them (Texts). `own`: where the example's own strings stand among pooled options."""

    example: Example
    target: Value
    own: range | None = None


@dataclass
class Cases:
    """The rows of a split. `cases`: those with an answer; `examples`: all that can be asked, in their order;
    `places`: where each case stands among them. `skipped`: (key, reason) of rows that could not be used."""

    cases: list[Case] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    def extend(self, part: Cases) -> None:
        """Adds the rows of a later part."""
        self.places += [len(self.examples) + place for place in part.places]
        self.cases += part.cases
        self.skipped += part.skipped
        self.examples += part.examples


def read_cases(
    task: LoadedTask, split: str, *, limit: int | None, seed: int, image_size: int, target_size: int,
    unanswered: bool = False, only: Container[str] | None = None,
) -> Cases:  # fmt: skip
    """At most `limit` rows of a split, spread evenly over it (a stream: its first rows).

    Which rows, and all random choices, depend on nothing but `seed` and the split. With `unanswered`, rows
    that lack what only a true answer or a metric needs are examples without a case. `only`: keys of the rows
    among these that are wanted. Raises UserError where not a single row can be used.
    """
    (whole,) = read_in_parts(
        task, split, size=None, limit=limit, seed=seed, image_size=image_size, target_size=target_size,
        unanswered=unanswered, only=only,
    )  # fmt: skip
    return whole


def read_in_parts(
    task: LoadedTask, split: str, *, size: int | None, limit: int | None, seed: int, image_size: int,
    target_size: int, unanswered: bool = False, only: Container[str] | None = None,
) -> Iterator[Cases]:  # fmt: skip
    """As `read_cases`, in parts of `size` examples, so that not all pictures must be held at once. Pooled
    options need all rows, which are then one part."""
    pool = None if task.spec.options is None else task.spec.options.pool
    source = open_source(task, split)
    answers = answer_fields(task.spec) if unanswered else frozenset()
    part, first, only_absent = Cases(), True, True
    for key, row in _rows(source, limit, only):
        try:
            if isinstance(row, BadRow):
                raise row
            values = read_fields(task, row, source, optional=answers)
            answered = not unanswered or is_answered(task.spec, values)
            example = build_example(
                task, values, key=key, rng=_rng(seed, key), training=False,
                image_size=image_size, target_size=target_size, with_target=answered,
            )  # fmt: skip
            target = true_answer(task, example) if answered else None
        except BadRow as bad:
            part.skipped.append((key, str(bad)))
            only_absent &= isinstance(bad, AbsentFile) or isinstance(bad.__cause__, AbsentFile)
            continue
        if pool is None and len(part.examples) == size:
            yield part
            part, first = Cases(), False
        if target is not None:
            part.cases.append(Case(example, target))
            part.places.append(len(part.examples))
        part.examples.append(example)
    if first and not part.examples:
        what = f"; the first: {part.skipped[0][0]}: {part.skipped[0][1]}" if part.skipped else ""
        if task.spec.submission is not None and not unanswered:
            what += "; where the answers are hidden, `--submission FOLDER` writes the file for the server"
        error = MissingData if part.skipped and only_absent else UserError
        raise error(f"{task.path}: no row of split '{split}' can be used{what}")
    if pool is not None:
        _pool(part, pool)
    yield part


def answer_fields(spec: TaskSpec) -> frozenset[str]:
    """The fields that only the true answer or a metric needs, so that rows of a test split may lack them."""
    asked = set(spec.input.images)
    for text in [*(prompt.text for prompt in spec.input.prompt), spec.input.eval_prompt or ""]:
        asked |= template(text).fields
    if spec.options is not None:
        asked |= {spec.options.field or "", spec.options.pool or ""}
    if spec.submission is not None:
        asked |= {spec.submission.key or "", *spec.submission.row.values()}
    judged = _true_fields(spec)
    for metric in spec.metrics:
        judged |= {metric.by or "", *metric.fields.values()}
    return frozenset((judged - asked) & spec.fields.keys())


def is_answered(spec: TaskSpec, values: dict[str, Value]) -> bool:
    """Whether a row has what its true answer and the metrics need. Hidden answers may be an empty list."""
    answers = answer_fields(spec)
    hidden = {name for name in answers & _true_fields(spec) if values.get(name) == Texts(())}
    return values.keys() - hidden >= answers


def _true_fields(spec: TaskSpec) -> set[str]:
    """The fields of the true answer."""
    fields = set(template(spec.target.template).fields) if spec.target.template else {spec.target.field or ""}
    return fields | {metric.references or "" for metric in spec.metrics}


def _pool(read: Cases, name: str) -> None:
    """Gives every example the strings of all for options."""
    texts = [example.values[name] for example in read.examples]
    starts = np.cumsum([0, *(len(strings(text)) for text in texts)])
    options = tuple(item for text in texts for item in strings(text))
    read.examples = [replace(example, options=options) for example in read.examples]
    own = [range(int(a), int(b)) for a, b in pairwise(starts)]
    read.cases = [
        replace(case, example=read.examples[i], own=own[i])
        for case, i in zip(read.cases, read.places, strict=True)
    ]


def _rng(seed: int, key: str) -> np.random.Generator:
    digest = hashlib.sha256(key.encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


def _rows(
    source: RowSource | RowStream, limit: int | None, only: Container[str] | None
) -> Iterator[tuple[str, dict[str, Any] | BadRow]]:
    if isinstance(source, RowStream):
        yield from ((key, row) for key, row in islice(source, limit) if only is None or key in only)
        return
    n = len(source) if limit is None else min(limit, len(source))
    for i in range(n):
        index = i * len(source) // n
        if only is not None and source.key(index) not in only:
            continue
        try:
            row: dict[str, Any] | BadRow = source[index]
        except BadRow as bad:
            row = bad
        yield source.key(index), row


def frame_of(example: Example) -> Size:
    """The frame in which a spatial answer of the example lives."""
    if example.target_geometry is not None:
        return example.target_geometry.source
    if not example.images:
        raise UserError(f"{example.task}: {example.key}: a place is asked for, but there is no image")
    return example.images[0].size


def true_answer(task: LoadedTask, example: Example) -> Value:
    """What the answer should be: the target's field, or what the target's template says, read back as the
    task's modality. Raises BadRow where the template gives nothing of that kind."""
    target = task.spec.target
    if target.field is not None:
        return example.values[target.field]
    if task.spec.modality in DENSE_TYPES:
        raise UserError(f"{task.path}: target: a {task.spec.modality} needs a field, not a template")
    parts = example.target
    assert isinstance(parts, tuple)
    words = " ".join(" ".join(p for p in parts if isinstance(p, str)).split())
    match task.spec.modality:
        case "label":
            return Label(words)
        case "number":
            try:
                return Number(float(words))
            except ValueError:
                raise BadRow(f"target '{words}' is not a number") from None
        case "boxes" | "points" | "keypoints":
            return _place(example)
        case "grounded_text":
            return _grounded(example)
    return Text(words)


def _place(example: Example) -> Value:
    """The only spatial value of a rendered target, back in the source frame."""
    parts = example.target if isinstance(example.target, tuple) else ()
    places = [p for p in parts if isinstance(p, Boxes | Points | Keypoints)]
    if len(places) != 1 or not example.geometries:
        raise BadRow(f"target holds {len(places)} places instead of one")
    return example.geometries[0].inverse().apply(places[0])


def _grounded(example: Example) -> GroundedText:
    """`[phrase]` and its boxes in turn, as a rendered target has them."""
    text, spans, boxes = "", [], [np.zeros((0, 4))]
    for part in example.target if isinstance(example.target, tuple) else ():
        if isinstance(part, str):
            text += part
        elif isinstance(part, Boxes) and example.geometries and (found := _PHRASE.search(text)):
            text = text[: found.start()] + found[1]
            spans += [(found.start(), len(text))] * len(part)
            boxes.append(example.geometries[0].inverse().apply(part).xyxy)
        else:
            raise BadRow("target has a place that follows no [phrase]")
    return GroundedText(text, tuple(spans), Boxes(np.concatenate(boxes)))
