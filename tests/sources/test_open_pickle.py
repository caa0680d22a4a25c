"""Pickles are read as plain data, whatever they were written by, and run nothing."""

from __future__ import annotations

import os
import pickle
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from source_helpers import task_of

from unified.errors import UserError
from unified.sources.base import RowSource
from unified.sources.fields import read_fields
from unified.sources.open import open_source
from unified.sources.unpickle import load_pickle

PYTHON_2 = b"".join([  # [{'sent': 'caf\xc3\xa9', u'raw': u'caf\xe9', 'ids': array([3, 4]), 'n': 5L}]
    b"\x80\x02]q\x00}q\x01(U\x04sentq\x02U\x05caf\xc3\xa9q\x03X\x03\x00\x00\x00rawX\x05\x00\x00\x00caf\xc3\xa9",
    b"U\x03idscnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85",
    b"cnumpy\ndtype\nU\x02i8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89",
    b"U\x10\x03\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00tbU\x01n\x8a\x01\x05ua.",
])  # fmt: skip


def write(path: Path, value: Any, protocol: int = 4) -> Path:
    path.write_bytes(value if isinstance(value, bytes) else pickle.dumps(value, protocol))
    return path


def rows_of(
    folder: Path, value: Any, protocol: int = 4, fields: dict[str, Any] | None = None, **source: Any
) -> Any:
    write(folder / "rows.p", value, protocol)
    spec = {"type": "pickle", "splits": {"train": "rows.p"}, **source}
    task = task_of(folder, spec, **(fields or {"text": {}}))
    rows = open_source(task, "train")
    assert isinstance(rows, RowSource)
    return rows


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    value = {
        "text": "naïve é",
        "bytes": b"\xff\x00a",
        "numbers": [1, 2**70, -1.5, True, None, 2j],
        "tuple": (1, ("a",)),
        "sets": [{1, 2}, frozenset("a")],
        "ordered": OrderedDict([("b", 1), ("a", [2])]),
        "default": defaultdict(list, {"k": [1]}),
        "count": Counter("aab"),
        "deque": deque([1, 2], 5),
    }
    plain = dict(value, deque=[1, 2])
    found = load_pickle(write(tmp_path / "a.p", value, protocol), "x")
    assert found == plain
    assert list(found["ordered"]) == ["b", "a"] and type(found["default"]) is dict


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.asfortranarray(np.arange(6.0, dtype=np.float32).reshape(2, 3)),
        np.array(["a", "lång"]), np.array([b"x", b"yz"]), np.array([True, False]), np.zeros((0, 3)),
        np.array(7),
        np.array(["a", None, [1]], dtype=object), np.array([["a", 1]], dtype=object),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)  # fmt: skip
def test_numpy_arrays(tmp_path: Path, protocol: int, array: Any) -> None:
    found = load_pickle(write(tmp_path / "a.p", {"a": array, "again": array}, protocol), "x")
    assert found["a"].dtype == array.dtype and found["a"].shape == array.shape
    assert found["a"].tolist() == array.tolist() and found["again"].tolist() == array.tolist()


def test_numpy_scalars(tmp_path: Path) -> None:
    for protocol in range(6):
        value = [np.float32(1.5), np.int64(3), np.str_("a"), np.bool_(True)]
        assert load_pickle(write(tmp_path / "a.p", value, protocol), "x") == [1.5, 3, "a", True]


def test_python_2(tmp_path: Path) -> None:
    [row] = load_pickle(write(tmp_path / "a.p", PYTHON_2), "x")
    assert row["sent"] == row["raw"] == "café", "text of Python 2 is UTF-8"
    assert row["ids"].tolist() == [3, 4] and row["n"] == 5
    latin = load_pickle(write(tmp_path / "a.p", b"\x80\x02U\x04caf\xe9."), "x")
    assert latin == "café", "or else Latin-1"
    old = load_pickle(write(tmp_path / "a.p", b"(lp0\nS'a'\np1\naI3\naF1.5\na."), "x")
    assert old == ["a", 3, 1.5], "protocol 0"


def test_shared_and_endless_parts(tmp_path: Path) -> None:
    part = ["x"]
    found = load_pickle(write(tmp_path / "a.p", [part, part]), "x")
    assert found == [["x"], ["x"]] and found[0] is found[1]
    part.append(part)  # type: ignore[arg-type]
    found = load_pickle(write(tmp_path / "a.p", part), "x")
    assert found[1] is found


