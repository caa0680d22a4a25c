"""Which task and mixture files there are, and which one a name means."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from unified.errors import UserError, did_you_mean
from unified.specs.paths import resource

_NAME = re.compile(r"^(task|mixture)\s*:\s*['\"]?([^\s'\"#]+)", re.MULTILINE)


def list_tasks() -> list[Path]:
    """The shipped task files, readable or not. Files whose name starts with `_` are no tasks, but for
    others to include."""
    return _specs(resource("task_specs") / "tasks")


def list_mixtures() -> list[Path]:
    """The shipped mixture files, readable or not."""
    return _specs(resource("task_specs") / "mixtures")


def tasks_beside(folder: Path) -> list[Path]:
    """The shipped task files and those directly in `folder`, by content: files with a `task` key."""
    own = [p for p in sorted(folder.glob("*.yaml")) if _names([p], "task")]
    return list(dict.fromkeys([*list_tasks(), *(p.absolute() for p in own)]))


def find_task(name_or_path: str | Path, folder: Path | None = None) -> Path:
    """The file of a shipped task's name, or the path itself; paths start at `folder` (default: the
    current one). Raises UserError where there is none."""
    return _find("task", name_or_path, folder, list_tasks)


def find_mixture(name_or_path: str | Path, folder: Path | None = None) -> Path:
    """As `find_task`, for mixtures."""
    return _find("mixture", name_or_path, folder, list_mixtures)


def task_files() -> dict[str, Path]:
    """Name -> file of the shipped tasks."""
    return _names(list_tasks(), "task")


def kind_of(path: Path) -> str:
    """`mixture` or `task`, by the file's first key of that name; `task` where neither is found."""
    return next((kind for kind, _ in _headers(path)), "task")


def _find(kind: str, wanted: str | Path, folder: Path | None, files: Callable[[], list[Path]]) -> Path:
    path = (folder or Path.cwd()) / Path(wanted).expanduser()
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            if (found := next((k for k, _ in _headers(path)), kind)) != kind:
                raise UserError(f"{wanted}: is a {found}, where a {kind} is wanted")
            return path.absolute()
        why = "is a folder, not a file" if path.is_dir() else "there is no such file"
        raise UserError(f"{wanted}: {why}")
    names = _names(files(), kind)
    if str(wanted) not in names:
        few = "see `unified tasks list`" if kind == "task" else f"there are {', '.join(names) or 'none'}"
        raise UserError(f"unknown {kind} '{wanted}'{_hint(str(wanted), list(names), path) or f'; {few}'}")
    return names[str(wanted)]


def _hint(wanted: str, names: list[str], path: Path) -> str:
    """What may have been meant: `refer` those whose names have that part, else the nearest word."""
    longer = [name for name in names if re.search(rf"(^|[_/.-]){re.escape(wanted)}($|[_/.-])", name)]
    if wanted and len(longer) > 1:
        return f" (did you mean one of {', '.join(longer)}?)"
    if wanted and path.is_file():
        return ": a file of that name is there, but specs are read from .yaml files"
    return did_you_mean(wanted, longer or names)


def _specs(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*.yaml") if not p.name.startswith("_"))


def _names(paths: Iterable[Path], kind: str) -> dict[str, Path]:
    """Name -> file, read without the YAML parser: broken files have names too."""
    names: dict[str, Path] = {}
    for path in paths:
        for found, name in _headers(path):
            if found == kind:
                names.setdefault(name, path)
    return names


def _headers(path: Path) -> list[tuple[str, str]]:
    try:
        return _NAME.findall(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return []
