"""Values as text, for comparing what two rows say."""

from __future__ import annotations

from typing import Any

import numpy as np

from unified.sources.base import NamedInt


def as_text(value: Any) -> str | None:
    """`value` as text: 1, 1.0 and "1" are the same, booleans are true and false, a class is its name; None
    for null."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        return None
    if isinstance(value, NamedInt):
        return value.name
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
