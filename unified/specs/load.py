"""Loading tasks and mixtures by name or path."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from unified.specs.library import find_mixture, find_task, list_mixtures, list_tasks
from unified.specs.lint import lint_task
from unified.specs.mixture import lint_mixture
from unified.specs.problems import Problem, SpecError
from unified.specs.task import LoadedMixture, LoadedTask, MixtureTask

__all__ = [
    "LoadedMixture", "LoadedTask", "MixtureTask", "Problem", "SpecError", "list_mixtures", "list_tasks",
    "load_mixture", "load_task", "to_yaml",
]  # fmt: skip


def load_task(name_or_path: str | Path) -> LoadedTask:
    """A shipped task by name, or the task of a YAML file.

    Raises SpecError with all problems of the file, UserError where no task has the name."""
    linted = lint_task(find_task(name_or_path))
    if linted.task is None:
        raise SpecError(linted.problems)
    return linted.task


def load_mixture(name_or_path: str | Path) -> LoadedMixture:
    """A shipped mixture by name, or that of a YAML file, flattened to tasks.

    Raises SpecError with all problems of the file and its tasks, UserError as above."""
    mixture, problems = lint_mixture(find_mixture(name_or_path))
    if mixture is None:
        raise SpecError(problems)
    return mixture


def to_yaml(data: dict[str, Any]) -> str:
    """Plain data as YAML, in its own order."""
    yaml = YAML(pure=True)
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.width = 110
    stream = io.StringIO()
    yaml.dump(data, stream)
    return stream.getvalue()
