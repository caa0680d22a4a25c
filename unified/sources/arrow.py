"""Rows of a `datasets.Dataset`: a memory-mapped Arrow table with random access."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from unified.errors import UserError
from unified.sources.base import NamedInt, Row, RowSource

if TYPE_CHECKING:
    from datasets import Dataset

Convert: TypeAlias = Callable[[Any], Any]


class ArrowRows(RowSource):
    """Images stay encoded until a field asks for them (then our checks on size and orientation
    apply); class indices know their names."""

    def __init__(self, table: Dataset, root: Path, name: str) -> None:
        self.root = root
        self.name = name
        self.table = without_decoding(table.with_format(None))
        self.named = named_columns(table.features)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        row = self.table[index]
        return row if self.named is None else self.named(row)

    def key(self, index: int) -> str:
        return f"{self.name}:row {index + 1}"

    def column(self, name: str) -> Iterator[Any]:
        if name not in self.table.column_names:
            yield from repeat(None, len(self))
            return
        for batch in self.table.select_columns([name]).iter(batch_size=1000):
            yield from batch[name]


def load_local(key: str, builder: str, files: Sequence[Path], **options: Any) -> Dataset:
    """Local files as one Arrow table. Raises UserError for files that cannot be read."""
    from datasets import load_dataset

    names = [str(path.absolute()) for path in files]
    try:
        with quiet():
            return load_dataset(builder, data_files={"rows": names}, split="rows", **options)
    except Exception as error:  # the library wraps a parser's error in its own
        cause = error
        while cause.__cause__ is not None:
            cause = cause.__cause__  # type: ignore[assignment]
        shown = names[0] if len(names) == 1 else f"one of {len(names)} files ({names[0]}, ...)"
        reason = " ".join(str(cause).split()) or type(cause).__name__
        raise UserError(f"{key}: {shown} cannot be read as {builder}: {reason}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no logged traces of errors that we report ourselves."""
    import datasets

    shown = datasets.utils.logging.is_progress_bar_enabled()
    level = datasets.utils.logging.get_verbosity()
    datasets.utils.logging.disable_progress_bar()
    datasets.utils.logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        datasets.utils.logging.set_verbosity(level)
        if shown:
            datasets.utils.logging.enable_progress_bar()


def without_decoding(table: Any) -> Any:
    """The same table with pictures left as {bytes, path}."""
    for name, feature in table.features.items():
        raw = _undecoded(feature)
        if raw != feature:
            table = table.cast_column(name, raw)
    return table


def _undecoded(feature: Any) -> Any:
    from datasets import Image, LargeList, List

    if isinstance(feature, Image):
        return Image(decode=False)
    if isinstance(feature, dict):
        return {name: _undecoded(inner) for name, inner in feature.items()}
    if isinstance(feature, List):
        return List(_undecoded(feature.feature), length=feature.length)
    if isinstance(feature, LargeList):
        return LargeList(_undecoded(feature.feature))
    return feature


def named_columns(features: Mapping[str, Any]) -> Names | None:
    """What gives the class indices in a row their names; None where it has none."""
    found = {name: _namer(feature) for name, feature in features.items()}
    inside = {name: convert for name, convert in found.items() if convert is not None}
    return Names(inside) if inside else None


def _namer(feature: Any) -> Convert | None:
    from datasets import ClassLabel, LargeList, List

    if isinstance(feature, ClassLabel):
        return ClassName(tuple(feature.names))
    if isinstance(feature, (List, LargeList)):
        inner = _namer(feature.feature)
        return None if inner is None else EachName(inner)
    return named_columns(feature) if isinstance(feature, dict) else None


@dataclass(frozen=True)
class ClassName:
    names: tuple[str, ...]

    def __call__(self, index: int | None) -> NamedInt | None:
        # Sets of the hub write -1 where a row has no label.
        if index is None or not 0 <= index < len(self.names):
            return None
        return NamedInt(index, self.names[index], self.names)


@dataclass(frozen=True)
class EachName:
    inner: Convert

    def __call__(self, items: list[Any] | None) -> list[Any] | None:
        return None if items is None else [self.inner(item) for item in items]


@dataclass(frozen=True)
class Names:
    inside: dict[str, Convert]

    def __call__(self, row: Row | None) -> Any:
        return None if row is None else row | {name: give(row[name]) for name, give in self.inside.items()}
