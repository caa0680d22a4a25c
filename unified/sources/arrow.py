"""Rows of a `datasets.Dataset`: a memory-mapped Arrow table with random access."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
        self.table = table.with_format(None).cast(undecoded(table.features))
        self.named = named_columns(table.features)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return with_names(self.table[index], self.named)

    def key(self, index: int) -> str:
        return f"{self.name}:row {index + 1}"

    def column(self, name: str) -> Iterator[Any]:
        if name not in self.table.column_names:
            yield from (None for _ in range(len(self)))
            return
        for row in self.table.select_columns([name]):
            yield row[name]


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


def undecoded(features: Any) -> Any:
    """The same features with pictures left as {bytes, path}."""
    from datasets import Features, Image, LargeList, List

    if isinstance(features, Image):
        return Image(decode=False)
    if isinstance(features, Features):
        return Features({name: undecoded(feature) for name, feature in features.items()})
    if isinstance(features, dict):
        return {name: undecoded(feature) for name, feature in features.items()}
    if isinstance(features, List):
        return List(undecoded(features.feature), length=features.length)
    if isinstance(features, LargeList):
        return LargeList(undecoded(features.feature))
    return features


def named_columns(features: Any) -> dict[str, Convert]:
    """For each column with class indices in it: what gives them their names."""
    found = {name: _namer(feature) for name, feature in features.items()}
    return {name: convert for name, convert in found.items() if convert is not None}


def with_names(row: Row, named: Mapping[str, Convert]) -> Row:
    for name, convert in named.items():
        row[name] = convert(row[name])
    return row


def _namer(feature: Any) -> Convert | None:
    from datasets import ClassLabel, LargeList, List

    if isinstance(feature, ClassLabel):
        names = feature.names

        def name(index: Any) -> Any:
            # Hub sets write -1 where a row has no label.
            return NamedInt(index, names[index]) if index is not None and 0 <= index < len(names) else None

        return name
    if isinstance(feature, (List, LargeList)):
        inner = _namer(feature.feature)
        return None if inner is None else lambda items: None if items is None else [inner(i) for i in items]
    if isinstance(feature, dict):
        inside = named_columns(feature)
        if inside:
            return lambda value: None if value is None else with_names(value, inside)
    return None
