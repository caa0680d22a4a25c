"""Pickles as plain data, without executing anything.

A pickle is a program: it names functions and calls them. Here each name that it may use stands in a list
below, and stands for a function of this file that builds plain data; any other name is refused. numpy's
own functions are not called either, since a crafted state can make them read memory as objects.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from unified.errors import UserError

KINDS = "biufcSU"
"""Kinds of numpy scalars that may be in an array, besides objects (`O`)."""


def load_pickle(path: Path, where: str) -> Any:
    """What a pickle of Python 2 or 3 holds: dict, list, tuple, set, text, bytes, numbers, None and numpy
    arrays. Text of Python 2 is decoded as UTF-8, or else Latin-1. Raises UserError, also for anything else
    in it, by name."""
    try:
        with path.open("rb") as file:
            old = _protocol(file.read(2)) < 3
            file.seek(0)
            found = _Reader(file, encoding="bytes").load()
        return _Plain(old)(found)
    except Refused as refused:
        raise UserError(
            f"{where}: {path} is not plain data: {refused}. Pickles are read without executing anything, so "
            "only containers, text, numbers and numpy arrays may be in them; save the rows as JSON or parquet"
        ) from refused
    except Exception as error:  # a damaged pickle can raise anything
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{where}: {path} is not a readable pickle: {reason}") from error


def _protocol(start: bytes) -> int:
    return start[1] if start[:1] == b"\x80" and len(start) == 2 else 0


class Refused(Exception):
    """Something that is not in the list."""


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _Name(ALLOWED[module, name])
        except KeyError:
            raise Refused(f"it wants {module}.{name}") from None

    def persistent_load(self, pid: Any) -> NoReturn:
        raise Refused("it points at something outside the file")


class _Name:
    """A name in a pickle. It can be called, and nothing about it can be set."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise Refused(f"it sets {name} of a function")


# ------------------------------------------------------------------------------------------ numpy


class _Dtype:
    """A numpy type under construction."""

    __slots__ = ("dtype",)

    def __init__(self, code: Any, *_: Any) -> None:
        code = code.decode("ascii") if isinstance(code, bytes) else code
        if not isinstance(code, str):
            raise Refused(f"it has a numpy type {code!r}")
        self.dtype = np.dtype(code)
        if self.dtype.kind not in KINDS + "O" or self.dtype.hasobject != (self.dtype.kind == "O"):
            raise Refused(f"it has numpy arrays of type {self.dtype}")

    def __setstate__(self, state: Any) -> None:
        version, order, parts, names, fields, size = state[:6]
        if parts is not None or names is not None or fields is not None:
            raise Refused("it has numpy arrays with named or nested fields")
        order = order.decode("ascii") if isinstance(order, bytes) else order
        if order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(">" if order == ">" else "<")
        if self.dtype.kind in "SU" and self.dtype.itemsize == 0 and size > 0:
            self.dtype = np.dtype(f"{self.dtype.kind}{size // (4 if self.dtype.kind == 'U' else 1)}")


class _Array:
    """A numpy array under construction; an object array is a list of its items."""

    __slots__ = ("items", "order", "shape", "values")

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.order = "C"
        self.items: list[Any] | None = None
        self.values: Any = None

    def __setstate__(self, state: Any) -> None:
        shape, dtype, fortran, data = state[-4:]
        if not isinstance(dtype, _Dtype):
            raise Refused("it has an array without a type")
        self.shape, self.order = tuple(int(n) for n in shape), "F" if fortran else "C"
        if dtype.dtype.kind == "O":
            self.items = data if isinstance(data, list) else list(data)
        else:
            self.values = _from_bytes(data, dtype.dtype, self.shape, self.order)


def _from_bytes(data: Any, dtype: np.dtype[Any], shape: tuple[int, ...], order: str) -> Any:
    if isinstance(data, str):
        data = data.encode("latin-1")
    # Arrays of Python own their memory; these are copied, so that they do not stay inside the file's bytes.
    return np.frombuffer(data, dtype=dtype).reshape(shape, order=order).copy(order="K")  # type: ignore[call-overload]


def _reconstruct(subtype: Any, shape: Any, code: Any) -> _Array:
    return _Array()


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any) -> Any:
    if not isinstance(dtype, _Dtype) or dtype.dtype.kind == "O":
        raise Refused("it has an array without a type")
    return _from_bytes(data, dtype.dtype, tuple(int(n) for n in shape), "F" if order in ("F", b"F") else "C")


