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
from typing import Any

import numpy as np

from unified.errors import UserError
from unified.sources.base import Row, RowSource, concatenate
from unified.sources.location import Place
from unified.sources.records import is_columns, no_rows, records_of, rows_in, unfold, walk
from unified.specs.example import BadRow
from unified.specs.source_schema import JsonSource

COMPRESSED = (".gz", ".zip", ".bz2", ".xz", ".zst")


def open_json(place: Place, spec: JsonSource, split: str) -> RowSource:
    """The rows of one split."""
    records = records_of(spec.records, split, place.at())
    files = place.files(spec.splits[split], f"splits.{split}")
    return concatenate([_open_file(path, place, spec, records) for path in files])


def _open_file(path: Path, place: Place, spec: JsonSource, records: str | None) -> RowSource:
    """With `records` or `key` a document; without, a document that is a list, or else JSON lines."""
    where = place.at()
    if path.suffix in COMPRESSED:
        raise UserError(f"{where}: {path} is compressed, which random access cannot use; unpack it first")
    if records is None and spec.key is None and not _is_list(path):
        lines = JsonLines(path, place.root, where)
        if not spec.each:
            return lines
        all_lines = (lines[i] for i in range(len(lines)))
        return PackedRows(unfold(all_lines, spec.each, path, where), place.root, path.name)
    found = walk(load_document(path, where), records, path, where)
    name = f"{path.name}:{records or ''}"
    rows = rows_in(found, spec, path, where)
    if rows is not None:
        return PackedRows(rows, place.root, name)
    if is_columns(found):
        return PackedRows((dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)),
                          place.root, name)  # fmt: skip
    raise no_rows(found, records, path, where)


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
                            f"its list of rows with `records` (`key` if it is a mapping of rows)"
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


def _parse(text: bytes) -> Row:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRow(f"not valid JSON: {error}") from error
    if not isinstance(row, dict):
        raise BadRow(f"a row is a JSON object, found {type(row).__name__}")
    return row
