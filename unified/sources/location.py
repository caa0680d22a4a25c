"""Where the files of a source are, and the messages when they are not there."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unified.errors import UserError
from unified.specs.example import BadRow
from unified.specs.paths import expand as expand_path
from unified.specs.source_schema import HfSource, Source, SourceBase

if TYPE_CHECKING:
    from unified.specs.load import LoadedTask

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_WILDCARD = re.compile(r"[*?\[]")
_WORD = re.compile(r"[^.\[\]{}:!|]+")


class MissingData(UserError):
    """Data that is not on this machine. `paths` are the files and folders that are not there."""

    def __init__(self, message: str, paths: Sequence[Path] = ()) -> None:
        super().__init__(message)
        self.paths = tuple(paths)


class AbsentFile(BadRow):
    """A row names a file that is not there."""


@dataclass(frozen=True)
class Place:
    """A source in its spec: whose it is, the key at which it stands, and where its paths start."""

    task: LoadedTask
    spec: Source
    root: Path
    key: str = "source"

    @classmethod
    def of(cls, task: LoadedTask) -> Place:
        """The task's own source. Raises UserError where it has none."""
        if task.spec.source is None:
            raise UserError(
                f"{task.path}: '{task.name}' has no `source`: it can be prompted, but not trained or "
                "evaluated on"
            )
        return cls(task, task.spec.source, source_root(task))

    def inner(self, spec: Source, key: str) -> Place:
        """A source inside this one; without a root of its own it has this one's."""
        key = f"{self.key}.{key}"
        return Place(self.task, spec, _root(self.task, spec.root, f"{key}.root", self.root), key)

    def at(self, key: str = "") -> str:
        """`file: key`, for messages."""
        return f"{self.task.path}: {self.key}{'.' if key else ''}{key}"

    def expand(self, text: str, key: str) -> str:
        """`text` with `~` and `$NAME` replaced; an unset variable is an error."""
        return expand(self.task, text, f"{self.key}.{key}")

    def path(self, text: str, key: str) -> Path:
        """What `text` names, there or not."""
        return self.root / self.expand(text, key)

    def folder(self, text: str, key: str) -> Path:
        """The existing folder that `text` names. Raises MissingData."""
        path = self.path(text, key)
        if not path.is_dir():
            raise self.missing(key, path, "folder")
        return path

    def file(self, text: str, key: str) -> Path:
        """The existing file that `text` names. Raises MissingData."""
        path = self.path(text, key)
        if not path.is_file():
            raise self.missing(key, path, "file")
        return path

    def files(self, patterns: str | Sequence[str], key: str) -> list[Path]:
        """The files that one or several names or globs stand for, globs sorted. Raises MissingData for a
        missing file and for a glob that matches none."""
        found: list[Path] = []
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            path = self.path(pattern, key)
            if path.is_file() or not _WILDCARD.search(pattern):
                found.append(self.file(pattern, key))
                continue
            matches = sorted(p for p in glob.glob(str(path), recursive=True) if os.path.isfile(p))
            if not matches:
                raise MissingData(f"{self.at(key)}: no file matches {path}{self.mend()}", [path])
            found += map(Path, matches)
        if not found:
            raise UserError(f"{self.at(key)}: names no file; give a path, a glob or a list of them")
        return found

    def missing(self, key: str, path: Path, kind: str) -> MissingData:
        other = "folder" if kind == "file" else "file"
        there = f" (there is a {other} of that name)" if path.exists() else ""
        return MissingData(f"{self.at(key)}: no such {kind}: {path}{there}{self.mend()}", [path])

    def mend(self) -> str:
        """The end of a message: where the data comes from, if the spec says so; else how paths are read."""
        if found := where_from(self.task, self.root):
            return f"\n{found}"
        if self.spec.root is None and self.task.spec.source is self.spec:
            start = f"relative paths start at the spec's folder {self.root}, or at `source.root`"
            start += " where that is set"
        else:
            absent = "" if self.root.is_dir() else ", which does not exist"
            start = f"relative paths start at `source.root` = {self.root}{absent}"
        return f"; correct the path ({start})"

    def wanted(self) -> frozenset[str]:
        """Every word of the paths that fields and sources of the task read. A variable or column of
        another name is needed by nobody."""
        spec = self.task.spec
        paths = [text for name, f in spec.fields.items() for text in (f.path or name, f.labels) if text]
        if spec.source is not None:
            paths += _source_paths(spec.source)
        return frozenset(word.strip() for path in paths for word in _WORD.findall(path))


def where_from(task: LoadedTask, root: Path | str) -> str:
    """Which files go where, and where they are officially found; nothing where the spec does not say."""
    spec = task.spec
    if not spec.download and spec.homepage is None:
        return ""
    lines = [f"'{task.name}' needs these below {root}:"] if spec.download else []
    if isinstance(spec.source, HfSource):
        copy = hub_copy(spec.source.path)
        lines = [f"'{task.name}' is loaded from the hub when it is used, or from a copy in {copy}:"]
    lines += [f"  {path}  <-  {origin}" for path, origin in spec.download.items()]
    if spec.homepage is not None:
        lines.append(f"{'officially' if lines else 'the data is officially'} found at {spec.homepage}")
    return "\n".join(lines)


def hub_copy(identifier: str) -> str:
    """Where a copy of a data set of the hub may lie."""
    return expand_path(f"$UNIFIED_DATA/hub/{identifier}")


def expand(task: LoadedTask, text: str, key: str) -> str:
    """`text` with `~` and `$NAME` replaced. Raises MissingData for a variable that is not set."""
    for match in _VARIABLE.finditer(text):
        name = match[1] or match[2]
        if name not in os.environ:
            raise MissingData(
                f"{task.path}: {key}: `{text}` uses ${name}, which is not set; "
                f"run `export {name}=/path/to/data` first or write the path itself"
            )
    return expand_path(text)


def source_root(task: LoadedTask) -> Path:
    """The folder that relative paths of the task's source and images start from."""
    folder = task.path.parent.absolute()
    source = task.spec.source
    return _root(task, source.root if source is not None else None, "source.root", folder)


def _root(task: LoadedTask, stated: str | None, key: str, default: Path) -> Path:
    if not stated:
        return default
    return Path(os.path.normpath(task.path.parent.absolute() / expand(task, stated, key)))


def _source_paths(spec: SourceBase) -> Iterator[str]:
    """The paths that a source reads of its rows, and those of the sources in it."""
    yield from spec.where
    yield from (*spec.parse, *spec.parse.values(), *spec.files.values())
    yield from (spec.mismatch.keys if spec.mismatch else ())
    yield (spec.mismatch and spec.mismatch.differ) or ""
    for join in spec.join:
        yield from [join.on] if isinstance(join.on, str) else [*join.on.keys(), *join.on.values()]
        yield from _source_paths(join.source)