class Calls:
    def __init__(self, function: Any, *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> Any:
        return self.function, self.args


class Own:
    pass


def test_nothing_is_executed(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for protocol in range(6):
        for function, args in [
            (os.system, (f"touch {mark}",)),
            (eval, (f"open({str(mark)!r}, 'w')",)),
            (exec, (f"open({str(mark)!r}, 'w')",)),
            (getattr, ("", "join")),
            (__import__, ("antigravity",)),
            (open, (str(mark), "w")),
            (pickle.loads, (b"N.",)),
            (np.load, (str(mark),)),
        ]:
            path = write(tmp_path / "bad.p", {"ids": [Calls(function, *args)]}, protocol)
            with pytest.raises(UserError) as caught:
                load_pickle(path, "spec.yaml: source")
            name = function.__name__
            message = str(caught.value)
            assert message.startswith(f"spec.yaml: source: {path} is not plain data: it wants ")
            assert f".{name}. Pickles" in message
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"cbuiltins\nbytearray\n(I99999999999\ntR.", "it makes bytes of a int"),
        (b"cnumpy\nndarray\n(N}X\x01\x00\x00\x00aI1\nstb.", "it sets a of a function"),
        (b"cbuiltins\nstr\n.", "it has a name where data should be"),
        (b"cbuiltins\nint\n(I1\ntR.", "it calls a type that is only named in plain data"),
        (b"cposix\nsystem\n(S'true'\ntR.", "it wants posix.system"),
        (b"(S'true'\niposix\nsystem\n.", "it wants posix.system"),
        (b"\x80\x04\x8c\x08builtins\x8c\x0bstr.__len__\x93.", "it wants builtins.str.__len__"),
        (b"Pabc\n.", "it points at something outside the file"),
        (b"cnumpy\ndtype\n(S'O8'\ntR.", "it has a dtype where data should be"),
        (b"cnumpy\ndtype\n(S'i4,O'\ntR.", "it has numpy arrays of type"),
        (b"cnumpy\ndtype\n(S'V8'\ntR.", r"it has numpy arrays of type |V8"),
        (b"", "EOFError"),
        (b"hello", "not a readable pickle"),
    ],
)
def test_crafted_files_are_refused(tmp_path: Path, content: bytes, why: str) -> None:
    with pytest.raises(UserError) as caught:
        load_pickle(write(tmp_path / "bad.p", content), "x")
    assert why in str(caught.value)


def test_array_memory_cannot_be_forged(tmp_path: Path) -> None:
    """A type of objects with the bytes of pointers, as fields or as a scalar, is refused."""
    for value in (np.zeros(2, dtype=[("a", "O")]), np.zeros(2, dtype=[("a", "i4")])):
        with pytest.raises(UserError, match="it has numpy arrays"):
            load_pickle(write(tmp_path / "bad.p", value), "x")
    scalar = np.float64(0).__reduce__()[0]  # numpy's own
    with pytest.raises(UserError, match="numpy scalar of an object"):
        load_pickle(write(tmp_path / "bad.p", Calls(scalar, np.dtype("O"), b"12345678"), 2), "x")


@pytest.mark.parametrize("protocol", range(6))
def test_files_that_end_too_early(tmp_path: Path, protocol: int) -> None:
    value = {"a": [1, 2.5, "x", b"y", (1,), {2}], "n": np.arange(6).reshape(2, 3), "o": np.array(["a", None])}
    whole = pickle.dumps(value, protocol)
    for end in range(len(whole) - 1):
        with pytest.raises(UserError, match="bad.p is not a readable pickle: "):
            load_pickle(write(tmp_path / "bad.p", whole[:end]), "x")


def test_classes_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"it wants test_open_pickle.Own\. Pickles are read without executing"
    ):
        load_pickle(write(tmp_path / "a.p", Own()), "x")


# ------------------------------------------------------------------------------------------ rows


def test_rows_of_a_list(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, [{"ids": (1, 2), "text": "a"}, "b"], protocol=2)
    assert [rows[i] for i in range(2)] == [{"ids": [1, 2], "text": "a"}, {"value": "b"}]
    assert rows.key(1) == "rows.p:[1]"
    with pytest.raises(IndexError):
        rows[2]


def test_rows_with_arrays_or_numbered_keys(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, {"a": {"x": np.arange(3), "of": {1: "b"}}}, key="name")
    assert rows[0]["name"] == "a" and rows[0]["x"].tolist() == [0, 1, 2] and rows[0]["of"] == {1: "b"}
    copy = pickle.loads(pickle.dumps(rows))
    assert copy[0]["of"] == {1: "b"} and len(copy) == 1


def test_columns_of_mmsa(tmp_path: Path) -> None:
    """{split: {raw_text, id, regression_labels, vision, ...}}; what no field reads is not kept."""
    part = {
        "raw_text": np.array(["fine", "bad"], dtype=object),
        "id": ["v$_$1", "v$_$2"],
        "vision": np.zeros((2, 5, 3)),
        "regression_labels": np.array([1.5, -2.0], dtype=np.float32),
    }
    fields = {"text": "raw_text", "score": {"type": "number", "path": "regression_labels"}, "id": {}}
    rows = rows_of(tmp_path, {"train": part}, fields=fields, records={"train": "train"})
    assert rows[1] == {"raw_text": "bad", "id": "v$_$2", "regression_labels": -2.0}
    assert rows.key(1) == "rows.p:train[1]" and list(rows.column("id")) == ["v$_$1", "v$_$2"]
    values = read_fields(task_of(tmp_path, None, **fields), rows[0], rows)
    assert values["score"].value == 1.5  # type: ignore[union-attr]


def test_what_is_no_rows(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no list of rows; name the key that holds it, among: a, b"):
        rows_of(tmp_path, {"a": {"x": 1}, "b": [1]})
    with pytest.raises(UserError, match="is a int, no list of rows"):
        rows_of(tmp_path, 3)
    with pytest.raises(UserError, match="records: nothing for split 'train'; there is: test"):
        rows_of(tmp_path, {"test": []}, records={"test": "test"})
    with pytest.raises(UserError, match="a key 'id' of its own, which says 'z'; choose another name"):
        rows_of(tmp_path, {"a": {"id": "z"}}, key="id")
