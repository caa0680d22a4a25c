"""What is wrong with a spec: the place, the key and the mend, one line each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from unified.errors import UserError


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake: `file:line: key: message`, the form that editors turn into a link."""

    file: Path
    line: int
    """Line of the key, from 1; 0 where the mistake has no line (a file that is not there)."""
    key: str
    """Path of the key, e.g. `input.prompt[0]`; empty where the whole file is meant."""
    message: str

    def __str__(self) -> str:
        place = f"{_short(self.file)}:{self.line}" if self.line else _short(self.file)
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class SpecError(UserError):
    """A spec that cannot be used, with all its problems."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(set(problems))
        super().__init__("\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[type[SpecError], tuple[list[Problem]]]:
        return type(self), (self.problems,)


def _short(file: Path) -> str:
    """The path as a person at the current folder would type it."""
    try:
        return str(file.relative_to(Path.cwd()))
    except ValueError:
        return str(file)
