"""CSV and parquet: Arrow tables, memory-mapped, through `datasets`."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Literal

from unified.errors import UserError
from unified.sources.arrow import ArrowRows, load_local
from unified.sources.base import RowSource, concatenate
from unified.sources.location import Place
from unified.specs.source_schema import CsvSource, ParquetSource


def open_csv(place: Place, spec: CsvSource, split: str) -> RowSource:
    """Rows of CSV files. Cells are text, exactly as written ("007", "NA", "None"); an empty cell is null."""
    key = f"splits.{split}"
    files = place.files(spec.splits[split], key)
    return concatenate([_csv_file(place, spec, path, place.at(key)) for path in files])


def _csv_file(place: Place, spec: CsvSource, path: Path, key: str) -> RowSource:
    from datasets import Features, Value

    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if spec.quotes else csv.QUOTE_NONE
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=spec.delimiter, quoting=quoting)
            header = spec.columns or next(reader, None)
            first = next(reader, None)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{key}: {path} is not UTF-8 CSV text: {error}") from error
    if header is None or first is None:
        under = "" if spec.columns else " under a header"
        raise UserError(f"{key}: {path} holds no rows{under}")
    twice = {name for name in header if header.count(name) > 1}
    if twice:
        raise UserError(f"{key}: {path} has two columns named {', '.join(map(repr, sorted(twice)))}")
    if len(first) > len(header):
        raise UserError(
            f"{key}: {path} has {len(header)} column names but its first row has {len(first)} cells"
        )
    table = load_local(
        key,
        "csv",
        [path],
        sep=spec.delimiter,
        quoting=quoting,
        **({"header": None, "names": spec.columns} if spec.columns else {}),
        features=Features({name: Value("string") for name in header}),
        na_filter=False,
        encoding="utf-8-sig",
    )
    return CsvRows(table, place.root, path.name)


class CsvRows(ArrowRows):
    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: cell or None for name, cell in super().__getitem__(index).items()}


def open_parquet(place: Place, spec: ParquetSource, split: str) -> RowSource:
    """Rows of parquet files."""
    key = f"splits.{split}"
    files = place.files(spec.splits[split], key)
    table = load_local(place.at(key), "parquet", files)
    name = files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more"
    return ArrowRows(table, place.root, name)
