"""The container of flax checkpoints, as `flax.serialization.to_bytes(params)` writes it, without flax.

Nested msgpack maps with text keys. A leaf is an extension object, of type 1 (array) or 3 (numpy scalar),
whose payload is msgpack again: [shape, name of the dtype, bytes in C order]. An array above 2^30 bytes is a
map {CHUNKED: true, "shape": {"0": ...}, "chunks": {"0": array of one dimension, ...}}.

Keys are given joined by '/', in the order of the file; flax sorts them at every level (`flax_order`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from unified.errors import UserError

ARRAY, SCALAR = 1, 3
CHUNKED = "__msgpack_chunked_array__"
CHUNK_BYTES = 2**30
MAX_DEPTH = 64
MAX_DIMS = 32
BFLOAT16 = np.dtype([("bfloat16", "<u2")])
"""numpy has no bfloat16: its bits, under its name."""
DTYPES = {
    name: np.dtype(name)
    for name in (
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16",
        "float32", "float64", "complex64", "complex128",
    )
} | {"bfloat16": BFLOAT16}  # fmt: skip

# kind -> its first byte where the length (or value) is in it, how many of those there are, and otherwise
# size of the length behind the first byte -> first byte
_FORMS: dict[str, tuple[int, int, dict[int, int]]] = {
    "whole number": (0x00, 128, {1: 0xCC, 2: 0xCD, 4: 0xCE, 8: 0xCF}),
    "map": (0x80, 16, {2: 0xDE, 4: 0xDF}),
    "list": (0x90, 16, {2: 0xDC, 4: 0xDD}),
    "text": (0xA0, 32, {1: 0xD9, 2: 0xDA, 4: 0xDB}),
    "byte string": (0, 0, {1: 0xC4, 2: 0xC5, 4: 0xC6}),
    "extension": (0, 0, {1: 0xC7, 2: 0xC8, 4: 0xC9}),
    "true": (0xC3, 1, {}),
}
_SHORT = {first + i: (kind, i) for kind, (first, count, _) in _FORMS.items() for i in range(count)} | {
    0xD4 + i: ("extension", 2**i) for i in range(5)
}
_LONG = {byte: (kind, size) for kind, (_, _, sizes) in _FORMS.items() for size, byte in sizes.items()}


def flax_order(keys: Iterable[str]) -> list[str]:
    """Keys as flax writes them: sorted at every level."""
    return sorted(keys, key=lambda key: key.split("/"))


def dtype_name(dtype: np.dtype) -> str:
    """As in the file."""
    return "bfloat16" if dtype == BFLOAT16 else dtype.name


@dataclass(frozen=True, eq=False)
class Leaf:
    """An array of a file. `parts` are views of the memory map, of one dimension; several if it is chunked."""

    shape: tuple[int, ...]
    dtype: np.dtype
    parts: tuple[np.ndarray, ...]
    scalar: bool = False

    def array(self) -> Any:
        """The array: a view of the file, read-only, or a copy if it is chunked. A numpy scalar for one."""
        flat = self.parts[0] if len(self.parts) == 1 else np.concatenate(self.parts)
        return flat[0] if self.scalar else flat.reshape(self.shape)


def read(path: Path) -> dict[str, Leaf]:
    """The arrays of a file, by a memory map: reading the list of them touches only their heads.

    Raises:
        UserError: anything that flax would not have written; names the file, the key, the byte.
    """
    if not path.is_file():
        why = "is a folder, where a checkpoint (.bin) is wanted" if path.is_dir() else "there is no such file"
        raise UserError(f"{path}: {why}")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty; download it again")
    return _Reader(path).leaves


class _Reader:
    """Walks through a file once. `end` is where the innermost object that has a length must end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = np.memmap(path, np.uint8, mode="r").view(np.ndarray)
        self.at, self.end = 0, len(self.data)
        self.leaves: dict[str, Leaf] = {}
        kind, count = self.head("")
        if kind != "map":
            raise self.error(
                "", f"is no flax checkpoint: it starts with {self.data[:8].tobytes()!r}, not with a map"
            )
        self.map("", count)
        if self.at != self.end:
            raise self.error("", f"holds {self.end - self.at} bytes more behind its last array")

    def error(self, key: str, why: str) -> UserError:
        where = f"{self.path}: {key}" if key else f"{self.path}"
        return UserError(f"{where}: {why} (at byte {self.at:,} of {len(self.data):,})")

    # ------------------------------------------------------------------------------- tokens

    def take(self, key: str, count: int) -> np.ndarray:
        if self.at + count > self.end:
            whole = self.end == len(self.data)
            why = "the file is cut off; download it again" if whole else "is damaged; download the file again"
            raise self.error(key, f"{why}: {count:,} bytes more are wanted, {self.end - self.at:,} are there")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, key: str, size: int) -> int:
        return int.from_bytes(self.take(key, size).tobytes(), "big")

    def head(self, key: str) -> tuple[str, int]:
        """Kind of the next object, and its length or value."""
        byte = self.number(key, 1)
        if byte in _LONG:
            kind, size = _LONG[byte]
            return kind, self.number(key, size)
        return _SHORT.get(byte, (f"msgpack object {byte:#04x}", 0))

    def expect(self, key: str, wanted: str, what: str) -> int:
        kind, length = self.head(key)
        if kind != wanted:
            raise self.error(key, f"{what} must be a {wanted}, not a {kind}")
        return length

    def text(self, key: str, what: str) -> str:
        raw = self.take(key, self.expect(key, "text", what)).tobytes()
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise self.error(key, f"{what} is not UTF-8 text") from None

    # ------------------------------------------------------------------------------- objects

    def map(self, key: str, count: int) -> None:
        if count == 0:
            raise self.error(key, "is an empty map")
        if key.count("/") >= MAX_DEPTH:
            raise self.error(key[:40] + "...", f"maps in more than {MAX_DEPTH} maps")
        names: set[str] = set()
        for _ in range(count):
            name = self.text(key, "a key")
            if name == CHUNKED and not names:
                self.leaves[key] = self.chunked(key, count)
                return
            if name in names or "/" in name or not name:
                raise self.error(key, f"the key {name!r} is empty, there twice, or has a '/'")
            names.add(name)
            child = f"{key}/{name}" if key else name
            kind, length = self.head(child)
            if kind == "map":
                self.map(child, length)
            elif kind == "extension":
                self.leaves[child] = self.leaf(child, length)
            else:
                raise self.error(child, f"is a {kind}, where arrays and maps of them are wanted")

    def leaf(self, key: str, length: int) -> Leaf:
        code = self.number(key, 1)
        if code not in (ARRAY, SCALAR):
            raise self.error(key, f"is an extension of type {code}; arrays are of type {ARRAY} or {SCALAR}")
        outer, self.end = self.end, self.at + length
        if self.end > outer:
            self.end = outer
            self.take(key, length)
        if self.expect(key, "list", "an array") != 3:
            raise self.error(key, "an array must be a list of shape, dtype and bytes")
        shape = self.shape(key, range(self.expect(key, "list", "a shape")))
        name = self.text(key, "a dtype")
        dtype = DTYPES.get(name)
        if dtype is None:
            raise self.error(key, f"{shape} is of dtype {name!r}; known are {', '.join(DTYPES)}")
        raw = self.take(key, self.expect(key, "byte string", "the content"))
        wanted = math.prod(shape) * dtype.itemsize
        if len(raw) != wanted or (code == SCALAR and shape):
            raise self.error(key, f"shape {shape} of {name} is {wanted:,} bytes, the file has {len(raw):,}")
        if self.at != self.end:
            raise self.error(key, f"shape {shape}: {self.end - self.at} bytes more than its content")
        self.end = outer
        return Leaf(shape, dtype, (raw.view(dtype),), code == SCALAR)

    def shape(self, key: str, dims: Iterable[int]) -> tuple[int, ...]:
        shape = tuple(self.expect(key, "whole number", "a length of a shape") for _ in dims)
        if len(shape) > MAX_DIMS or max(shape, default=0) > len(self.data):
            raise self.error(key, f"no array of this file can have the shape {str(shape)[:80]}")
        return shape

    def chunked(self, key: str, count: int) -> Leaf:
        if count != 3 or self.head(key)[0] != "true" or self.text(key, "a key") != "shape":
            raise self.error(key, "a chunked array must be a map of true, shape and chunks")
        shape = self.shape(key, self.indices(key))
        if self.text(key, "a key") != "chunks":
            raise self.error(key, f"the chunked array of shape {shape} has no chunks")
        chunks = [self.leaf(key, self.expect(key, "extension", "a chunk")) for _ in self.indices(key)]
        dtypes = {chunk.dtype for chunk in chunks}
        numbers = sum(math.prod(chunk.shape) for chunk in chunks)
        if len(dtypes) != 1 or numbers != math.prod(shape):
            raise self.error(
                key, f"shape {shape}: its chunks hold {numbers:,} numbers of {len(dtypes)} dtypes"
            )
        return Leaf(shape, dtypes.pop(), tuple(chunk.parts[0] for chunk in chunks))

    def indices(self, key: str) -> Iterable[int]:
        """The entries of a map whose keys are "0", "1", ...; the caller reads the value of each."""
        for index in range(self.expect(key, "map", "shape and chunks")):
            if (name := self.text(key, "a key")) != str(index):
                raise self.error(key, f"entry {name!r} of a chunked array stands where {index} belongs")
            yield index


