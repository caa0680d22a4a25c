"""One row for each file that a glob matches."""

from __future__ import annotations

import os
import re
from pathlib import Path

from unified.sources.base import Row, RowSource
from unified.sources.location import Place
from unified.specs.source_schema import FilesSource


class FileRows(RowSource):
    """Rows: {path, stem, name, folder, match}, path and folder from the root where they lie in it.

    `match` lists what each wildcard of the glob stands for in this file, so that siblings with
    another prefix can be named: glob `image_*.png`, sibling `{folder}/depth_{match[0]}.png`.
    """

    def __init__(self, place: Place, spec: FilesSource, split: str) -> None:
        self.root = place.root
        patterns = spec.splits[split]
        self.files: list[str] = []
        self.matches: list[list[str]] = []
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            expression = wildcards(str(place.path(pattern, f"splits.{split}")))
            for path in place.files(pattern, f"splits.{split}"):
                match = expression.fullmatch(str(path))
                self.files.append(_inside(path, self.root))
                self.matches.append([part or "" for part in match.groups()] if match else [])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        path = self.files[index]
        folder, name = os.path.split(path)
        stem = os.path.splitext(name)[0]
        return {
            "path": path,
            "stem": stem,
            "name": name,
            "folder": folder or ".",
            "match": self.matches[index],
        }

    def key(self, index: int) -> str:
        return self.files[index]


def wildcards(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression with one group for each wildcard."""
    out = ""
    for part in re.findall(r"\*\*/|\*\*?|\?+|\[!?\]?[^\]]*\]|[^*?\[]+|\[", pattern):
        if part == "**/":
            out += r"(?:(.*)/)?"
        elif part.startswith("*"):
            out += r"([^/]*)"
        elif part.startswith("?"):
            out += rf"([^/]{{{len(part)}}})"
        elif part.startswith("[") and len(part) > 1:
            out += f"([{'^' + part[2:-1] if part[1] == '!' else part[1:-1]}])"
        else:
            out += re.escape(part)
    return re.compile(out)


def _inside(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
