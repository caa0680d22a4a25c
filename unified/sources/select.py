"""Which rows of a source are meant, and their numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from unified.errors import UserError
from unified.sources.base import Row, RowSource, RowStream, Wrapped
from unified.sources.paths import Missing, compile_path, parse_path
from unified.sources.text import as_text
from unified.specs.source_schema import SourceBase, Values


class Numbered(Wrapped):
    """Rows with their number under one or two names, as `number` and `index` of a source say."""

    def __init__(self, rows: RowSource, spec: SourceBase) -> None:
        super().__init__(rows)
        self.names = _numbers(spec)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index] | {name: index + start for name, start in self.names.items()}

    def column(self, name: str) -> Iterator[Any]:
        if name in self.names:
            yield from range(self.names[name], len(self) + self.names[name])
        else:
            yield from self.rows.column(name)


class Selected(RowSource):
    """The rows that have one of the wanted texts at each path. Raises UserError where there is none."""

    def __init__(self, rows: RowSource, wanted: Mapping[str, frozenset[str]], where: str) -> None:
        self.root, self.rows = rows.root, rows
        kept = np.ones(len(rows), dtype=bool)
        seen: dict[str, Counter[str]] = {}
        for path, texts in wanted.items():
            seen[path] = Counter()
            has = np.zeros(len(rows), dtype=bool)
            for index, found in enumerate(_texts(rows, path)):
                has[index] = not texts.isdisjoint(found)
                seen[path].update(found)
            kept &= has
        self.indices = np.flatnonzero(kept)
        if not len(self.indices):
            path, counts = next(iter(seen.items()))
            there = ", ".join(text for text, _ in counts.most_common(8)) or "nothing at all"
            conditions = " and ".join(f"'{path}' in ({', '.join(sorted(texts))})"
                                      for path, texts in wanted.items())  # fmt: skip
            raise UserError(f"{where}: none of the {len(rows)} rows has {conditions}; '{path}' has: {there}")

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Row:
        return self.rows[self._row(index)]

    def key(self, index: int) -> str:
        return self.rows.key(self._row(index))

    def _row(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return int(self.indices[index])

    def column(self, name: str) -> Iterator[Any]:
        kept = np.zeros(len(self.rows), dtype=bool)
        kept[self.indices] = True
        for keep, value in zip(kept, self.rows.column(name), strict=True):
            if keep:
                yield value


class SelectedStream(RowStream):
    """The same of a stream: numbers, and only the rows that are meant."""

    def __init__(self, rows: RowStream, spec: SourceBase, wanted: Mapping[str, frozenset[str]]) -> None:
        self.root, self.name, self.rows = rows.root, rows.name, rows
        self.numbers, self.wanted = _numbers(spec), dict(wanted)

    def __iter__(self) -> Iterator[tuple[str, Row]]:
        getters = {path: compile_path(path) for path in self.wanted}
        for index, (key, row) in enumerate(self.rows):
            row = row | {name: index + start for name, start in self.numbers.items()}
            if all(not self.wanted[path].isdisjoint(_at(row, get)) for path, get in getters.items()):
                yield key, row


def conditions(spec: SourceBase, split: str) -> dict[str, frozenset[str]]:
    """Path -> the texts that are wanted there in one split."""
    found: dict[str, frozenset[str]] = {}
    for path, values in spec.where.items():
        of_split: Values | None = values.get(split, values.get("*")) if isinstance(values, dict) else values
        if of_split is not None:
            listed = of_split if isinstance(of_split, list) else [of_split]
            found[path] = frozenset(str(as_text(value)) for value in listed)
    return found


def _numbers(spec: SourceBase) -> dict[str, int]:
    """Name -> the number of the first row."""
    named = {spec.number: 1, spec.index: 0}
    return {name: start for name, start in named.items() if name is not None}


def _texts(rows: RowSource, path: str) -> Iterator[tuple[str, ...]]:
    column = str(parse_path(path)[0])
    get = compile_path(path)
    for value in rows.column(column):
        yield _at({column: value}, get)


def _at(row: Row, get: Any) -> tuple[str, ...]:
    """What a row says at a path, as text; each item of a list."""
    try:
        value = get(row)
    except Missing:
        return ()
    items = value if isinstance(value, (list, tuple)) else [value]
    return tuple(text for item in items if (text := as_text(item)) is not None)
