"""Parts of a text under names of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from string import Formatter
from typing import Any

from unified.sources.base import Row, RowSource, Wrapped
from unified.sources.paths import Missing, compile_path
from unified.sources.text import as_text
from unified.specs.example import BadRow


class Parsed(Wrapped):
    """Rows with the parts of the texts at some paths: path -> template, `{video}$_${clip}`."""

    def __init__(self, rows: RowSource, templates: Mapping[str, str]) -> None:
        super().__init__(rows)
        self.templates = dict(templates)
        self.patterns = {path: expression(template) for path, template in templates.items()}
        self.names = {name for pattern in self.patterns.values() for name in pattern.groupindex}

    def __getitem__(self, index: int) -> Row:
        row = self.rows[index]
        parts: Row = {}
        for path, pattern in self.patterns.items():
            try:
                text = as_text(compile_path(path)(row)) or ""
            except Missing as missing:
                raise BadRow(f"nothing to parse: {missing}") from missing
            match = pattern.fullmatch(text)
            if match is None:
                raise BadRow(f"'{path}' is '{text}', which is not of the form {self.templates[path]}")
            parts |= match.groupdict()
        return row | parts

    def column(self, name: str) -> Iterator[Any]:
        return super().column(name) if name in self.names else self.rows.column(name)


def expression(template: str) -> re.Pattern[str]:
    """What a template matches, each part as short as can be; a name that comes again must be the same."""
    out, seen = "", set()
    for literal, name, _, _ in Formatter().parse(template):
        out += re.escape(literal)
        if name:
            out += f"(?P={name})" if name in seen else f"(?P<{name}>.+?)"
            seen.add(name)
    return re.compile(out, re.DOTALL)
