"""Where the files of a source are, and the messages when they are not there."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unified.errors import UserError

if TYPE_CHECKING:
    from unified.specs.load import LoadedTask

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_WILDCARD = re.compile(r"[*?\[]")


def expand(task: LoadedTask, text: str, key: str) -> str:
    """`text` with `~` and `$NAME` replaced; an unset variable is an error."""
    for match in _VARIABLE.finditer(text):
        name = match[1] or match[2]
        if name not in os.environ:
            raise UserError(
                f"{task.path}: {key}: `{text}` uses ${name}, which is not set; "
                f"run `export {name}=/path/to/data` first or write the path itself"
            )
    return os.path.expanduser(os.path.expandvars(text))


def source_root(task: LoadedTask) -> Path:
    """The folder that relative paths of the task's source and images start from."""
    folder = task.path.parent.absolute()
    root = task.spec.source and task.spec.source.root
    return Path(os.path.normpath(folder / expand(task, root, "source.root"))) if root else folder


def find_folder(task: LoadedTask, text: str, key: str) -> Path:
    """The existing folder that `text` names. Raises UserError."""
    path = source_root(task) / expand(task, text, key)
    if not path.is_dir():
        raise missing(task, key, path, "folder")
    return path


def find_file(task: LoadedTask, text: str, key: str) -> Path:
    """The existing file that `text` names. Raises UserError."""
    path = source_root(task) / expand(task, text, key)
    if not path.is_file():
        raise missing(task, key, path, "file")
    return path


def find_files(task: LoadedTask, patterns: str | Sequence[str], key: str) -> list[Path]:
    """The files that one or several names or globs stand for, globs sorted. Raises UserError for a
    missing file and for a glob that matches none."""
    found: list[Path] = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        path = source_root(task) / expand(task, pattern, key)
        if path.is_file() or not _WILDCARD.search(pattern):
            found.append(find_file(task, pattern, key))
            continue
        matches = sorted(p for p in glob.glob(str(path), recursive=True) if os.path.isfile(p))
        if not matches:
            raise UserError(f"{task.path}: {key}: no file matches {path}; {_mend(task)}")
        found += map(Path, matches)
    if not found:
        raise UserError(f"{task.path}: {key}: names no file; give a path, a glob or a list of them")
    return found


def missing(task: LoadedTask, key: str, path: Path, kind: str) -> UserError:
    other = "folder" if kind == "file" else "file"
    there = f" (there is a {other} of that name)" if path.exists() else ""
    return UserError(f"{task.path}: {key}: no such {kind}: {path}{there}; {_mend(task)}")


def _mend(task: LoadedTask) -> str:
    root = source_root(task)
    if task.spec.source is None or task.spec.source.root is None:
        start = f"relative paths start at the spec's folder {root}, or at `source.root` where that is set"
    else:
        absent = "" if root.is_dir() else ", which does not exist"
        start = f"relative paths start at `source.root` = {root}{absent}"
    return f"correct the path ({start})"
