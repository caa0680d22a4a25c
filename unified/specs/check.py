"""Checking specs as the command line does it, and the JSON schema for editors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from unified.errors import UserError
from unified.specs.library import find_mixture, find_task, kind_of
from unified.specs.lint import Linter
from unified.specs.mixture import lint_mixture
from unified.specs.new import new_task
from unified.specs.preprocess import OPS
from unified.specs.problems import Problem
from unified.specs.schema import MixtureSpec, TaskSpec
from unified.specs.task import LoadedMixture, LoadedTask
from unified.specs.vocabulary import METRICS

__all__ = ["Report", "check_tasks", "json_schema", "new_task"]


@dataclass
class Report:
    """What came of checking: the sound tasks and mixtures, and the problems of the others."""

    tasks: list[LoadedTask] = field(default_factory=list)
    mixtures: list[LoadedMixture] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems]
        for task in self.tasks:
            prompts, checks = len(task.spec.input.prompt), len(task.spec.checks)
            lines.append(f"ok  {task.identity}  {_count(prompts, 'prompt')}, {_count(checks, 'check')}")
        lines += [f"ok  {m.name}  {_count(len(m.entries), 'task')}" for m in self.mixtures]
        if self.problems:
            files = len({problem.file for problem in self.problems})
            lines.append(f"{_count(len(self.problems), 'problem')} in {_count(files, 'file')}")
        return "\n".join(lines)


def check_tasks(paths: Iterable[str | Path]) -> Report:
    """Lints files (tasks and mixtures), the specs in folders, and shipped specs by name: shape, rules,
    every prompt rendered with made-up values, golden rows, names that two files claim."""
    report, linter = Report(), Linter()
    named: dict[str, Path] = {}
    for path in dict.fromkeys(p for wanted in paths for p in _files(wanted)):
        if kind_of(path) == "mixture":
            mixture, problems = lint_mixture(path, linter)
            report.problems += problems
            report.mixtures += [mixture] if mixture else []
            continue
        linted = linter.task(path)
        report.problems += linted.problems
        if linted.task is None:
            continue
        report.tasks.append(linted.task)
        first = named.setdefault(linted.task.name, path)
        if first != path:
            message = f"the name '{linted.task.name}' is taken by {first}"
            report.problems.append(linter.document(path).problem(("task",), message))
    report.problems = sorted(set(report.problems))
    return report


def _files(wanted: str | Path) -> Iterator[Path]:
    path = Path(wanted)
    if path.is_dir():
        found = [p.absolute() for p in sorted(path.rglob("*.yaml")) if not p.name.startswith("_")]
        if not found:
            raise UserError(f"{wanted}: the folder holds no .yaml files")
        yield from found
        return
    try:
        yield find_task(wanted)
    except UserError as error:
        try:
            yield find_mixture(wanted)
        except UserError:
            raise error from None


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def json_schema() -> dict[str, Any]:
    """The schema of spec files, for editors: a file with the key `mixture` is a mixture, else a task."""
    task, mixture = (_schema(model) for model in (TaskSpec, MixtureSpec))
    shared = task.pop("$defs") | mixture.pop("$defs")
    shared["MetricSpec"]["properties"]["name"]["enum"] = list(METRICS)
    steps = {name: {"anyOf": [op.model_json_schema(), {"type": "null"}]} for name, op in OPS.items()}
    step = {"type": "object", "properties": steps, "additionalProperties": False}
    task["properties"]["preprocess"]["items"] = {"anyOf": [{"enum": list(OPS)}, step]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "unified task or mixture",
        "if": {"required": ["mixture"]},
        "then": {"$ref": "#/$defs/Mixture"},
        "else": {"$ref": "#/$defs/Task"},
        "$defs": {"Task": task, "Mixture": mixture, **shared},
    }


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema()
    schema["properties"]["include"] = {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        "description": "File or files that this one is laid over: mappings merge, lists are replaced.",
    }
    # What an included file states need not stand in the file itself.
    required = schema.pop("required")
    schema["anyOf"] = [{"required": ["include"]}, {"required": required}]
    return schema
