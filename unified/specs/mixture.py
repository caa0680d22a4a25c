"""Mixtures: tags and nested mixtures flattened into tasks, and all problems at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from unified.errors import UserError, did_you_mean
from unified.specs.document import Document, Key
from unified.specs.library import find_mixture, find_task, tasks_beside
from unified.specs.lint import NAME, NAME_RULE, Linter
from unified.specs.paths import resource
from unified.specs.problems import Problem
from unified.specs.schema import MixtureEntry, MixtureSpec
from unified.specs.structure import validate
from unified.specs.task import LoadedMixture, MixtureTask

EPSILON = 1e-9


def lint_mixture(
    path: Path, linter: Linter | None = None, parents: tuple[Path, ...] = ()
) -> tuple[LoadedMixture | None, list[Problem]]:
    """Reads and checks a mixture file, its tasks and the mixtures within; None where there are problems.

    A task that comes in by several entries counts once: an entry that names it wins over tags and
    mixtures, else the first. A `share` of a tag or mixture is divided among its tasks by their weights.
    """
    flattener = _Flattener(path, linter or Linter(), parents)
    return flattener.mixture, flattener.problems


class _Flattener:
    def __init__(self, path: Path, linter: Linter, parents: tuple[Path, ...]) -> None:
        self.path, self.linter, self.parents = path, linter, (*parents, path)
        self.document: Document = linter.reader.resolve(path, library=resource("task_specs") / "mixtures")
        self.problems = list(self.document.problems)
        self.mixture: LoadedMixture | None = None
        if not self.document.data:
            if not self.problems:
                self.problems.append(Problem(path, 1, "", "the file is empty"))
            return
        spec, mistakes = validate(MixtureSpec, self.document)
        self.problems += mistakes
        if spec is None:
            return
        if not NAME.fullmatch(spec.mixture):
            self._problem(("mixture",), f"'{spec.mixture}' {NAME_RULE}")
        entries = self._entries(spec)
        self._check_rates(spec, entries)
        if not self.problems:
            self.mixture = LoadedMixture(spec, path, entries)

    def _problem(self, key: Key, message: str) -> None:
        self.problems.append(self.document.problem(key, message))

    def _entries(self, spec: MixtureSpec) -> list[MixtureTask]:
        if not spec.tasks:
            self._problem(("tasks",), "a mixture needs at least one task")
        named: dict[str, MixtureTask] = {}
        brought: dict[str, MixtureTask] = {}
        for i, entry in enumerate(spec.tasks):
            key: Key = ("tasks", i)
            if sum(v is not None for v in (entry.task, entry.tag, entry.mixture)) != 1:
                self._problem(key, "needs exactly one of task, tag and mixture")
                continue
            for task in self._scaled(key, entry, self._brought(key, entry)):
                if entry.task is None:
                    brought.setdefault(task.task.name, task)
                elif task.task.name in named:
                    self._problem(key, f"task '{task.task.name}' is named twice")
                else:
                    named[task.task.name] = task
        return [named.pop(name, task) for name, task in brought.items()] + list(named.values())

    def _brought(self, key: Key, entry: MixtureEntry) -> list[MixtureTask]:
        """The tasks that an entry names, as they come."""
        folder = self.document.place(key).file.parent
        try:
            if entry.task is not None:
                named = self._tasks([find_task(entry.task, folder)])
                if any(t.task.spec.source is None for t in named):
                    self._problem(key, f"task '{entry.task}' has no `source`: there is nothing to train on")
                return named
            if entry.mixture is not None:
                return self._nested(key, find_mixture(entry.mixture, folder))
        except UserError as error:
            self._problem(key, str(error))
            return []
        documents = {path: self.linter.document(path) for path in tasks_beside(folder)}
        tags = {path: d.data.get("tags") or [] for path, d in documents.items() if d.data is not None}
        tasks = self._tasks([path for path in documents if entry.tag in tags.get(path, [entry.tag])])
        only_prompted = [t for t in tasks if t.task.spec.source is None]
        tasks = [t for t in tasks if t.task.spec.source is not None]
        if only_prompted and not tasks:
            self._problem(key, f"no task with the tag '{entry.tag}' has a `source` to train on")
        elif not tasks and not self.problems:
            known = sorted({str(tag) for found in tags.values() for tag in found})
            hint = did_you_mean(str(entry.tag), known) or f"; there are {', '.join(known)}"
            self._problem(key, f"no task has the tag '{entry.tag}'{hint}")
        return tasks

    def _tasks(self, paths: list[Path]) -> list[MixtureTask]:
        linted = [self.linter.task(path) for path in paths]
        self.problems += [p for found in linted for p in found.problems]
        return [MixtureTask(found.task) for found in linted if found.task is not None]

    def _nested(self, key: Key, path: Path) -> list[MixtureTask]:
        if path in self.parents:
            chain = " -> ".join(p.name for p in (*self.parents, path))
            self._problem(key, f"mixtures contain each other: {chain}")
            return []
        inner, problems = lint_mixture(path, self.linter, self.parents)
        self.problems += problems
        return inner.entries if inner else []

    def _scaled(self, key: Key, entry: MixtureEntry, tasks: list[MixtureTask]) -> list[MixtureTask]:
        """Weight, share and group of the entry laid over its tasks."""
        tasks = [replace(t, weight=entry.weight * t.weight, group=entry.group or t.group) for t in tasks]
        fixed = sum(t.share for t in tasks if t.share is not None)
        if entry.share is None:
            if fixed:
                self._problem(key, "the mixture within fixes shares, so give this entry a `share`")
            return tasks
        weights = {t.task.name: t.weight * t.task.spec.sampling.weight for t in tasks if t.share is None}
        whole = 1.0 if weights else fixed  # fixed shares alone fill the entry
        return [
            replace(
                t,
                share=entry.share * t.share / whole
                if t.share is not None
                else entry.share * (1 - fixed) * weights[t.task.name] / sum(weights.values()),
            )
            for t in tasks
        ]

    def _check_rates(self, spec: MixtureSpec, entries: list[MixtureTask]) -> None:
        fixed = sum(e.share for e in entries if e.share is not None)
        free = [e for e in entries if e.share is None]
        if fixed > 1 + EPSILON:
            self._problem(("tasks",), f"fixed shares sum to {fixed:g}, more than 1")
        elif free and fixed > 1 - EPSILON:
            self._problem(("tasks",), f"fixed shares sum to 1, so nothing is left for '{free[0].task.name}'")
        elif entries and not free and fixed < 1 - EPSILON and not self.problems:
            self._problem(("tasks",), f"all tasks have fixed shares, but they sum to {fixed:g}, not 1")
        for name, rate in spec.groups.items():
            if rate <= 0:
                self._problem(("groups", name), f"must be more than 0, not {rate:g}")
        if spec.rate.by != "groups":
            if spec.groups:
                self._problem(("groups",), "groups mean nothing unless `rate: {by: groups}`")
            return
        if not spec.groups:
            self._problem(("rate", "by"), "rates by groups need `groups: {name: rate, ...}`")
            return
        for i, entry in enumerate(spec.tasks):
            if entry.group is not None and entry.group not in spec.groups:
                hint = did_you_mean(entry.group, list(spec.groups))
                self._problem(("tasks", i, "group"), f"unknown group '{entry.group}'{hint}")
        for task in free:
            if task.group is None:
                self._problem(("tasks",), f"rate.by is groups, but task '{task.task.name}' has no group")
            elif task.group not in spec.groups and all(e.group != task.group for e in spec.tasks):
                message = f"group '{task.group}' of task '{task.task.name}' has no rate here"
                self._problem(("groups",), message)
