"""Rows of MATLAB files: v5 through scipy, v7.3 (which is HDF5) through h5py.

A row is one sample of each variable that fields use, along the variable's last axis, or along the long
one of a vector. HDF5 has MATLAB's axes in reverse; rows have them in MATLAB's order. v7.3 files are opened
for every row, so that nothing is open across a fork, and only what a row needs is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from unified.errors import UserError
from unified.sources.base import Row, RowSource
from unified.sources.location import Place
from unified.sources.records import Columns, Listed, listed, records_of
from unified.specs.example import BadRow
from unified.specs.source_schema import MatSource

if TYPE_CHECKING:
    import h5py

Pick: TypeAlias = Callable[[int], Any]
INTERNAL = ("#refs#", "#subsystem#")


def open_mat(place: Place, spec: MatSource, split: str) -> RowSource:
    """The rows of one split."""
    import h5py

    key = place.at(f"splits.{split}")
    path = place.file(spec.splits[split], f"splits.{split}")
    records = records_of(spec.records, split, place.at())
    wanted = frozenset([records]) if records is not None else place.wanted()
    try:
        if h5py.is_hdf5(path):
            return _open_hdf5(path, place, records, wanted)
        return _open_v5(path, place, records, wanted)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{key}: {path} cannot be read as a MATLAB file: {error}") from error


def _nothing_wanted(path: Path, there: list[str], place: Place, records: str | None) -> UserError:
    names = ", ".join(there) or "nothing"
    if records is not None:
        return UserError(f"{place.at('records')}: no variable '{records}' in {path} (it has: {names})")
    return UserError(f"{place.at()}: no field reads a variable of {path} (it has: {names})")


def _unequal(lengths: Mapping[str, int], path: Path, place: Place) -> UserError:
    said = ", ".join(f"{name} {n}" for name, n in lengths.items())
    return UserError(
        f"{place.at()}: the variables of {path} that fields read differ in samples (last axis): {said}; read "
        f"the odd one with a source of its own (`join`)"
    )


# ----------------------------------------------------------------------------------------- v5


def _open_v5(path: Path, place: Place, records: str | None, wanted: frozenset[str]) -> RowSource:
    from scipy.io import loadmat, whosmat

    there = [name for name, _, _ in whosmat(path)]
    names = [name for name in there if name in wanted]
    if not names:
        raise _nothing_wanted(path, there, place, records)
    arrays = loadmat(path, variable_names=names)
    if records is not None:
        items = [_plain(item) for item in np.atleast_1d(arrays[records].squeeze())]
        return Listed(list(listed(items)), place.root, f"{path.name}:{records}")
    columns = {name: V5Samples(arrays[name]) for name in names}
    if len({len(column) for column in columns.values()}) > 1:
        raise _unequal({name: len(column) for name, column in columns.items()}, path, place)
    return Columns(columns, place.root, f"{path.name}:", frozenset(names))  # type: ignore[arg-type]


class V5Samples:
    """The samples of an array as scipy reads it."""

    def __init__(self, array: Any) -> None:
        self.array = array.reshape(-1) if array.ndim <= 2 and 1 in array.shape else array

    def __len__(self) -> int:
        return int(self.array.shape[-1])

    def __getitem__(self, index: int) -> Any:
        sample = self.array[..., index]
        return np.ascontiguousarray(sample) if sample.ndim else _plain(sample)


def _plain(value: Any) -> Any:
    """What a cell or a struct holds: text, numbers, arrays, lists of cells, mappings of fields."""
    if isinstance(value, np.void) and value.dtype.names:
        return {name: _plain(value[name]) for name in value.dtype.names}
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "U":
            texts = [str(text) for text in value.reshape(-1)]
            return texts[0] if len(texts) == 1 else texts or ""
        if value.size == 1:
            return _plain(value.reshape(-1)[0])
        if value.dtype.names or value.dtype == object:
            return [_plain(item) for item in value.reshape(-1)]
        return value.reshape(-1) if value.ndim == 2 and 1 in value.shape else value
    return value.item() if isinstance(value, np.generic) else value


# --------------------------------------------------------------------------------------- v7.3


def _open_hdf5(path: Path, place: Place, records: str | None, wanted: frozenset[str]) -> RowSource:
    import h5py

    with h5py.File(path, "r") as file:
        there = [name for name in file if name not in INTERNAL]
        names = [name for name in there if name in wanted]
        if not names:
            raise _nothing_wanted(path, there, place, records)
        lengths = {name: _samples(file[name]) for name in names}
    if len(set(lengths.values())) > 1:
        raise _unequal(lengths, path, place)
    return Hdf5Rows(path, place.root, names, lengths[names[0]], records)


class Hdf5Rows(RowSource):
    """Samples of the variables `names`; with `records`, of that one variable."""

    def __init__(
        self, path: Path, root: Path, names: list[str], length: int, records: str | None = None
    ) -> None:
        self.path, self.root = path, root
        self.names, self.length, self.records = names, length, records

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Row:
        import h5py

        if not 0 <= index < len(self):
            raise IndexError(index)
        try:
            with h5py.File(self.path, "r") as file:
                row = {name: _sample(file[name], index, file) for name in self.names}
        except (OSError, ValueError, KeyError) as error:
            raise BadRow(f"{self.path} cannot be read: {error}") from error
        if self.records is None:
            return row
        value = row[self.records]
        return value if isinstance(value, dict) else {"value": value}

    def key(self, index: int) -> str:
        return f"{self.path.name}:{self.records or ''}[{index}]"


def _samples(variable: h5py.Dataset | h5py.Group) -> int:
    if hasattr(variable, "keys"):  # a struct; in an array of them each field is a list of references
        field = variable[next(iter(variable))]
        return int(field.size) if _is_references(field) else 1
    return int(variable.size if _is_vector(variable) else variable.shape[0])


def _is_vector(variable: h5py.Dataset) -> bool:
    return variable.ndim < 2 or (variable.ndim == 2 and 1 in variable.shape)


def _is_references(variable: Any) -> bool:
    import h5py

    return isinstance(variable, h5py.Dataset) and variable.dtype == h5py.ref_dtype


def _sample(variable: h5py.Dataset | h5py.Group, index: int, file: h5py.File) -> Any:
    if hasattr(variable, "keys"):
        if not _is_references(variable[next(iter(variable))]):
            return {name: _whole(variable[name], file) for name in variable}
        return {name: _sample(variable[name], index, file) for name in variable}
    if not _is_vector(variable):
        return np.ascontiguousarray(variable[index].T)
    value = variable[...].reshape(-1)[index]
    return _whole(file[value], file) if _is_references(variable) else value.item()


def _whole(variable: h5py.Dataset | h5py.Group, file: h5py.File) -> Any:
    """What a cell or a field of a struct holds, as `_plain` gives it of v5."""
    if hasattr(variable, "keys"):
        return {name: _whole(variable[name], file) for name in variable}
    kind = variable.attrs.get("MATLAB_class", b"")
    if variable.attrs.get("MATLAB_empty"):
        return "" if kind == b"char" else []
    values = variable[...]
    if kind == b"char":
        lines = ["".join(map(chr, line)) for line in values.reshape(values.shape[0], -1).T]
        return lines[0] if len(lines) == 1 else [line.rstrip() for line in lines]
    if _is_references(variable):
        items = [_whole(file[item], file) for item in values.T.reshape(-1)]
        return items[0] if len(items) == 1 else items
    if values.size == 1:
        return values.reshape(-1)[0].item()
    return values.reshape(-1) if _is_vector(variable) else np.ascontiguousarray(values.T)
