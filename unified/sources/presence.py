"""Whether a task's data is on this machine, told by names of files alone: none is opened."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from unified.sources.hf import local_copy
from unified.sources.location import MissingData, Place
from unified.specs.source_rules import ANY_SPLIT
from unified.specs.source_schema import (
    ActivityNetEntitiesSource,
    CocoSource,
    EntitiesSource,
    HfSource,
    PythonSource,
    SwigSource,
    ToyboxSource,
)

if TYPE_CHECKING:
    from unified.specs.load import LoadedTask


class Presence(NamedTuple):
    """`data`: whether all that the spec names is there. `splits`: those whose own files are all there."""

    data: Literal["built in", "none", "yes", "part", "no"]
    splits: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"part ({', '.join(self.splits)})" if self.data == "part" and self.splits else self.data


def presence(task: LoadedTask) -> Presence:
    """What there is of a task's data. The files and folders that `download` names count as well as those of
    the splits; a function's own files are unknown, and taken to be there."""
    if task.spec.source is None:
        return Presence("none")
    splits = tuple(task.spec.source.splits)
    if isinstance(task.spec.source, ToyboxSource):
        return Presence("built in", splits)
    try:
        place = Place.of(task)
        there = tuple(split for split in splits if all(_is_there(path) for path in _paths(place, split)))
    except MissingData:  # a variable that is not set
        return Presence("no")
    if not there and not place.root.is_dir():
        return Presence("no")
    rest = all((place.root / name).exists() for key in task.spec.download for name in key.split(", "))
    if there == splits and (rest or isinstance(place.spec, HfSource)):
        return Presence("yes", there)
    return Presence("part" if there else "no", there)


def _is_there(path: Path) -> bool:
    """Whether there is such a file or folder, or one that a glob matches."""
    if path.exists():
        return True
    return glob.has_magic(str(path)) and next(glob.iglob(str(path), recursive=True), None) is not None


def _paths(place: Place, split: str) -> Iterator[Path]:
    """What a split of a source, and of those that are joined to it, reads."""
    spec = place.spec
    named = split if split in spec.splits else ANY_SPLIT
    if isinstance(spec, HfSource):
        yield local_copy(place, spec)
    elif named in spec.splits and not isinstance(spec, PythonSource | ToyboxSource):
        for name in _names(spec, named):
            yield place.path(name, f"splits.{named}")
    for i, join in enumerate(spec.join):
        yield from _paths(place.inner(join.source, f"join[{i}].source"), split)


def _names(spec: object, split: str) -> list[str]:
    """Files, folders and globs below the root."""
    match spec:
        case CocoSource():
            return [spec.splits[split].images, spec.splits[split].annotations]
        case EntitiesSource():
            return [spec.splits[split], spec.sentences, spec.annotations, spec.images]
        case SwigSource():
            return [spec.splits[split], spec.space, spec.images]
        case ActivityNetEntitiesSource():
            return [spec.annotations, spec.sizes, spec.ids]
    named = spec.splits[split]  # type: ignore[attr-defined]
    return [named] if isinstance(named, str) else list(named)