def _scalar(dtype: Any, data: Any = None) -> Any:
    if not isinstance(dtype, _Dtype) or dtype.dtype.kind == "O":
        raise Refused("it has a numpy scalar of an object")
    return _from_bytes(data, dtype.dtype, (), "C")[()].item()


def _nothing(*args: Any) -> NoReturn:
    raise Refused("it calls a type that is only named in plain data")


# ------------------------------------------------------------------------------------- containers


class _Bytes(bytes):
    """Bytes that Python 3 wrote in a protocol of Python 2."""


def _encode(text: Any, encoding: Any) -> _Bytes:
    if encoding not in ("latin1", b"latin1"):
        raise Refused(f"it encodes text as {encoding!r}")
    return _Bytes(text.encode("latin-1"))


def _bytes(data: Any = b"", encoding: Any = "latin-1") -> _Bytes:
    if not isinstance(data, (bytes, str, list)):
        raise Refused(f"it makes bytes of a {type(data).__name__}")
    return _encode(data, "latin1") if isinstance(data, str) else _Bytes(data)


def _dict(*args: Any) -> dict[Any, Any]:
    """OrderedDict, Counter, dict; of a defaultdict, which names its factory first."""
    items = [arg for arg in args if not isinstance(arg, _Name) and arg is not None]
    return dict(items[0]) if items else {}


def _list(items: Any = (), maxlen: Any = None) -> list[Any]:
    return list(items)


_BUILTINS: dict[str, Callable[..., Any]] = {
    "list": _list, "dict": _dict, "tuple": tuple, "set": set, "frozenset": frozenset, "str": _nothing,
    "unicode": _nothing, "int": _nothing, "long": _nothing, "float": _nothing, "bool": _nothing,
    "complex": complex, "bytearray": _bytes, "bytes": _bytes, "slice": _nothing, "object": _nothing,
}  # fmt: skip
ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    **{(module, name): f for module in ("builtins", "__builtin__") for name, f in _BUILTINS.items()},
    ("collections", "OrderedDict"): _dict,
    ("collections", "defaultdict"): _dict,
    ("collections", "Counter"): _dict,
    ("collections", "deque"): _list,
    ("_codecs", "encode"): _encode,
    ("numpy", "ndarray"): _nothing,
    ("numpy", "dtype"): _Dtype,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
}
"""Every name that a pickle may use, and what it stands for."""


class _Plain:
    """Turns what was read into plain data: arrays are finished, text of Python 2 decoded."""

    def __init__(self, old: bool) -> None:
        self.old = old
        self.done: dict[int, Any] = {}
        self.held: list[Any] = []
        """What `done` knows by its id must not be freed meanwhile."""

    def __call__(self, value: Any) -> Any:
        if value is None or isinstance(value, (str, int, float, complex)):
            return value
        if isinstance(value, bytes):
            return self._text(value) if self.old and not isinstance(value, _Bytes) else bytes(value)
        if id(value) in self.done:
            return self.done[id(value)]
        self.held.append(value)
        return self._container(value)

    def _container(self, value: Any) -> Any:
        if isinstance(value, list):
            self.done[id(value)] = value
            for i, item in enumerate(value):
                value[i] = self(item)
            return value
        if isinstance(value, Mapping):
            found: dict[Any, Any] = {}
            self.done[id(value)] = found
            found.update((self(key), self(item)) for key, item in value.items())
            return found
        if isinstance(value, (tuple, set, frozenset)):
            return self._keep(value, type(value)(self(item) for item in value))
        if isinstance(value, np.ndarray):
            return value
        if isinstance(value, _Array):
            if value.items is None:
                return self._keep(value, value.values)
            array = np.empty(len(value.items), dtype=object)
            self.done[id(value)] = array
            for i, item in enumerate(value.items):
                array[i] = self(item)
            return self._keep(value, array.reshape(value.shape, order=value.order))  # type: ignore[call-overload]
        raise Refused(f"it has a {type(value).__name__.lstrip('_').lower()} where data should be")

    def _keep(self, value: Any, plain: Any) -> Any:
        self.done[id(value)] = plain
        return plain

    def _text(self, value: bytes) -> str:
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value.decode("latin-1")
