"""Reading a few rows of whatever data is on this machine, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from unified.errors import UserError
from unified.evaluation.cases import answer_fields, is_answered
from unified.evaluation.predictor import through_tokenizers
from unified.sources.base import RowSource, RowStream
from unified.sources.fields import read_fields
from unified.sources.hf import only_on_hub
from unified.sources.location import AbsentFile, MissingData, Place, where_from
from unified.sources.open import open_source
from unified.specs.build import build_example
from unified.specs.check import Report
from unified.specs.example import BadRow, Example
from unified.specs.task import LoadedTask
from unified.tokenization.processor import Processor
from unified.tokenization.tokenizer_set import TokenizerSet
from unified.values.types import Text

ROWS = 8
"""Rows of each split, spread evenly over it; of a stream the first ones."""
MAX_TEXT = 1024
"""Tokens of the longest answer that passes: a model may have less room."""


@dataclass
class DataCheck:
    """What came of one task. `read`: what was read of each split; `absent`: the splits whose data, or whose
    pictures, are not here, and what is missing; `broken`: what is wrong with the data or the spec."""

    task: LoadedTask
    read: list[str] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{'broken' if self.broken else 'ok    '}  {self.task.name}  {', '.join(self.read)}"]
        if not self.read and not self.broken:
            lines = []
        lines += [f"  {problem}" for problem in self.broken]
        if self.absent:
            lines.append(f"absent  {self.task.name}  {', '.join(self.absent)}")
            lines += [f"  {reason}" for reason in dict.fromkeys(self.absent.values())]
            lines += [f"  {line}" for line in _where_from(self.task)]
        return "\n".join(lines)


def check_data(tasks: Iterable[LoadedTask], tokenizers: str) -> Iterator[DataCheck]:
    """Reads rows of every split of every task that has a source, builds their examples, and takes the true
    answers through a tokenizer set and back. Nothing is downloaded."""
    found = TokenizerSet.load(tokenizers)
    side = found.config.image.size
    processor = Processor(
        found, image_size=side, patch_size=found.code_cell, target_size=side, max_input_length=MAX_TEXT,
        max_target_length=MAX_TEXT,
    )  # fmt: skip
    for task in tasks:
        if task.spec.source is None:
            continue
        check = DataCheck(task)
        for split in task.spec.source.splits:
            _check_split(check, split, processor)
        yield check


def tell_data(report: Report, tokenizers: str) -> int:
    """Prints what came of the specs and of their data. The exit status: 0 also where data is absent, 2 where
    a spec or a row is broken."""
    for problem in report.problems:
        print(problem)
    broken = len(report.problems)
    for check in check_data(report.tasks, tokenizers):
        print(check, flush=True)
        broken += len(check.broken)
    return 2 if broken else 0


def _check_split(found: DataCheck, split: str, processor: Processor) -> None:
    task = found.task
    try:
        if reason := only_on_hub(task):
            found.absent[split] = reason
            return
        source = open_source(task, split)
    except MissingData as missing:
        found.absent[split] = str(missing).partition("\n")[0].removeprefix(f"{task.path}: ")
        return
    except UserError as error:
        found.broken.append(f"{split}: {str(error).removeprefix(f'{task.path}: ')}")
        return
    answers = answer_fields(task.spec)
    examples: list[Example] = []
    rows, absent, answered = 0, [], 0
    bad_rows: dict[str, list[str]] = {}
    try:
        for key, row in _rows(source):
            rows += 1
            try:
                if isinstance(row, BadRow):
                    raise row
                values = read_fields(task, row, source, optional=answers)
                whole = is_answered(task.spec, values)
                example = build_example(
                    task, values, key=key, rng=np.random.default_rng(0), training=False,
                    image_size=processor.image_size, target_size=processor.target_size, with_target=whole,
                )  # fmt: skip
                processor.encode(example, task)
                answered += whole
                examples += [example] if whole else []
            except BadRow as bad:
                if isinstance(bad, AbsentFile) or isinstance(bad.__cause__, AbsentFile):
                    absent.append(str(bad))
                else:
                    bad_rows.setdefault(str(bad), []).append(key)
        note = _round_trip(found, split, examples, processor)
    except UserError as error:
        found.broken.append(f"{split}: {str(error).removeprefix(f'{task.path}: ')}")
        return
    for reason, keys in bad_rows.items():
        more = f" (and {len(keys) - 1} more of {rows} rows)" if len(keys) > 1 else ""
        found.broken.append(f"{split}: {keys[0]}: {reason}{more}")
    if absent:
        found.absent[split] = f"{split}: {len(absent)} of {rows} rows: {absent[0]}"
    used = rows - len(absent) - sum(map(len, bad_rows.values()))
    if used:
        total = len(source) if isinstance(source, RowSource) else "a stream"
        without = "" if answered == used else ", not all with an answer"
        found.read.append(f"{split} {used} of {total}{without}{note}")
    elif not rows:
        found.broken.append(f"{split}: has no rows")


def _rows(source: RowSource | RowStream) -> Iterator[tuple[str, dict[str, object] | BadRow]]:
    if isinstance(source, RowStream):
        yield from islice(source, ROWS)
        return
    n = min(ROWS, len(source))
    for i in range(n):
        index = i * len(source) // n
        try:
            row: dict[str, object] | BadRow = source[index]
        except BadRow as bad:
            row = bad
        yield source.key(index), row


def _round_trip(found: DataCheck, split: str, examples: list[Example], processor: Processor) -> str:
    """Takes the true answers through the tokenizers; a note on text that does not come back the same."""
    back = through_tokenizers(processor, found.task, examples, device="cpu") if examples else []
    changed = 0
    for example, value in zip(examples, back, strict=True):
        written = example.target
        if isinstance(value, Text) and isinstance(written, tuple):
            text = "".join(part for part in written if isinstance(part, str))
            changed += " ".join(text.split()) != " ".join(value.text.split())
    return f", {changed} answers change in the text tokenizer" if changed else ""


def _where_from(task: LoadedTask) -> list[str]:
    source = task.spec.source
    try:
        root = str(Place.of(task).root)
    except MissingData:
        root = (source.root if source is not None else None) or "."
    return where_from(task, root).splitlines()
