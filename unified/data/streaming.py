"""Rows of a stream behind the interface of random access."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from unified.errors import UserError
from unified.sources.base import RowSource, RowStream


class StreamedRows(RowSource):
    """A stream behind the interface of random access: row n is the n-th row of the stream, which starts
    over when it ends.

    Rows must be asked for in nearly ascending order: the last `memory` rows are kept, and going further back
    reads the stream again from its start. Every process reads the whole stream and uses its part, so
    that order and resumption stay exact; what a stream cannot offer is a shuffle or a known length.
    """

    LENGTH = 2**40
    """Stands for 'unknown' in the order of a mixture: a stream never completes an epoch."""

    def __init__(self, stream: RowStream, memory: int = 4096) -> None:
        self.stream = stream
        self.root = stream.root
        self.memory = memory
        self._rows: dict[int, tuple[str, dict[str, Any]]] = {}
        self._iterator: Iterator[tuple[str, dict[str, Any]]] | None = None
        self._next = 0

    def __len__(self) -> int:
        return self.LENGTH

    def _read(self, index: int) -> tuple[str, dict[str, Any]]:
        if index not in self._rows:
            if self._iterator is None or index < self._next:
                self._iterator, self._next = iter(self.stream), 0
                self._rows.clear()
            while self._next <= index:
                item = next(self._iterator, None)
                if item is None:
                    if self._next == 0:
                        raise UserError(f"{self.stream}: the stream has no rows")
                    self._iterator = iter(self.stream)
                    continue
                self._rows[self._next] = item
                self._rows.pop(self._next - self.memory, None)
                self._next += 1
        return self._rows[index]

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._read(index)[1]

    def key(self, index: int) -> str:
        return self._read(index)[0]
