"""`[*]` in a path: one example for each element of a list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any

import numpy as np

from unified.sources.base import Row, RowSource, RowStream
from unified.sources.paths import ELEMENT_KEY, Missing, compile_path, elements, parse_path
from unified.specs.example import BadRow


class Exploded(RowSource):
    """Rows of `source`, each repeated for every element of the lists at `parts`.

    The index (a running total of lengths) is built once. All lists of a row must be equally long;
    a row without elements gives no example, a row without the list stays as one, whose fields then
    report what is missing. Rows are the source's with the element's number at key `[*]`.
    """

    def __init__(self, source: RowSource, parts: Sequence[str]) -> None:
        self.root = source.root
        self.source = source
        self.parts = Parts(parts)
        column = str(parse_path(self.parts.first)[0])
        lengths = [self.parts.count({column: value}) for value in source.column(column)]
        self.ends = np.cumsum(np.asarray(lengths, dtype=np.int64))

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def _locate(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        row = int(np.searchsorted(self.ends, index, side="right"))
        return row, index - (int(self.ends[row - 1]) if row else 0)

    def origin(self, index: int) -> int:
        """Number of the row that example `index` was taken from."""
        return self._locate(index)[0]

    def __getitem__(self, index: int) -> Row:
        row, element = self._locate(index)
        return self.parts.element(self.source[row], element)

    def key(self, index: int) -> str:
        row, element = self._locate(index)
        return f"{self.source.key(row)}[{element}]"

    def column(self, name: str) -> Iterator[Any]:
        starts = np.concatenate([[0], self.ends[:-1]])
        for value, count in zip(self.source.column(name), self.ends - starts, strict=True):
            yield from repeat(value, int(count))


class ExplodedStream(RowStream):
    """The same for a stream."""

    def __init__(self, source: RowStream, parts: Sequence[str]) -> None:
        self.root = source.root
        self.name = source.name
        self.source = source
        self.parts = Parts(parts)

    def __iter__(self) -> Iterator[tuple[str, Row]]:
        for key, row in self.source:
            for element in range(self.parts.count(row)):
                yield f"{key}[{element}]", {**row, ELEMENT_KEY: element}


class Parts:
    """The paths before `[*]` in the fields of one task."""

    def __init__(self, parts: Sequence[str]) -> None:
        self.parts = tuple(parts)
        self.first = parts[0]
        # `a[][*]` takes the lists in `a` as one.
        self.getters = [(part, compile_path(f"{part}[]" if "[]" in part else part)) for part in parts]

    def __reduce__(self) -> tuple[Any, ...]:
        return Parts, (self.parts,)

    def count(self, row: Row) -> int:
        """Examples that a row gives."""
        part, get = self.getters[0]
        try:
            return len(elements(get(row), part))
        except Missing:
            return 1

    def element(self, row: Row, element: int) -> Row:
        lengths = {}
        if len(self.getters) > 1:
            for part, get in self.getters:
                try:
                    lengths[part] = len(elements(get(row), part))
                except Missing:
                    continue
        if len(set(lengths.values())) > 1:
            listed = ", ".join(f"{part} {length}" for part, length in lengths.items())
            raise BadRow(f"the lists taken apart by [*] differ in length: {listed}")
        return {**row, ELEMENT_KEY: element}
