"""The path language of fields: where a value stands in a row.

    a.b        key b of a                 a[0]     element 0 of a
    a[].b      b of all elements of a     a[*].b   b of one element; the row is exploded, see explode.py
    a[1:3]     part of a list or a text   a[:*]    the elements before the one that [*] stands for
    a[b.c]     the element of a whose number stands at b.c
    a[][*]     one element of the lists in a, taken as one list
    [*]        the number of the element, from 0
    {a}_{b.c}  text made of values: braces hold paths, `{id:012d}` takes Python's format marks
    a | b      the first that the row has; of several image files, the first that exists

A row key that equals the whole path wins, so that columns may have dots in their names. `[]` and
`[*]` also go over a mapping of parallel lists, as `datasets` returns for sequences of mappings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from operator import index
from pathlib import Path
from string import Formatter
from typing import Any, TypeAlias

from unified.sources.base import NamedInt, Row
from unified.sources.location import AbsentFile

Getter: TypeAlias = Callable[[Row], Any]
Step: TypeAlias = "str | int | slice | _Marker | _NumberedBy"

ELEMENT_KEY = "[*]"
"""Key under which an exploded row holds the number of its element."""


class Missing(Exception):
    """The row has no such key. The message says which, and which there are."""


class _Marker:
    def __init__(self, text: str) -> None:
        self.text = text


class _NumberedBy:
    def __init__(self, path: str) -> None:
        self.path = path
        self.get = compile_path(path)

    def number(self, row: Row) -> int:
        value = self.get(row)
        try:
            return index(int(value) if isinstance(value, str) else value)
        except (TypeError, ValueError):
            raise Missing(f"'{self.path}' is no number of an element: {value!r}") from None


EACH, ELEMENT, BEFORE = _Marker("[]"), _Marker("[*]"), _Marker("[:*]")

_STEP = re.compile(r"(?:(?:^|(?<=.)\.)([^.\[\]{}]+))|\[(-?\d+|\*|:\*|-?\d*:-?\d*|[A-Za-z_][\w.]*)?\]")
_OR = re.compile(r"\s\|\s(?![^{]*\})")
"""Between alternatives; those inside braces belong to the braces."""


class Candidates(tuple[Any, ...]):
    """What several paths of a file give, of which the first that exists is meant."""

    def existing(self, root: Path) -> Any:
        for candidate in self:
            if not isinstance(candidate, str) or (root / candidate).exists():
                return candidate
        raise AbsentFile(f"no such file: {' nor '.join(str(root / candidate) for candidate in self)}")


def compile_path(path: str, *, files: bool = False) -> Getter:
    """A function from row to value; it raises Missing. Raises ValueError for a path that is not one.

    With `files`, alternatives give all that the row has, as Candidates."""
    ways = _OR.split(path)
    if len(ways) > 1:
        return _either([compile_path(way.strip()) for way in ways], path, files)
    if "{" in path or "}" in path:
        return _format(path)
    if path == ELEMENT_KEY:
        return _element_number
    steps = parse_path(path)

    if len(steps) == 1:

        def get_column(row: Row) -> Any:
            try:
                return row[path]
            except KeyError:
                raise Missing(f"no key '{path}' ({_known(row)})") from None

        return get_column

    def get(row: Row) -> Any:
        return row[path] if path in row else _walk(row, steps, row, "")

    return get


def parse_path(path: str) -> tuple[Step, ...]:
    """The steps of a path without braces: keys, indices, EACH and ELEMENT."""
    steps: list[Step] = []
    position = 0
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None:
            rest = path[position:]
            raise ValueError(f"'{path}' is not a path: see `{rest}` (forms: a.b, a[0], a[].b, a[*])")
        position = match.end()
        key, bracket = match.groups()
        if key is not None:
            steps.append(key)
        else:
            steps.append(_bracket(bracket))
    if not steps or not isinstance(steps[0], str):
        raise ValueError(f"'{path}' is not a path: it must begin with a key of the row")
    if steps.count(ELEMENT) > 1:
        raise ValueError(f"'{path}' has more than one [*]")
    return tuple(steps)


def _bracket(text: str | None) -> Step:
    if text is None:
        return EACH
    if text in ("*", ":*"):
        return ELEMENT if text == "*" else BEFORE
    if text[0].isalpha() or text[0] == "_":
        return _NumberedBy(text)
    if ":" in text:
        start, stop = text.split(":")
        return slice(int(start) if start else None, int(stop) if stop else None)
    return int(text)


def _element_number(row: Row) -> int:
    if ELEMENT_KEY not in row:
        raise Missing("'[*]' is the number of an element, but no other field takes a list apart with [*]")
    number: int = row[ELEMENT_KEY]
    return number


def _either(getters: Sequence[Getter], path: str, files: bool) -> Getter:
    def get(row: Row) -> Any:
        found, problems = [], []
        for getter in getters:
            try:
                value = getter(row)
            except Missing as problem:
                problems.append(str(problem))
                continue
            if value is not None and not files:
                return value
            found.append(value)
        found = [value for value in found if value is not None]
        if not found:
            raise Missing(f"none of '{path}': {'; '.join(problems) or 'all are null'}")
        return Candidates(found)

    return get


def exploded_part(path: str) -> str | None:
    """What stands before `[*]` in a path, or None."""
    ways = _OR.split(path)
    inner = ways
    if "{" in path:
        inner = [name for way in ways for _, name, _, _ in Formatter().parse(way) if name]
    parts = {exploded_part(name) for name in inner} if inner != [path] else {_before_element(path)}
    parts.discard(None)
    if len(parts) > 1:
        raise ValueError(f"'{path}' explodes two lists")
    return parts.pop() if parts else None


def _before_element(path: str) -> str | None:
    before, found, _ = path.partition(ELEMENT_KEY)
    return before if found and before else None


def elements(value: Any, at: str) -> list[Any]:
    """The elements of a list, array or mapping of parallel lists."""
    if isinstance(value, Mapping):
        columns = list(value.values())
        if all(isinstance(column, list) for column in columns) and len({len(c) for c in columns}) <= 1:
            return [dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)]
    elif not isinstance(value, (str, bytes)) and hasattr(value, "__len__") and hasattr(value, "__getitem__"):
        return list(value)
    raise Missing(f"'{at}' is not a list but {_kind(value)}")


def _walk(value: Any, steps: tuple[Step, ...], row: Row, at: str) -> Any:
    for number, step in enumerate(steps):
        if value is None:
            raise Missing(f"'{at}' is null")
        if isinstance(step, str):
            if isinstance(value, NamedInt) and step == "names":
                value = {step: value.names}
            if not isinstance(value, Mapping):
                raise Missing(f"'{at}' has no keys: it is {_kind(value)}")
            if step not in value:
                where = f" in '{at}'" if at else ""
                raise Missing(f"no key '{step}'{where} ({_known(value)})")
            value = value[step]
            at = f"{at}.{step}" if at else step
        elif step is EACH:
            rest = steps[number + 1 :]
            cut = rest.index(ELEMENT) if ELEMENT in rest else len(rest)
            inner = rest[:cut]
            found = [_walk(item, inner, row, f"{at}[{i}]") for i, item in enumerate(elements(value, at))]
            if EACH in inner:
                found = [leaf for branch in found for leaf in branch]
            if cut == len(rest):
                return found
            flat = [leaf for i, branch in enumerate(found) for leaf in elements(branch, f"{at}[{i}]")]
            return _walk(flat, rest[cut:], row, f"{at}[]")
        elif step is BEFORE or isinstance(step, slice):
            if isinstance(step, slice) and isinstance(value, str):
                value = value[step]
            else:
                part = step if isinstance(step, slice) else slice(row.get(ELEMENT_KEY, 0))
                value = elements(value, at)[part]
        else:
            place = _place(step, row)
            items = elements(value, at)
            if not -len(items) <= place < len(items):
                raise Missing(f"'{at}' has {len(items)} elements, so no [{place}]")
            value = items[place]
            at = f"{at}[{place}]"
    return value


def _place(step: Step, row: Row) -> int:
    if step is ELEMENT:
        return int(row.get(ELEMENT_KEY, 0))
    if isinstance(step, _NumberedBy):
        return step.number(row)
    assert isinstance(step, int)
    return step


def _format(template: str) -> Getter:
    """A path with braces: text with values in it."""
    pieces: list[tuple[str, Getter | None, str]] = []
    for literal, name, spec, conversion in Formatter().parse(template):
        if name == "" or conversion:
            raise ValueError(f"'{template}': braces hold a path and at most a format, as in {{id:012d}}")
        pieces.append((literal, compile_path(name) if name else None, spec or ""))

    def render(row: Row) -> str:
        out = []
        for literal, get, spec in pieces:
            out.append(literal)
            if get is not None:
                value = get(row)
                if value is None or isinstance(value, (Mapping, list)):
                    raise Missing(f"'{template}' needs text or a number but found {_kind(value)}")
                out.append(_formatted(value, spec))
        return "".join(out)

    return render


def _formatted(value: Any, spec: str) -> str:
    if isinstance(value, NamedInt):
        value = value.name if spec[-1:] not in "dxXbo" or not spec else int(value)
    try:
        return format(value, spec)
    except ValueError:
        # CSV cells are text even where they are numbers.
        for number in (int, float):
            try:
                return format(number(value), spec)
            except (TypeError, ValueError):
                continue
        raise Missing(f"'{value}' cannot be written in the format '{spec}'") from None


def _known(row: Mapping[str, Any]) -> str:
    names = [str(name) for name in row if name != ELEMENT_KEY]
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"the row has: {shown}" if names else "the row is empty"


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return "a mapping" if isinstance(value, Mapping) else f"a {type(value).__name__}"
