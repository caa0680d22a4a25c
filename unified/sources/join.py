"""Rows with what another source says of them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from unified.errors import UserError
from unified.sources.base import Row, RowSource, Wrapped
from unified.sources.paths import Missing, compile_path, parse_path
from unified.sources.text import as_text
from unified.specs.example import BadRow
from unified.specs.source_schema import Join


class Joined(Wrapped):
    """Rows of `left`, each with the row or rows of `right` that have the same keys, as Join states."""

    def __init__(self, left: RowSource, right: RowSource, spec: Join, where: str) -> None:
        super().__init__(left)
        self.right, self.spec = right, spec
        on = {spec.on: spec.on} if isinstance(spec.on, str) else spec.on
        self.paths = tuple(on)
        self.names = " and ".join(f"'{path}'" for path in on)
        self.matches = Matches(right, tuple(on.values()), f"{where}.on", unique=not spec.many)
        self._getters = _compile(self.paths)

    def __getitem__(self, index: int) -> Row:
        row = self.rows[index]
        try:
            values = [get(row) for get in self._getters]
        except Missing as missing:
            values, problem = [None], str(missing)
        else:
            problem = f"{self.names} is null"
        if any(value is None for value in values):
            if self.spec.optional:
                return self._with(row, None)
            raise BadRow(f"no key {self.names} to join on: {problem}")
        if any(isinstance(value, (list, tuple, np.ndarray)) for value in values):
            return self._with(row, [self._one(keys) for keys in self._pairs(values)])
        return self._with(row, self._one(values))

    def _pairs(self, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """The keys of each right row where the left paths give lists."""
        if self.spec.name is None:
            raise BadRow(f"{self.names} is a list, so the rows joined need a name (`as`)")
        lists = [len(v) for v in values if isinstance(v, (list, tuple, np.ndarray))]
        if len(set(lists)) > 1:
            raise BadRow(f"the lists {self.names} differ in length: {', '.join(map(str, lists))}")
        columns = [v if isinstance(v, (list, tuple, np.ndarray)) else [v] * lists[0] for v in values]
        return zip(*columns, strict=True)

    def _one(self, values: Sequence[Any]) -> Any:
        """The right row of these keys, or the list of all."""
        found = self.matches.get(values)
        if not len(found) and not self.spec.optional:
            shown = ", ".join(map(str, values))
            raise BadRow(f"no row with {self.names} = {shown} in {self.matches.place}")
        if self.spec.many:
            return [self.right[int(i)] for i in found]
        return self.right[int(found[0])] if len(found) else None

    def _with(self, row: Row, found: Any) -> Row:
        name = self.spec.name
        if name is None:
            return {**found, **row} if found else row
        if name in row:
            raise _taken(name)
        if found is None and self.spec.many:
            found = []
        return {**row, name: found}

    def column(self, name: str) -> Iterator[Any]:
        if self.spec.name not in (None, name):
            return self.rows.column(name)
        return super().column(name)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_getters"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._getters = _compile(self.paths)


class WithAll(Wrapped):
    """Rows of `left`, each with all rows of `right` as a list under the join's name: one list, read once."""

    def __init__(self, left: RowSource, right: RowSource, spec: Join) -> None:
        super().__init__(left)
        assert spec.name is not None  # the lint asks for it
        self.name = spec.name
        self.all = [right[i] for i in range(len(right))]

    def __getitem__(self, index: int) -> Row:
        row = self.rows[index]
        if self.name in row:
            raise _taken(self.name)
        return {**row, self.name: self.all}

    def column(self, name: str) -> Iterator[Any]:
        return super().column(name) if name == self.name else self.rows.column(name)


def _taken(name: str) -> BadRow:
    return BadRow(f"the row has a key '{name}' of its own; choose another name (`as`)")


class Matches:
    """Which rows of a source have which keys. Keys are one sorted array of bytes: a tenth of the memory of a
    dict, and nothing whose reference counts worker processes would touch."""

    def __init__(self, rows: RowSource, paths: Sequence[str], where: str, *, unique: bool) -> None:
        groups: dict[bytes, int] = {}
        group_of = array("q")
        for values in zip(*(_values(rows, path) for path in paths), strict=True):
            key = _bytes(values)
            group_of.append(-1 if key is None else groups.setdefault(key, len(groups)))
        self.place = rows.key(0).partition(":")[0] if len(rows) else "an empty source"
        named = " and ".join(f"'{path}'" for path in paths)
        if not groups:
            raise UserError(f"{where}: no row of {self.place} has the key {named}")
        keys = np.array(list(groups))
        by_key = np.argsort(keys, kind="stable")
        self.keys = keys[by_key]
        rank = np.empty(len(keys) + 1, dtype=np.int64)
        rank[by_key] = np.arange(len(keys))
        rank[-1] = -1  # of rows without a key
        ranks = rank[np.array(group_of)]
        order = np.argsort(ranks, kind="stable")
        self.order = order[np.searchsorted(ranks[order], 0) :]
        """Row numbers, those of one key together."""
        self.starts = np.searchsorted(ranks[self.order], np.arange(len(keys) + 1))
        several = np.flatnonzero(np.diff(self.starts) > 1)
        if unique and len(several):
            first, second = self.order[self.starts[several[0]] :][:2]
            value = self.keys[several[0]].decode().rstrip(SEPARATOR).replace(SEPARATOR, ", ")
            raise UserError(
                f"{where}: {named} = {value} stands in two rows of {self.place} ({rows.key(int(first))} and "
                f"{rows.key(int(second))}); join on a key that is unique there, or take all with `many: true`"
            )

    def get(self, values: Sequence[Any]) -> Any:
        """Numbers of the rows with these keys, in their order."""
        key = _bytes(values)
        place = int(np.searchsorted(self.keys, key)) if key is not None else len(self.keys)
        if place == len(self.keys) or self.keys[place] != key:
            return ()
        return self.order[self.starts[place] : self.starts[place + 1]]


SEPARATOR = "\x1f"
"""Between the keys of a row."""


def _bytes(values: Sequence[Any]) -> bytes | None:
    """The keys of a row as one; it does not end in a zero byte, which numpy would drop."""
    texts = [text for value in values if (text := as_text(value)) is not None]
    return (SEPARATOR.join(texts) + SEPARATOR).encode() if len(texts) == len(values) else None


def _values(rows: RowSource, path: str) -> Iterator[Any]:
    """What each row has at a path; None where it has nothing."""
    column = str(parse_path(path)[0])
    get = compile_path(path)
    for value in rows.column(column):
        try:
            yield get({column: value}) if value is not None else None
        except Missing:
            yield None


def _compile(paths: Sequence[str]) -> list[Any]:
    return [compile_path(path) for path in paths]
