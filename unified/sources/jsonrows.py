"""JSON lines and JSON documents.

Rows stay JSON text until they are asked for: lines in the memory-mapped file, rows of a document
packed into one buffer. Nothing is converted to columns, because that would change what rows say:
types of a column would be unified, text that looks like a date would become one, and mappings with
free keys would get every key of the file.
"""

from __future__ import annotations

import json
import mmap
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unified.errors import UserError
from unified.sources.base import Row, RowSource, concatenate
from unified.sources.location import find_file, find_files, source_root
from unified.specs.example import BadRow
from unified.specs.schema import JsonSource

if TYPE_CHECKING:
    from unified.specs.load import LoadedTask


def open_json(task: LoadedTask, spec: JsonSource, split: str) -> RowSource:
    """The rows of one split, joined where the spec says so."""
    root = source_root(task)
    files = find_files(task, spec.splits[split], f"source.splits.{split}")
    key = f"{task.path}: source"
    rows = concatenate([_open_file(path, root, spec.records, key) for path in files])
    if not spec.join:
        return rows
    if split not in spec.join.splits:
        raise UserError(
            f"{task.path}: source.join.splits: no split '{split}', but source.splits has it; add the file "
            f"whose rows are joined"
        )
    other = find_file(task, spec.join.splits[split], f"source.join.splits.{split}")
    right = _open_file(other, root, spec.join.records, f"{task.path}: source.join")
    return Joined(rows, right, spec.join.on, other, f"{task.path}: source.join.on")


def _open_file(path: Path, root: Path, records: str | None, key: str) -> RowSource:
    """With `records` a document; without, a document that is a list, or else JSON lines."""
    if path.suffix in (".gz", ".zip", ".bz2", ".xz", ".zst"):
        raise UserError(f"{key}: {path} is compressed, which random access cannot use; unpack it first")
    if records is None and not _is_list(path):
        return JsonLines(path, root, key)
    found = load_document(path, key)
    walked = ""
    for name in records.split(".") if records else ():
        walked = f"{walked}.{name}" if walked else name
        if not isinstance(found, dict) or name not in found:
            there = f"it has: {', '.join(list(found)[:12])}" if isinstance(found, dict) else "it holds a list"
            raise UserError(f"{key}.records: no key '{walked}' in {path} ({there})")
        found = found[name]
    if not isinstance(found, list):
        keys = f" among: {', '.join(list(found)[:12])}" if isinstance(found, dict) else ""
        what = f"'{records}' in {path}" if records else f"{path}"
        raise UserError(f"{key}.records: {what} is no list of rows; name the key that holds it{keys}")
    return PackedRows(found, root, f"{path.name}:{records or ''}")


def _is_list(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def load_document(path: Path, key: str) -> Any:
    """The JSON document in `path`. Raises UserError with the line where it is broken."""
    try:
        with path.open("rb") as file:
            return json.load(file)
    except (ValueError, RecursionError) as error:  # also text that is not UTF-8
        raise UserError(f"{key}: {path} is not valid JSON: {error}") from error


class JsonLines(RowSource):
    """A file with one JSON object a line; blank lines are passed over."""

    def __init__(self, path: Path, root: Path, key: str) -> None:
        self.path = path
        self.root = root
        starts, ends, numbers = array("q"), array("q"), array("q")
        position = 0
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.isspace():
                    mark = 3 if number == 1 and line.startswith(b"\xef\xbb\xbf") else 0
                    if not starts and line[mark:].strip() == b"{":
                        raise UserError(
                            f"{key}: {path} is one JSON document, not a row a line; name the key that holds "
                            f"its list of rows with `records`"
                        )
                    starts.append(position + mark)
                    ends.append(position + len(line))
                    numbers.append(number)
                position += len(line)
        if not starts:
            raise UserError(f"{key}: {path} holds no rows")
        self.starts, self.ends, self.numbers = np.array(starts), np.array(ends), np.array(numbers)
        self._map: mmap.mmap | None = None

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        if self._map is None:
            with self.path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return _parse(self._map[self.starts[index] : self.ends[index]])

    def key(self, index: int) -> str:
        return f"{self.path.name}:{self.numbers[index]}"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_map": None}


class PackedRows(RowSource):
    """Rows kept as JSON text in one buffer: a tenth of the memory of Python objects, and nothing
    whose reference counts worker processes would touch."""

    def __init__(self, rows: Iterable[Any], root: Path, name: str) -> None:
        self.root = root
        self.name = name
        buffer = bytearray()
        ends = array("q")
        for row in rows:
            buffer += json.dumps(row, separators=(",", ":")).encode()
            ends.append(len(buffer))
        self.buffer = bytes(buffer)
        self.ends = np.array(ends, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = self.ends[index - 1] if index else 0
        return _parse(self.buffer[start : self.ends[index]])

    def key(self, index: int) -> str:
        return f"{self.name}[{index}]"


class Joined(RowSource):
    """Rows of `left` with the keys of the row of `right` that has the same `on`; left's own keys stay."""

    def __init__(self, left: RowSource, right: RowSource, on: str, other: Path, key: str) -> None:
        self.root = left.root
        self.left, self.right, self.on, self.other = left, right, on, other
        self.matches: dict[str, int] = {}
        for index, value in enumerate(right.column(on)):
            if value is None:
                continue
            if str(value) in self.matches:
                first = right.key(self.matches[str(value)])
                raise UserError(
                    f"{key}: '{on}' = {value} stands in two rows of {other} ({first} and "
                    f"{right.key(index)}); join on a key that is unique there"
                )
            self.matches[str(value)] = index
        if not self.matches:
            raise UserError(f"{key}: no row of {other} has the key '{on}'")

    def __len__(self) -> int:
        return len(self.left)

    def __getitem__(self, index: int) -> Row:
        row = self.left[index]
        if row.get(self.on) is None:
            raise BadRow(f"no key '{self.on}' to join on")
        match = self.matches.get(str(row[self.on]))
        if match is None:
            raise BadRow(f"no row with '{self.on}' = {row[self.on]} in {self.other.name}")
        return self.right[match] | row

    def key(self, index: int) -> str:
        return self.left.key(index)


def _parse(text: bytes) -> Row:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRow(f"not valid JSON: {error}") from error
    if not isinstance(row, dict):
        raise BadRow(f"a row is a JSON object, found {type(row).__name__}")
    return row
