"""What every source of rows offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from unified.specs.example import BadRow

Row: TypeAlias = dict[str, Any]
"""One row as it was found: JSON values, numpy arrays, bytes, PIL images or values of ours."""


class RowSource(ABC):
    """Rows with random access. Sources hold no open handles that a fork or a pickle would break."""

    root: Path
    """Where relative image paths start."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Row:
        """Row `index`, the same at every call. Raises BadRow where it cannot be read and IndexError
        past the end."""

    @abstractmethod
    def key(self, index: int) -> str:
        """Where the row stands, for messages: `file:line`, `file:row 3`, ..."""

    def column(self, name: str) -> Iterator[Any]:
        """`row.get(name)` of every row, None for unreadable rows; table formats read nothing else."""
        for index in range(len(self)):
            try:
                yield self[index].get(name)
            except BadRow:
                yield None


class Wrapped(RowSource):
    """As many rows as another source has, each made of that source's row."""

    def __init__(self, rows: RowSource) -> None:
        self.root, self.rows = rows.root, rows

    def __len__(self) -> int:
        return len(self.rows)

    def key(self, index: int) -> str:
        return self.rows.key(index)


class RowStream(ABC):
    """Rows that can only be read in their order."""

    root: Path
    name: str
    """What is streamed, for messages."""

    @abstractmethod
    def __iter__(self) -> Iterator[tuple[str, Row]]:
        """(key, row) pairs from the start, in the same order each time."""


class Concatenated(RowSource):
    """Several sources, one after the other."""

    def __init__(self, parts: Sequence[RowSource]) -> None:
        self.root = parts[0].root
        self.parts = list(parts)
        self.starts = [0]
        for part in parts:
            self.starts.append(self.starts[-1] + len(part))

    def __len__(self) -> int:
        return self.starts[-1]

    def _part(self, index: int) -> tuple[RowSource, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        part = bisect_right(self.starts, index) - 1
        return self.parts[part], index - self.starts[part]

    def __getitem__(self, index: int) -> Row:
        part, row = self._part(index)
        return part[row]

    def key(self, index: int) -> str:
        part, row = self._part(index)
        return part.key(row)

    def column(self, name: str) -> Iterator[Any]:
        for part in self.parts:
            yield from part.column(name)


def concatenate(parts: Sequence[RowSource]) -> RowSource:
    return parts[0] if len(parts) == 1 else Concatenated(parts)


class NamedInt(int):
    """A class index whose name the data set itself knows: text where text is asked for. `names`: those of
    all classes, in their order."""

    name: str
    names: tuple[str, ...]

    def __new__(cls, index: int, name: str, names: tuple[str, ...] = ()) -> NamedInt:
        self = super().__new__(cls, index)
        self.name, self.names = name, names
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return NamedInt, (int(self), self.name, self.names)
