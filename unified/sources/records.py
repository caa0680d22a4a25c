"""The rows in a document that was read as a whole: JSON, pickles, MATLAB variables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unified.errors import UserError
from unified.sources.base import Row, RowSource
from unified.specs.source_schema import Documents

DOCUMENT = "."
"""`records` of a document that is itself what holds the rows."""


def records_of(spec_records: str | dict[str, str] | None, split: str, where: str) -> str | None:
    """`records` for one split."""
    if not isinstance(spec_records, dict):
        return spec_records
    if split not in spec_records:
        raise UserError(f"{where}.records: nothing for split '{split}'; there is: {', '.join(spec_records)}")
    return spec_records[split]


def walk(document: Any, records: str | None, path: Path, where: str) -> Any:
    """What stands in the document at `records`."""
    found, walked = document, ""
    for name in records.split(".") if records and records != DOCUMENT else ():
        walked = f"{walked}.{name}" if walked else name
        if not isinstance(found, Mapping) or name not in found:
            there = f"it has: {', '.join(map(str, list(found)[:12]))}" if isinstance(found, Mapping) else None
            raise UserError(
                f"{where}.records: no key '{walked}' in {path} ({there or 'it holds ' + _kind(found)})"
            )
        found = found[name]
    return found


def rows_in(found: Any, spec: Documents, path: Path, where: str) -> Iterator[Row] | None:
    """The rows of a list, or of a mapping whose keys have a name; None of anything else."""
    if spec.key is not None:
        rows = keyed(found, spec.key, path, where)
    elif isinstance(found, (list, tuple)) or (isinstance(found, np.ndarray) and found.ndim == 1):
        rows = listed(found)
    else:
        return None
    return unfold(rows, spec.each, path, where)


def keyed(found: Any, key: str, path: Path, where: str) -> Iterator[Row]:
    """The values of a mapping, each with its key under the name `key`."""
    if not isinstance(found, Mapping):
        raise UserError(f"{where}.key: {path} holds {_kind(found)} there, not a mapping of rows")
    for name, value in found.items():
        if not isinstance(value, Mapping):
            yield {key: name, "value": value}
        elif key in value and str(value[key]) != str(name):
            raise UserError(
                f"{where}.key: in {path} the row of '{name}' has a key '{key}' of its own, which says "
                f"'{value[key]}'; choose another name for the mapping's keys"
            )
        else:
            yield {key: name, **value}


def listed(found: Iterable[Any]) -> Iterator[Row]:
    """The items of a list; those that are no mappings stand under `value`."""
    for item in found:
        yield item if isinstance(item, dict) else {"value": item}


def unfold(rows: Iterable[Row], each: Sequence[str], path: Path, where: str) -> Iterator[Row]:
    """The items of the list at `each[0]` of every row, with the row's other keys, and so on inside. Items
    that are no mappings stand under the list's own name."""
    if not each:
        yield from rows
        return
    name, *inside = each
    for number, row in enumerate(rows):
        if not isinstance(row.get(name), (list, tuple)):
            there = ", ".join(map(str, list(row)[:12]))
            raise UserError(f"{where}.each: {path}: row {number} has no list '{name}' (it has: {there})")
        rest = {key: value for key, value in row.items() if key != name}
        items = ({**rest, **(item if isinstance(item, dict) else {name: item})} for item in row[name])
        yield from unfold(items, inside, path, where)


def is_columns(found: Any) -> bool:
    """Whether a mapping is one of equally long lists or arrays."""
    if not isinstance(found, Mapping) or not found:
        return False
    columns = list(found.values())
    if not all(isinstance(c, (list, tuple)) or (isinstance(c, np.ndarray) and c.ndim) for c in columns):
        return False
    return len({len(column) for column in columns}) == 1


def no_rows(found: Any, records: str | None, path: Path, where: str) -> UserError:
    """What to say of a document that holds neither rows nor columns."""
    what = f"'{records}' in {path}" if records and records != DOCUMENT else f"{path}"
    if not isinstance(found, Mapping):
        return UserError(f"{where}.records: {what} is {_kind(found)}, no list of rows")
    keys = f": {', '.join(map(str, list(found)[:12]))}" if found else ", but it is empty"
    return UserError(
        f"{where}.records: {what} is no list of rows; name the key that holds it, among{keys} (if the values "
        f"there are the rows, `key: name` says what to call their keys)"
    )


class Columns(RowSource):
    """Rows of equally long columns, lists or arrays."""

    def __init__(
        self, columns: Mapping[str, Sequence[Any]], root: Path, name: str, wanted: frozenset[str]
    ) -> None:
        self.root, self.name = root, name
        self.length = len(next(iter(columns.values())))
        self.columns = {str(k): v for k, v in columns.items() if str(k) in wanted}
        self.absent = [str(k) for k in columns if str(k) not in wanted]
        """Columns that no field reads; they are not kept."""

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return {name: _cell(column[index]) for name, column in self.columns.items()}

    def key(self, index: int) -> str:
        return f"{self.name}[{index}]"

    def column(self, name: str) -> Iterator[Any]:
        if name in self.columns:
            yield from map(_cell, self.columns[name])
        else:
            yield from super().column(name)


class Listed(RowSource):
    """Rows held as they are, for those that JSON cannot hold."""

    def __init__(self, rows: Sequence[Row], root: Path, name: str) -> None:
        self.root, self.name, self.rows = root, name, list(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return dict(self.rows[index])

    def key(self, index: int) -> str:
        return f"{self.name}[{index}]"


def _cell(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _kind(found: Any) -> str:
    if isinstance(found, Mapping):
        return "a mapping"
    return "a list" if isinstance(found, (list, tuple)) else f"a {type(found).__name__}"
