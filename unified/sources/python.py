"""Rows from a function of the user: the way in for everything else."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from unified.errors import UserError, did_you_mean
from unified.sources.base import Row, RowSource, RowStream
from unified.sources.location import Place
from unified.specs.example import BadRow
from unified.specs.source_schema import PythonSource


def open_python(place: Place, spec: PythonSource, split: str) -> RowSource | RowStream:
    """Calls `file.py:function` (the file beside the YAML) or `module:function` with the split's
    value and `args`. A sequence gives random access, another iterable a stream."""
    where = place.at("function")
    file, _, name = spec.function.rpartition(":")
    if not file or not name.isidentifier():
        raise UserError(f"{where}: '{spec.function}' is not `file.py:function` or `module:function`")
    module = _load_file(place, file, where) if file.endswith(".py") else _import(file, where)
    function = getattr(module, name, None)
    if not callable(function):
        known = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UserError(f"{where}: no function '{name}' in {file}{did_you_mean(name, known)}")
    try:
        rows = function(spec.splits[split], **spec.args)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{where}: {spec.function} failed: {_place(error)}") from error
    label = f"{spec.function}:{split}"
    if hasattr(rows, "__len__") and hasattr(rows, "__getitem__"):
        return PythonRows(rows, place.root, label)
    if isinstance(rows, Iterable):
        return PythonStream(function, spec, split, rows, place.root, label)
    raise UserError(
        f"{where}: {spec.function} returned {type(rows).__name__}; it must return rows: a sequence "
        f"(`__len__` and `__getitem__`) or an iterable of mappings"
    )


class PythonRows(RowSource):
    """A user's sequence. What it raises for a row makes that row a bad one."""

    def __init__(self, rows: Any, root: Path, name: str) -> None:
        self.root = root
        self.rows = rows
        self.name = name

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        try:
            return _as_row(self.rows[index])
        except (BadRow, UserError):
            raise
        except Exception as error:
            raise BadRow(_place(error)) from error

    def key(self, index: int) -> str:
        return f"{self.name}[{index}]"


class PythonStream(RowStream):
    """A user's iterable. A generator can be read once, so later passes call the function again."""

    def __init__(
        self, function: Any, spec: PythonSource, split: str, rows: Iterable[Any], root: Path, name: str
    ) -> None:
        self.root = root
        self.name = name
        self.function, self.spec, self.split = function, spec, split
        self.rows: Iterable[Any] | None = rows

    def __iter__(self) -> Iterator[tuple[str, Row]]:
        rows, self.rows = self.rows, None
        if rows is None:
            rows = self.function(self.spec.splits[self.split], **self.spec.args)
        try:
            for index, row in enumerate(rows):
                yield f"{self.name}[{index}]", _as_row(row)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{self.name} failed: {_place(error)}") from error


def _as_row(row: Any) -> Row:
    if isinstance(row, dict):
        return row
    try:
        return dict(row)
    except (TypeError, ValueError):
        raise BadRow(f"a row is a mapping, found {type(row).__name__}") from None


def _load_file(place: Place, file: str, where: str) -> Any:
    path = place.task.path.parent.absolute() / place.expand(file, "function")
    if not path.is_file():
        raise UserError(f"{where}: no such file: {path} (files of functions lie beside the spec)")
    # One module a file, so that worker processes can unpickle what it defines.
    name = f"unified_hook_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UserError(f"{where}: {file} cannot be imported: {_place(error)}") from error
    return module


def _import(name: str, where: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise UserError(f"{where}: module '{name}' cannot be imported: {_place(error)}") from error


def _place(error: Exception) -> str:
    """`my_rows.py:12: KeyError: 'x'`, the innermost line of the user's own file."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.filename != __file__ and "importlib" not in f.filename]
    at = f"{Path(own[-1].filename).name}:{own[-1].lineno}: " if own else ""
    return f"{at}{type(error).__name__}: {error}"
