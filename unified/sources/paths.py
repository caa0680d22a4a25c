"""The path language of fields: where a value stands in a row.

    a.b        key b of a                 a[0]     element 0 of a
    a[].b      b of all elements of a     a[*].b   b of one element; the row is exploded, see explode.py
    {a}_{b.c}  text made of values: braces hold paths, `{id:012d}` takes Python's format marks

A row key that equals the whole path wins, so that columns may have dots in their names. `[]` and
`[*]` also go over a mapping of parallel lists, as `datasets` returns for sequences of mappings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from string import Formatter
from typing import Any, TypeAlias

from unified.sources.base import NamedInt, Row

Getter: TypeAlias = Callable[[Row], Any]
Step: TypeAlias = "str | int | _Marker"

ELEMENT_KEY = "[*]"
"""Key under which an exploded row holds the number of its element."""


class Missing(Exception):
    """The row has no such key. The message says which, and which there are."""


class _Marker:
    def __init__(self, text: str) -> None:
        self.text = text


EACH, ELEMENT = _Marker("[]"), _Marker("[*]")

_STEP = re.compile(r"(?:(?:^|(?<=.)\.)([^.\[\]{}]+))|\[(-?\d+|\*)?\]")


def compile_path(path: str) -> Getter:
    """A function from row to value; it raises Missing. Raises ValueError for a path that is not one."""
    if "{" in path or "}" in path:
        return _format(path)
    steps = parse_path(path)

    if len(steps) == 1:

        def get_column(row: Row) -> Any:
            try:
                return row[path]
            except KeyError:
                raise Missing(f"no key '{path}' ({_known(row)})") from None

        return get_column

    def get(row: Row) -> Any:
        return row[path] if path in row else _walk(row, steps, row.get(ELEMENT_KEY, 0), "")

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
            steps.append(EACH if bracket is None else ELEMENT if bracket == "*" else int(bracket))
    if not steps or not isinstance(steps[0], str):
        raise ValueError(f"'{path}' is not a path: it must begin with a key of the row")
    if steps.count(ELEMENT) > 1:
        raise ValueError(f"'{path}' has more than one [*]")
    return tuple(steps)


def exploded_part(path: str) -> str | None:
    """What stands before `[*]` in a path, or None."""
    if "{" in path:
        parts = {exploded_part(name) for _, name, _, _ in Formatter().parse(path) if name}
        parts.discard(None)
        if len(parts) > 1:
            raise ValueError(f"'{path}' explodes two lists")
        return parts.pop() if parts else None
    return path.partition("[*]")[0] if "[*]" in path else None


def elements(value: Any, at: str) -> list[Any]:
    """The elements of a list, array or mapping of parallel lists."""
    if isinstance(value, Mapping):
        columns = list(value.values())
        if all(isinstance(column, list) for column in columns) and len({len(c) for c in columns}) <= 1:
            return [dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)]
    elif not isinstance(value, (str, bytes)) and hasattr(value, "__len__") and hasattr(value, "__getitem__"):
        return list(value)
    raise Missing(f"'{at}' is not a list but {_kind(value)}")


def _walk(value: Any, steps: tuple[Step, ...], element: int, at: str) -> Any:
    for number, step in enumerate(steps):
        if value is None:
            raise Missing(f"'{at}' is null")
        if isinstance(step, str):
            if not isinstance(value, Mapping):
                raise Missing(f"'{at}' has no keys: it is {_kind(value)}")
            if step not in value:
                where = f" in '{at}'" if at else ""
                raise Missing(f"no key '{step}'{where} ({_known(value)})")
            value = value[step]
            at = f"{at}.{step}" if at else step
        elif step is EACH:
            rest = steps[number + 1 :]
            found = [_walk(item, rest, element, f"{at}[{i}]") for i, item in enumerate(elements(value, at))]
            return [leaf for branch in found for leaf in branch] if EACH in rest else found
        else:
            index = element if step is ELEMENT else step
            assert isinstance(index, int)
            items = elements(value, at)
            if not -len(items) <= index < len(items):
                raise Missing(f"'{at}' has {len(items)} elements, so no [{index}]")
            value = items[index]
            at = f"{at}[{index}]"
    return value


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
