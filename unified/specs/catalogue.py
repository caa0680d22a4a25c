"""What there is to say of a task in a line: its family, what it takes and gives, how it is judged."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from unified.errors import UserError
from unified.specs.lint import Linter
from unified.specs.paths import resource
from unified.specs.problems import SpecError
from unified.specs.schema import TaskSpec
from unified.specs.task import LoadedTask
from unified.specs.vocabulary import DEFAULT_METRICS


class Catalogue(NamedTuple):
    """The tasks of some files, and what is wrong with those that cannot be read."""

    tasks: list[LoadedTask]
    broken: list[tuple[Path, UserError]]

    def tags(self) -> list[str]:
        return sorted({tag for task in self.tasks for tag in task.spec.tags})

    def families(self, tag: str | None = None) -> dict[str, list[LoadedTask]]:
        """Family -> its tasks by name, of those with the tag."""
        out: dict[str, list[LoadedTask]] = {}
        for task in sorted(self.tasks, key=lambda task: (family(task), task.name)):
            if tag is None or tag in task.spec.tags:
                out.setdefault(family(task), []).append(task)
        return out


def read_catalogue(paths: Iterable[Path]) -> Catalogue:
    """The tasks of many files; what they include is read once."""
    linter, out = Linter(), Catalogue([], [])
    for path in paths:
        linted = linter.task(Path(path).absolute())
        if linted.task is None:
            out.broken.append((path, SpecError(linted.problems)))
        else:
            out.tasks.append(linted.task)
    return out


def family(task: LoadedTask) -> str:
    """The folder that a shipped task lies in; `other` for one from elsewhere."""
    shipped = resource("task_specs").resolve() / "tasks"
    path = task.path.resolve()
    return path.relative_to(shipped).parts[0] if path.is_relative_to(shipped) else "other"


def takes(spec: TaskSpec) -> str:
    """`image+text`, `4 frames+text`, ..."""
    images = spec.input.images
    frames = sum(spec.fields[name].at is not None for name in images)
    words = []
    if len(images) > frames:
        words.append("image" if len(images) - frames == 1 else f"{len(images) - frames} images")
    if frames:
        words.append(f"{frames} frames")
    return "+".join([*words, "text"])


def gives(spec: TaskSpec) -> str:
    """The kind of answer; of closed ones, where the options come from."""
    options = spec.options
    if options is None:
        return spec.modality
    if options.pool is not None:
        return f"ranking of all {options.pool}"
    return f"{spec.modality} of {len(options.choices)}" if options.choices else f"{spec.modality} of options"


def judged_by(spec: TaskSpec) -> list[str]:
    """The labels of the task's metrics, headline first."""
    return [m.label for m in spec.metrics] or list(DEFAULT_METRICS[spec.modality])
