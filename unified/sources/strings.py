"""Text, labels and numbers from what a row holds."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unified.sources.base import NamedInt
from unified.specs.example import BadRow


def to_text(raw: Any, names: Sequence[str] | None = None, mapping: Mapping[str, str] | None = None) -> str:
    """One string. `names` turns an index into a name. `mapping` turns the raw value written as text,
    or else its name, into text, and must know one of them."""
    if isinstance(raw, np.generic):
        raw = raw.item()
    if mapping is not None:
        for text in [str(int(raw)), raw.name] if isinstance(raw, NamedInt) else [_plain(raw)]:
            if text in mapping:
                return mapping[text]
        named = _plain(raw) if names is None else _named(raw, names)
        if named in mapping:
            return mapping[named]
        raise BadRow(f"'{named}' is not in `map` (which has: {', '.join(mapping)})")
    if names is not None:
        return _named(raw, names)
    return raw if isinstance(raw, str) else _plain(raw)


def to_texts(
    raw: Any, names: Sequence[str] | None = None, mapping: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Several strings; a single value counts as one."""
    if isinstance(raw, np.ndarray):
        raw = raw.tolist()
    items = raw if isinstance(raw, (list, tuple)) else [raw]
    return tuple([to_text(item, names, mapping) for item in items])


def parse_list(raw: Any) -> list[Any]:
    """A list that stands in the row as text, as JSON or Python write it (`["a", "b"]`); a list as it is."""
    if not isinstance(raw, str):
        return list(raw)
    try:
        value = ast.literal_eval(raw)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = None
    if not isinstance(value, (list, tuple)):
        raise BadRow(f"no list written as text: {_short(raw)}")
    return list(value)


def to_number(raw: Any, unit_scale: float | None = None) -> float:
    """A finite number; text is parsed."""
    try:
        value = float(raw.strip() if isinstance(raw, str) else raw)
    except (TypeError, ValueError, OverflowError):
        raise BadRow(f"not a number: {_short(raw)}") from None
    if not math.isfinite(value):
        raise BadRow(f"not a finite number: {value}")
    return value if unit_scale is None else value * unit_scale


def _plain(raw: Any) -> str:
    if isinstance(raw, str):
        return raw
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, NamedInt):
        return raw.name
    if isinstance(raw, (int, float)):
        return str(raw)
    if isinstance(raw, bytes):
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadRow(f"not UTF-8 text: {error}") from None
    if raw is None:
        raise BadRow("null where text was expected")
    if isinstance(raw, (list, tuple, np.ndarray)):
        raise BadRow("a list where one text was expected (type `texts` takes all, a path with [*] one each)")
    raise BadRow(f"{type(raw).__name__} where text was expected: {_short(raw)}")


def _named(raw: Any, names: Sequence[str]) -> str:
    if isinstance(raw, str):
        if raw in names:
            return raw
        if not raw.isdecimal():
            raise BadRow(f"'{raw}' is neither in `names` nor an index into it")
        raw = int(raw)
    if isinstance(raw, float) and raw.is_integer():
        raw = int(raw)
    if not isinstance(raw, int) or not 0 <= raw < len(names):
        raise BadRow(f"{_short(raw)} is not an index into the {len(names)} `names` (0 to {len(names) - 1})")
    return names[raw]


def _short(raw: Any) -> str:
    text = repr(raw)
    return text if len(text) <= 60 else text[:57] + "..."
