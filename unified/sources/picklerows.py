"""Rows of pickles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unified.sources.base import Row, RowSource, concatenate
from unified.sources.jsonrows import PackedRows
from unified.sources.location import Place
from unified.sources.records import Columns, Listed, is_columns, no_rows, records_of, rows_in, walk
from unified.sources.unpickle import load_pickle
from unified.specs.source_schema import PickleSource


def open_pickle(place: Place, spec: PickleSource, split: str) -> RowSource:
    """The rows of one split."""
    records = records_of(spec.records, split, place.at())
    files = place.files(spec.splits[split], f"splits.{split}")
    return concatenate([_open_file(path, place, spec, records) for path in files])


def _open_file(path: Path, place: Place, spec: PickleSource, records: str | None) -> RowSource:
    where = place.at()
    found = walk(load_pickle(path, where), records, path, where)
    name = f"{path.name}:{records or ''}"
    rows = rows_in(found, spec, path, where)
    if rows is not None:
        return _rows(list(rows), place.root, name)
    if is_columns(found):
        return Columns(found, place.root, name, place.wanted())
    raise no_rows(found, records, path, where)


def _rows(rows: list[Row], root: Path, name: str) -> RowSource:
    """Rows as JSON text where JSON can say what they hold (tuples become lists), else as they are."""
    return PackedRows(rows, root, name) if all(map(_is_json, rows)) else Listed(rows, root, name)


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_json, value))
    return value is None or isinstance(value, (str, int, float))
