"""All problems of a task at once, each with its file and line.

The raw YAML is read, checked against the schema (`structure`) and then against the rules that span
several keys (`rules`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unified.specs import rules
from unified.specs.document import Document, Key, Reader
from unified.specs.paths import expand, resource
from unified.specs.problems import Problem
from unified.specs.schema import TaskSpec
from unified.specs.structure import validate
from unified.specs.task import LoadedTask

NAME = re.compile(r"[a-z0-9_][a-z0-9_.-]*(/[a-z0-9_][a-z0-9_.-]*)*")
"""Names of tasks and mixtures. They become paths of files, so no part is `..` or empty."""
NAME_RULE = "may only have a-z, 0-9 and _ / . -, and each part starts with a letter, a digit or _"


@dataclass(frozen=True)
class Linted:
    """What came of a task file: the task, or its problems."""

    task: LoadedTask | None = None
    problems: list[Problem] = field(default_factory=list)


class Linter:
    """Reads and checks task files, each file once in the linter's life."""

    def __init__(self) -> None:
        self.reader = Reader()
        self._linted: dict[Path, Linted] = {}

    def document(self, path: Path) -> Document:
        """The raw data of a task file with its includes."""
        return self.reader.resolve(path, library=resource("task_specs") / "tasks")

    def task(self, path: Path) -> Linted:
        """The checked task."""
        if path not in self._linted:
            self._linted[path] = self._lint(path)
        return self._linted[path]

    def _lint(self, path: Path) -> Linted:
        document = self.document(path)
        problems = list(document.problems)
        if not document.data:
            return Linted(problems=problems or [Problem(path, 1, "", "the file is empty")])
        problems += _inline_files(document)
        spec, mistakes = validate(TaskSpec, document)
        problems += mistakes
        if spec is None:
            return Linted(problems=_first_causes(problems, document))
        if not NAME.fullmatch(spec.task):
            problems.append(document.problem(("task",), f"'{spec.task}' {NAME_RULE}"))
        task = LoadedTask.of(spec, path)
        problems += rules.check(task, document, sound=not problems)
        return Linted(problems=_first_causes(problems, document)) if problems else Linted(task)


def lint_task(path: Path) -> Linted:
    """Reads and checks one task file."""
    return Linter().task(Path(path).absolute())


def _first_causes(problems: list[Problem], document: Document) -> list[Problem]:
    """Without what is said of values that could not be read in the first place."""
    unread = {(p.file, p.line) for p in document.problems}
    return [p for p in problems if p in document.problems or (p.file, p.line) not in unread]


def _inline_files(document: Document) -> list[Problem]:
    """Reads files of names (`fields.*.names`) and of options (`options.file`) into the document."""
    problems: list[Problem] = []

    def lines(key: Key, name: str) -> list[str]:
        file = document.place(key).file.parent / expand(name)
        try:
            text = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError):
            problems.append(document.problem(key, f"there is no text file '{name}'"))
            return ["?", "??"]  # so that nothing else is said of it
        return [line.strip() for line in text.splitlines() if line.strip()]

    data: dict[str, Any] = dict(document.data)
    fields, options = data.get("fields"), data.get("options")
    if isinstance(fields, dict):
        data["fields"] = dict(fields)
        for name, spec in fields.items():
            if isinstance(spec, dict) and isinstance(spec.get("names"), str):
                names = lines(("fields", name, "names"), spec["names"])
                data["fields"][name] = {**spec, "names": names}
    if isinstance(options, dict) and isinstance(options.get("file"), str) and "choices" not in options:
        rest = {k: v for k, v in options.items() if k != "file"}
        data["options"] = {**rest, "choices": lines(("options", "file"), options["file"])}
    document.data = data
    return problems
