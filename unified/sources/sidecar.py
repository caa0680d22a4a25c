"""JSON files that belong to one row each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unified.sources.base import Row, RowSource, Wrapped
from unified.sources.location import AbsentFile
from unified.sources.paths import Missing, compile_path
from unified.specs.example import BadRow


class WithFiles(Wrapped):
    """Rows with the documents that they name: key -> format string of the file's path below the root."""

    def __init__(self, rows: RowSource, files: Mapping[str, str], folder: Path) -> None:
        super().__init__(rows)
        self.files, self.folder = dict(files), folder

    def __getitem__(self, index: int) -> Row:
        row = self.rows[index]
        found = {}
        for name, template in self.files.items():
            try:
                path = self.folder / compile_path(template)(row)
            except Missing as missing:
                raise BadRow(f"{name}: {missing}") from missing
            found[name] = _document(path)
        return row | found

    def column(self, name: str) -> Iterator[Any]:
        return super().column(name) if name in self.files else self.rows.column(name)


def _document(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return json.load(file)
    except FileNotFoundError:
        raise AbsentFile(f"no such file: {path}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadRow(f"{path} is not valid JSON: {error}") from error
