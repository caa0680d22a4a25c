"""Image codes of picture answers, made once: what a cache folder holds, and how training reads it.

    DIR/<task>@v<version>-<spec hash>/<tokenizer hash>-<side>px/
        <split>-<shard>.npy   (rows, codes), uint16 or int32
        <split>-<shard>.json  what it was made of

A shard is `SHARD` rows of a split in the order of the source. Its JSON says which spec, tokenizer, side and
rows it belongs to, a checksum of the array, a checksum of each row's key and which rows are absent (unusable
when it was made). Nothing that augmentation changes is stored: `why_not` says which tasks have no such codes.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from unified.errors import UserError
from unified.specs.library import task_files
from unified.specs.preprocess import Choose
from unified.values.types import DENSE_TYPES

if TYPE_CHECKING:
    from unified.data.dataset import TaskData
    from unified.tokenization.tokenizer_set import TokenizerSet

SHARD = 1024
"""Rows of a shard: what a killed process does again at most."""
FORMAT = 1
OPEN = 256
"""Shards that a process keeps mapped for each task."""


def why_not(data: TaskData) -> str | None:
    """Why a task's answers have no codes that could be kept, or None where they have."""
    task = data.task
    if task.spec.modality not in DENSE_TYPES:
        return f"its answers are {task.spec.modality}, not pictures"
    if data.streamed:
        return "its rows are a stream, which has no row numbers"
    chosen = False
    for op, step in zip(task.ops, task.spec.preprocess, strict=True):
        if op.random:
            return f"{next(iter(step))} moves the answer, each time differently"
        # what a random choice is then used for may be the answer's own pixels
        if chosen and task.spec.target.field in op.fields().values():
            return f"{next(iter(step))} changes the answer by a random choice"
        chosen |= isinstance(op, Choose)
    return None


