"""Pairs that do not belong together, made of those that do."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from unified.errors import UserError
from unified.sources.base import Row, RowSource, Wrapped
from unified.sources.explode import Exploded
from unified.sources.paths import ELEMENT_KEY, Missing, compile_path, parse_path
from unified.sources.text import as_text
from unified.specs.example import BadRow
from unified.specs.source_schema import Mismatch

TRIES = 64
"""Other rows that are looked at for one that differs."""


class Mismatched(Wrapped):
    """Rows of which a share has some keys of another row. Where a row of a file was taken apart with `[*]`,
    the other one comes from another row of the file."""

    def __init__(self, rows: RowSource, spec: Mismatch, exploded: Sequence[str], where: str) -> None:
        super().__init__(rows)
        self.spec = spec
        lists = {str(parse_path(part)[0]) for part in exploded}
        self.moves_element = bool(lists & set(spec.keys))
        if self.moves_element and lists - set(spec.keys):
            raise UserError(
                f"{where}.keys: {', '.join(sorted(lists))} are taken apart together with [*], so they can "
                f"only come from another row together"
            )

    def __getitem__(self, index: int) -> Row:
        row = self.rows[index]
        if self.spec.name in row:
            raise BadRow(f"the row has a key '{self.spec.name}' of its own; choose another name (`as`)")
        if _draw(index, 0) >= self.spec.rate * 2**64:
            return row | {self.spec.name: True}
        other = self._other(index, row)
        absent = [name for name in self.spec.keys if name not in other]
        if absent:
            raise BadRow(f"no key '{absent[0]}' to take from another row")
        taken = {name: other[name] for name in self.spec.keys}
        if self.moves_element:
            taken[ELEMENT_KEY] = other[ELEMENT_KEY]
        return row | taken | {self.spec.name: False}

    def _other(self, index: int, row: Row) -> Row:
        for attempt in range(1, TRIES + 1):
            chosen = _draw(index, attempt) % len(self.rows)
            if self._origin(chosen) == self._origin(index):
                continue
            other = self.rows[chosen]
            if self.spec.differ is None or _value(other, self.spec.differ) != _value(row, self.spec.differ):
                return other
        raise BadRow(f"{TRIES} other rows were looked at, and none differs from this one")

    def _origin(self, index: int) -> int:
        return self.rows.origin(index) if isinstance(self.rows, Exploded) else index


def _draw(index: int, attempt: int) -> int:
    """64 random bits that depend on nothing else."""
    digest = hashlib.blake2b(f"{index}/{attempt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _value(row: Row, path: str) -> Any:
    try:
        return as_text(compile_path(path)(row))
    except Missing as missing:
        raise BadRow(f"mismatch.differ: {missing}") from missing
