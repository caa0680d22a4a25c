"""Tasks and mixtures as loaded: the spec, where it came from, and what it is called in results."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from unified.specs.preprocess import Op, build_ops
from unified.specs.schema import MixtureSpec, TaskSpec

NOT_RESULTS = frozenset(
    {"description", "tags", "license", "citation", "homepage", "download", "notes", "checks", "sampling",
     "submission"}
)  # fmt: skip
"""Keys that change no result of a task, and so not its identity."""


@dataclass(frozen=True)
class LoadedTask:
    """A valid task. `resolved` is plain data (JSON) that needs no other file: includes are merged,
    files of names and options read in, shorthands written out and defaults left out."""

    spec: TaskSpec
    path: Path
    resolved: dict[str, Any]

    @classmethod
    def of(cls, spec: TaskSpec, path: Path) -> LoadedTask:
        return cls(spec, path, spec.model_dump(mode="json", by_alias=True, exclude_defaults=True))

    @classmethod
    def from_resolved(cls, resolved: dict[str, Any], folder: Path) -> LoadedTask:
        """A task that a checkpoint or result file carries; `folder` is where relative paths start."""
        spec = TaskSpec.model_validate(resolved)
        return cls.of(spec, Path(folder) / f"{spec.task.replace('/', '_')}.yaml")

    @property
    def name(self) -> str:
        return self.spec.task

    @cached_property
    def identity(self) -> str:
        """`task@v1:<12 hex digits>`: equal for equal results, whatever the order of keys, the comments
        and the description."""
        content = {k: v for k, v in self.resolved.items() if k not in NOT_RESULTS}
        digest = hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
        return f"{self.spec.task}@v{self.spec.version}:{digest[:12]}"

    @cached_property
    def ops(self) -> tuple[Op, ...]:
        """The preprocess steps in their order."""
        return build_ops(self.spec)


@dataclass(frozen=True)
class MixtureTask:
    """A task of a flattened mixture. `weight` multiplies the task's rate (the weights of nested
    mixtures included); `share`, where given, is the task's fixed share of all examples."""

    task: LoadedTask
    weight: float = 1.0
    share: float | None = None
    group: str | None = None


@dataclass(frozen=True)
class LoadedMixture:
    """A valid mixture and its tasks, each once, with tags and nested mixtures flattened."""

    spec: MixtureSpec
    path: Path
    entries: list[MixtureTask]

    @property
    def name(self) -> str:
        return self.spec.mixture