def tokenizer_hash(tokenizers: TokenizerSet) -> str:
    """Identifies what a code means: the set's hash, and the weights that a set without them is told by."""
    image = tokenizers.config.image
    if image.how_to_get is None:
        return tokenizers.hash
    digest = hashlib.sha256(tokenizers.hash.encode())
    with (tokenizers.folder / image.weights).open("rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


@dataclass(frozen=True)
class Origin:
    """What all shards of a task and split are made of.

    task: its identity; tokenizer: `tokenizer_hash`; side: pixels of the square that is encoded; codes: how
    many that gives; rows: how many the split has.
    """

    task: str
    tokenizer: str
    side: int
    codes: int
    split: str
    rows: int
    format: int = FORMAT

    @classmethod
    def of(cls, data: TaskData, split: str, tokenizers: TokenizerSet, tokenizer: str, side: int) -> Origin:
        codes = (side // tokenizers.code_cell) ** 2
        return cls(data.task.identity, tokenizer, side, codes, split, len(data.source))

    def folder(self, root: Path) -> Path:
        name = self.task.replace("/", "_").replace(":", "-")
        return root / name / f"{self.tokenizer[:12]}-{self.side}px"

    def shards(self, root: Path) -> list[Shard]:
        return [
            Shard(self, root, n, range(start, min(start + SHARD, self.rows)))
            for n, start in enumerate(range(0, self.rows, SHARD))
        ]


@dataclass(frozen=True)
class Shard:
    """Some rows of a task and split."""

    origin: Origin
    root: Path
    number: int
    rows: range

    @property
    def array(self) -> Path:
        return self.origin.folder(self.root) / f"{self.origin.split}-{self.number:06d}.npy"

    @property
    def about(self) -> Path:
        return self.array.with_suffix(".json")

    def header(self) -> dict[str, Any]:
        """What its JSON must say."""
        return {**asdict(self.origin), "first": self.rows.start, "end": self.rows.stop}

    def read(self) -> tuple[npt.NDArray[Any], dict[str, Any]]:
        """The mapped array (rows, codes) and the JSON, both verified. Raises Unusable, saying why."""
        try:
            about = json.loads(self.about.read_text())
            checksum = zlib.crc32(self.array.read_bytes())
            array = np.load(self.array, mmap_mode="r")
        except FileNotFoundError as error:
            raise Unusable(f"{error.filename}: is missing") from None
        except (OSError, ValueError) as error:
            raise Unusable(f"{self.array}: is damaged ({str(error).splitlines()[0]})") from None
        expected = self.header()
        found = {key: about.get(key) for key in expected} if isinstance(about, dict) else {}
        wrong = [key for key in expected if found.get(key) != expected[key]]
        if wrong:
            told = ", ".join(f"{key} {found.get(key)} instead of {expected[key]}" for key in wrong)
            raise Unusable(f"{self.about}: was made of something else: {told}")
        if checksum != about["crc32"] or array.shape != (len(self.rows), self.origin.codes):
            raise Unusable(f"{self.array}: is damaged: its checksum is not the one in {self.about.name}")
        return array, about


class Unusable(Exception):
    """A shard that is not there, damaged, or of something else."""


def key_checksum(key: str) -> int:
    return zlib.crc32(key.encode())


class CachedCodes:
    """The codes of one task, read by memory map. A shard is verified when a process first reads from it."""

    def __init__(self, origin: Origin, root: Path, mend: str) -> None:
        """mend: the command that makes what is missing. Raises UserError where a shard is missing."""
        self.shards, self.mend = origin.shards(root), mend
        self._mapped: OrderedDict[int, tuple[npt.NDArray[Any], dict[str, Any]]] = OrderedDict()
        missing = [shard for shard in self.shards if not shard.about.exists()]
        if missing:
            raise UserError(f"data.cache: {self._lacks(missing, origin, root)}. To make it:\n  {mend}")

    @staticmethod
    def _lacks(missing: list[Shard], origin: Origin, root: Path) -> str:
        rows = sum(len(shard.rows) for shard in missing)
        lacks = (
            f"{root} lacks the codes of {rows:,} of the {origin.rows:,} {origin.split} rows of {origin.task}"
        )
        name = origin.task.rpartition(":")[0].rpartition("@")[0].replace("/", "_")
        others = [p for p in sorted(root.glob(f"{name}@*/*px")) if p != origin.folder(root)]
        wanted = f"with the tokenizer {origin.tokenizer[:12]} at {origin.side} px"
        there = f" ({wanted}; it holds {', '.join(str(p.relative_to(root)) for p in others)})"
        return lacks + (there if others and not origin.folder(root).exists() else f" {wanted}")

    def __call__(self, row: int, key: str) -> npt.NDArray[np.int64] | None:
        """The codes (n,) of a row, or None where the row could not be used when the cache was made.

        Raises UserError where the shard is not what the run needs, or the row is another one by now.
        """
        number, place = divmod(row, SHARD)
        array, about = self._shard(number)
        if about["keys"][place] != key_checksum(key):
            raise UserError(
                f"{self.shards[number].about}: row {row} is {key} now and was another one when its codes "
                f"were made: the data has changed. To mend it:\n  {self.mend}"
            )
        if str(row) in about["absent"]:
            return None
        return array[place].astype(np.int64)

    def _shard(self, number: int) -> tuple[npt.NDArray[Any], dict[str, Any]]:
        if number not in self._mapped:
            try:
                self._mapped[number] = self.shards[number].read()
            except Unusable as error:
                raise UserError(f"{error}. To mend it:\n  {self.mend}") from None
            if len(self._mapped) > OPEN:
                self._mapped.popitem(last=False)
        return self._mapped[number]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_mapped": OrderedDict()}  # a worker maps its own


def open_codes(
    root: Path, tasks: Sequence[TaskData], split: str, tokenizers: TokenizerSet, side: int, given: str
) -> dict[str, CachedCodes]:
    """The cached codes of every task that can have them, by task name. Raises UserError where some are
    missing, with the command that makes them. given: its option that names the set."""
    if not root.is_dir():
        raise UserError(
            f"data.cache: {root}: there is no such folder; `unified cache --help` says how to make it"
        )
    cached = [data for data in tasks if why_not(data) is None]
    tokenizer = tokenizer_hash(tokenizers) if cached else ""
    found = {}
    for data in cached:
        shipped = task_files().get(data.task.name) == data.task.path
        spec = data.task.name if shipped else shlex.quote(str(data.task.path))
        command = f"unified cache {spec} {given} --split {split} --out {shlex.quote(str(root))}"
        if side != tokenizers.config.image.size:
            command += f" --size {side}"
        origin = Origin.of(data, split, tokenizers, tokenizer, side)
        found[data.task.name] = CachedCodes(origin, root, command)
    return found
