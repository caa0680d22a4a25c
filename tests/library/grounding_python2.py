"""Pickles as Python 2 wrote them, protocol 0 with `str` as STRING opcodes: RefCOCO's files are such."""

from __future__ import annotations

from typing import Any


def dumps(value: Any) -> bytes:
    return (_write(value) + ".").encode("ascii")


def _write(value: Any) -> str:
    if isinstance(value, int):
        return f"I{value}\n"
    if isinstance(value, str):
        return f"S{value!r}\n" if value.isascii() else f"V{value.encode('raw_unicode_escape').decode()}\n"
    if isinstance(value, list):
        return "(l" + "".join(_write(item) + "a" for item in value)
    if isinstance(value, dict):
        return "(d" + "".join(_write(key) + _write(item) + "s" for key, item in value.items())
    raise TypeError(f"{type(value).__name__} does not occur in the released files")