# ------------------------------------------------------------------------------------------ writing


def write(
    path: Path, order: Sequence[str], get: Callable[[str], Any], *, chunk_bytes: int = CHUNK_BYTES
) -> None:
    """Writes a file of arrays: `get(key)`, an array or numpy scalar, is called for each key of `order` in
    turn, so that one is held at a time. In `flax_order` the bytes are those of flax."""
    tree: dict[str, Any] = {}
    for key in order:
        *groups, name = key.split("/")
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
        node[name] = key
    with path.open("xb") as file:
        _write_map(file, tree, get, chunk_bytes)


def _write_map(file: BinaryIO, tree: dict[str, Any], get: Callable[[str], Any], chunk_bytes: int) -> None:
    file.write(_head("map", len(tree)))
    for name, node in tree.items():
        file.write(_text(name))
        if isinstance(node, dict):
            _write_map(file, node, get, chunk_bytes)
            continue
        value = get(node)
        if value.nbytes <= chunk_bytes:
            _write_array(file, value)
            continue
        step = max(1, chunk_bytes // value.itemsize)
        flat = value.reshape(-1)
        chunks = [flat[i : i + step] for i in range(0, flat.size, step)]
        file.write(_head("map", 3) + _text(CHUNKED) + _head("true", 0) + _text("shape"))
        file.write(_head("map", value.ndim))
        for i, length in enumerate(value.shape):
            file.write(_text(str(i)) + _head("whole number", length))
        file.write(_text("chunks") + _head("map", len(chunks)))
        for i, chunk in enumerate(chunks):
            file.write(_text(str(i)))
            _write_array(file, chunk)


def _write_array(file: BinaryIO, array: Any) -> None:
    file.write(_array_head(array))
    file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _array_head(array: Any) -> bytes:
    """All of a leaf before its content."""
    shape = _head("list", array.ndim) + b"".join(_head("whole number", n) for n in array.shape)
    start = _head("list", 3) + shape + _text(dtype_name(array.dtype)) + _head("byte string", array.nbytes)
    code = SCALAR if isinstance(array, np.generic) else ARRAY
    return _head("extension", len(start) + array.nbytes) + bytes([code]) + start


def _text(text: str) -> bytes:
    raw = text.encode()
    return _head("text", len(raw)) + raw


def _head(kind: str, length: int) -> bytes:
    """The shortest head, as msgpack writes it."""
    first, count, sizes = _FORMS[kind]
    if length < count:
        return bytes([first + length])
    if kind == "extension" and length in (1, 2, 4, 8, 16):
        return bytes([0xD3 + length.bit_length()])
    size = next(size for size in sizes if length < 256**size)
    return bytes([sizes[size]]) + length.to_bytes(size, "big")
