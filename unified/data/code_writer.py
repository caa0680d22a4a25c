"""`unified cache`: makes the shards of a code cache, across processes and hosts, and goes on after a stop."""

from __future__ import annotations

import io
import json
import os
import socket
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch

from unified.data.code_cache import Origin, Shard, Unusable, key_checksum, tokenizer_hash, why_not
from unified.data.dataset import MAX_BAD_IN_A_ROW, TaskData
from unified.errors import UserError
from unified.sources.fields import read_fields
from unified.specs.build import build_example
from unified.specs.example import BadRow
from unified.tokenization.pixels import target_pixels
from unified.tokenization.tokenizer_set import TokenizerSet

ROWS_A_CALL = 32
"""Rows that are read, then encoded together."""


@dataclass(frozen=True)
class Job:
    """A shard and the data it is made of."""

    data: TaskData
    shard: Shard


def plan(
    tasks: Sequence[TaskData], split: str, tokenizers: TokenizerSet, side: int, root: Path
) -> tuple[list[Job], list[str]]:
    """All shards of the tasks, and a line for each task without any. Raises UserError where none has any."""
    reasons = {data.task.name: why_not(data) for data in tasks}
    left_out = [f"{name}: {reason}" for name, reason in reasons.items() if reason is not None]
    cached = [data for data in tasks if reasons[data.task.name] is None]
    if not cached:
        raise UserError("no task has codes that can be kept:\n  " + "\n  ".join(left_out))
    if side % tokenizers.code_cell:
        raise UserError(f"--size {side}: must be a multiple of {tokenizers.code_cell}, the pixels of a code")
    tokenizer = "" if tokenizers.image is None else tokenizer_hash(tokenizers)  # without weights: UserError
    jobs = []
    for data in cached:
        origin = Origin.of(data, split, tokenizers, tokenizer, side)
        jobs += [Job(data, shard) for shard in origin.shards(root)]
    return jobs, left_out


@dataclass
class Tally:
    """What was done: rows encoded, rows of shards that were there, rows that cannot be used (the first of
    each task with its reason)."""

    rows: int = 0
    known: int = 0
    absent: int = 0
    examples: dict[str, str] = field(default_factory=dict)


def write_codes(jobs: Sequence[Job], tokenizers: TokenizerSet, device: str, line: Progress) -> Tally:
    """Makes the shards that are not there. A whole and intact one is left alone, any other is made again."""
    encoder = tokenizers.image.to(device)
    tally = Tally()
    for job in jobs:
        keys = [_key(job.data, row) for row in job.shard.rows]
        about = _intact(job.shard, keys)
        if about is not None:
            tally.known += len(job.shard.rows)
        else:
            about = _write(job, keys, encoder, tokenizers, line)
            tally.rows += len(job.shard.rows)
        line.skip(len(job.shard.rows))
        tally.absent += len(about["absent"])
        for row, reason in about["absent"].items():
            tally.examples.setdefault(job.data.task.name, f"row {row}: {reason}")
    return tally


def _key(data: TaskData, row: int) -> int:
    try:
        return key_checksum(data.source.key(row))
    except BadRow:
        return key_checksum(f"row {row}")


def _intact(shard: Shard, keys: list[int]) -> dict[str, Any] | None:
    """The JSON of a shard that needs no work: nothing is wrong with it, and its rows are still the same."""
    try:
        _, about = shard.read()
    except Unusable:
        return None
    return about if about["keys"] == keys else None


def _write(
    job: Job, keys: list[int], encoder: Any, tokenizers: TokenizerSet, line: Progress
) -> dict[str, Any]:
    shard, absent, in_a_row = job.shard, {}, 0
    dtype = np.uint16 if tokenizers.config.image.codes <= 2**16 else np.int32
    codes = np.zeros((len(shard.rows), shard.origin.codes), dtype=dtype)
    for start in range(0, len(shard.rows), ROWS_A_CALL):
        places, pixels = [], []
        for place in range(start, min(start + ROWS_A_CALL, len(shard.rows))):
            row = shard.rows[place]
            try:
                pixels.append(_pixels(job.data, row, shard.origin.side))
                places.append(place)
                in_a_row = 0
            except BadRow as bad:
                absent[str(row)] = str(bad)
                in_a_row += 1
                if in_a_row == MAX_BAD_IN_A_ROW:
                    raise UserError(
                        f"{job.data.task.path}: {in_a_row} rows in a row could not be used; the last was row "
                        f"{row}: {bad}"
                    ) from None
        if pixels:
            exact = all(p.dtype == np.uint8 for p in pixels)
            batch = np.stack(pixels if exact else [p.astype(np.float32) for p in pixels])
            codes[places] = encoder.encode(torch.from_numpy(batch)).cpu().numpy()
        line.add(job, min(start + ROWS_A_CALL, len(shard.rows)))
    file = io.BytesIO()
    np.save(file, codes)
    about = {**shard.header(), "crc32": zlib.crc32(file.getbuffer()), "absent": absent, "keys": keys}
    shard.array.parent.mkdir(parents=True, exist_ok=True)
    _replace(shard.array, file.getvalue())
    _replace(shard.about, json.dumps(about).encode())  # last: with it the shard is there
    return about


def _pixels(data: TaskData, row: int, side: int) -> np.ndarray:
    """What the image tokenizer sees of a row's answer, (side, side, 3); no step that is random changes it."""
    values = read_fields(data.task, data.source[row], data.source)
    example = build_example(
        data.task, values, key="", rng=np.random.default_rng(0), training=False, image_size=side,
        target_size=side,
    )  # fmt: skip
    spec = data.task.spec.target
    assert example.target_geometry is not None and not isinstance(example.target, tuple)
    return target_pixels(example.target, example.target_geometry, spec.value_range, spec.palette)[0]


def _replace(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all. Errors name the file."""
    partial = path.with_name(f"{path.name}.{socket.gethostname()}-{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


class Progress:
    """Rows done, images/s and the time left: one line that is written over on a terminal, else one every
    `every` seconds."""

    def __init__(self, jobs: Sequence[Job], stream: TextIO, every: float = 10.0) -> None:
        self.total = sum(len(job.shard.rows) for job in jobs)
        self.left = self.total
        self.stream, self.live = stream, stream.isatty()
        self.every = 0.5 if self.live else every
        self.started = self.told = time.monotonic()
        self.made = self.before = 0

    def skip(self, rows: int) -> None:
        """A shard is there, made now or before."""
        self.left -= rows
        self.before = 0

    def add(self, job: Job, rows: int) -> None:
        """`rows` of a shard are encoded."""
        self.made += rows - self.before
        self.before = rows
        now = time.monotonic()
        if now - self.told < self.every:
            return
        self.told = now
        speed = self.made / (now - self.started)
        left = self.left - rows
        minutes, seconds = divmod(round(left / speed), 60)
        text = (
            f"{job.data.task.name}: {self.total - left:,} of {self.total:,} rows, {speed:.1f} images/s, "
            f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d} left"
        )
        self.stream.write(f"\r{text:<100}" if self.live else f"{text}\n")
        self.stream.flush()

    def close(self) -> None:
        if self.live and self.made:
            self.stream.write("\n")


def part(jobs: Sequence[Job], index: int, count: int) -> Iterator[Job]:
    """Every count-th shard, from `index` on: equal work for all, whatever the sizes of the tasks."""
    yield from jobs[index::count]
