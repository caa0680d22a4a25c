"""Sample i of a run as a tokenised example, and what happens to rows that cannot be read."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unified.data.order import MixtureOrder
from unified.data.streaming import StreamedRows
from unified.errors import UserError, file_error
from unified.sources.base import RowSource, RowStream
from unified.sources.fields import read_fields
from unified.sources.open import open_source
from unified.specs.build import build_example
from unified.specs.example import BadRow
from unified.specs.load import LoadedMixture, LoadedTask

if TYPE_CHECKING:
    from unified.data.code_cache import CachedCodes
    from unified.tokenization.processor import Encoded, Processor

MAX_BAD_IN_A_ROW = 100
MAX_BAD_SHARE = 0.01


@dataclass(frozen=True)
class TaskData:
    """A task and its rows. `streamed`: rows come in the stream's own order."""

    task: LoadedTask
    source: RowSource

    @property
    def streamed(self) -> bool:
        return isinstance(self.source, StreamedRows)

    @classmethod
    def of(cls, task: LoadedTask, source: RowSource | RowStream) -> TaskData:
        return cls(task, StreamedRows(source) if isinstance(source, RowStream) else source)


def open_tasks(mixture: LoadedMixture, split: str) -> list[TaskData]:
    """The rows of every task of a mixture."""
    return [TaskData.of(entry.task, open_source(entry.task, split)) for entry in mixture.entries]


@dataclass(frozen=True)
class SkippedRow:
    """A row that gave no example, and why."""

    task: str
    row: int
    key: str
    reason: str


class MixtureDataset:
    """Sample i of a run, tokenised: `dataset[i] -> (Encoded, [SkippedRow, ...])`.

    A row that cannot be used is replaced by the next one of the same task's permutation, so the result
    remains a pure function of (seed, i). 100 bad rows in a row raise UserError. Without `vary`, a row is
    always read as evaluation reads it: first prompt, first answer, no random steps. `codes`: by task name,
    the picture answers whose codes are there (`code_cache.open_codes`); those of others, and of rows that
    could not be used when the codes were made, are left to `Batch.with_codes`. `patches`: of each input
    picture that many patches are seen, drawn at random; None: all.
    """

    def __init__(
        self,
        tasks: Sequence[TaskData],
        order: MixtureOrder,
        processor: Processor,
        vary: bool = True,
        codes: Mapping[str, CachedCodes] | None = None,
        patches: int | None = None,
    ) -> None:
        self.tasks = tasks
        self.order = order
        self.processor = processor
        self.vary = vary
        self.codes = codes or {}
        self.patches = patches

    def __getitem__(self, index: int) -> tuple[Encoded, list[SkippedRow]]:
        data = self.tasks[self.order.sample(index).task]
        skipped: list[SkippedRow] = []
        while len(skipped) < MAX_BAD_IN_A_ROW:
            sample = self.order.sample(index, attempt=len(skipped))
            row = sample.ordinal if data.streamed else sample.row
            key = f"row {row}"
            try:
                key = data.source.key(row)
                values = read_fields(data.task, data.source[row], data.source)
                rng = self.order.rng(sample)
                example = build_example(
                    data.task, values, key=key, rng=rng, training=self.vary,
                    image_size=self.processor.image_size, target_size=self.processor.target_size,
                )  # fmt: skip
                cached = self.codes.get(data.task.name)
                codes = cached(row, key) if cached is not None else None
                encoded = self.processor.encode(example, data.task, codes)
                return encoded if self.patches is None else _some(encoded, self.patches, rng), skipped
            except OSError as error:
                raise UserError(f"{data.task.path}: {key} cannot be read: {file_error(error)}") from error
            except BadRow as bad:
                skipped.append(SkippedRow(data.task.name, row, key, str(bad)))
        raise UserError(
            f"{data.task.path}: {MAX_BAD_IN_A_ROW} rows in a row could not be used; the last was "
            f"{skipped[-1].key}: {skipped[-1].reason}. Is its data still where it was?"
        )


def _some(encoded: Encoded, patches: int, rng: np.random.Generator) -> Encoded:
    """Some of the patches of each picture, as Unified-IO trains on 128 of 576 (section 3.3)."""
    mask = np.zeros_like(encoded.patch_mask)
    for kept, seen in zip(mask, encoded.patch_mask, strict=True):
        kept[rng.permutation(seen.nonzero()[0])[:patches]] = True
    return replace(encoded, patch_mask=mask)


@dataclass
class SkipLog:
    """The rows that a run could not use, each once in the file `path` (skipped.jsonl), and their count by
    task. The file is the memory: what other ranks and earlier starts of the run wrote down counts too.

    `record` raises UserError when more than 1 % of a task's rows have been skipped.
    """

    path: Path
    rows: dict[str, int]
    seen: dict[str, set[int]] = field(default_factory=dict)
    _read: int = 0
    """Bytes of the file that are counted in `seen`."""

    def record(self, skipped: Sequence[SkippedRow]) -> None:
        if not skipped:
            return
        self.counts()
        new = {(r.task, r.row): r for r in skipped if r.row not in self.seen.get(r.task, ())}
        if not new:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:  # one write, so that lines of ranks do not mix
            file.write("".join(json.dumps(asdict(row)) + "\n" for row in new.values()).encode())
        for task, row in new:
            self.seen.setdefault(task, set()).add(row)
        counts = self.counts()
        for last in new.values():
            if counts[last.task] > MAX_BAD_SHARE * self.rows[last.task]:
                raise UserError(
                    f"{last.task}: {counts[last.task]} of {self.rows[last.task]} rows could not be used, "
                    f"more than {MAX_BAD_SHARE:.0%}; the last was {last.key}: {last.reason}. All stand in "
                    f"{self.path}: mend them and delete that file, and the same command continues"
                )

    def counts(self) -> dict[str, int]:
        """Rows skipped so far by task, by all ranks."""
        if self.path.is_file():
            with self.path.open("rb") as file:
                file.seek(self._read)
                whole, _, _ = file.read().rpartition(b"\n")
            self._read += len(whole) + bool(whole)
            for line in whole.splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError):  # cut short by a crash
                    row = json.loads(line)
                    self.seen.setdefault(row["task"], set()).add(row["row"])
        return {task: len(rows) for task, rows in self.seen.items()}
