"""unified/sources/webdataset.py and python.py"""

from __future__ import annotations

import io
import json
import os
import pickle
import tarfile
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from source_helpers import png_bytes, task_of

from unified.errors import UserError
from unified.sources.base import RowSource, RowStream
from unified.sources.fields import read_fields
from unified.sources.open import open_source
from unified.specs.example import BadRow

PIXELS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


def write_shard(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


class Bomb:
    """A pickle that leaves a mark where it is opened."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def open_shards(tmp_path: Path, splits: Any, **fields: Any) -> Any:
    task = task_of(
        tmp_path, {"type": "webdataset", "splits": {"train": splits}}, **(fields or {"image": "png"})
    )
    rows = open_source(task, "train")
    assert isinstance(rows, RowStream)
    return task, rows


def test_shards(tmp_path: Path) -> None:
    for shard in range(2):
        files = {}
        for i in range(2):
            name = f"s{shard}_{i}"
            files |= {
                f"{name}.png": png_bytes(PIXELS + i),
                f"{name}.json": json.dumps({"caption": f"cap {name}", "boxes": [[0, 0, 1, 1]]}).encode(),
                f"{name}.txt": b"line\n",
                f"{name}.cls": b"1\n",
                f"{name}.depth.npy": npy(np.full((2, 3), 1.0 + i)),
            }
        write_shard(tmp_path / f"train-{shard}.tar", files)
    task, rows = open_shards(
        tmp_path,
        "train-{0..1}.tar",
        image="png",
        caption="json.caption",
        text="txt",
        label={"path": "cls", "names": ["cat", "dog"]},
        boxes="json.boxes",
        depth="depth.npy",
    )
    for _ in range(2):
        read = [(key, read_fields(task, row, rows)) for key, row in rows]
        keys = [f"train-{s}.tar:s{s}_{i}" for s in range(2) for i in range(2)]
        assert [key for key, _ in read] == keys, "the same order each time"
        values = read[3][1]
        np.testing.assert_array_equal(values["image"].pixels, PIXELS + 1)
        assert values["caption"].text == "cap s1_1" and values["text"].text == "line\n"
        assert values["label"].name == "dog" and values["depth"].metres[0, 0] == 2.0
        assert values["boxes"].xyxy.tolist() == [[0, 0, 1, 1]]


def test_pickles_in_shards_are_never_opened(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    bomb = pickle.dumps(Bomb(str(mark)))
    evil = npy(np.zeros(1)).replace(b"'<f8'", b"'|O' ") + bomb
    write_shard(
        tmp_path / "a.tar",
        {
            "x.pkl": bomb,
            "x.pyd": bomb,
            "x.pickle": bomb,
            "x.pth": bomb,
            "x.npy": evil,
            "x.png": png_bytes(PIXELS),
        },
    )
    task, rows = open_shards(tmp_path, "a.tar")
    ((_, row),) = list(rows)
    assert row["pkl"] == bomb and row["npy"] == evil and read_fields(task, row, rows)
    assert not mark.exists()


def test_broken_files_in_shards_are_bad_rows(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", {"x.json": b"{", "x.png": b"junk", "y.json": b'{"c": "ok"}'})
    task, rows = open_shards(tmp_path, "a.tar", c="json.c")
    (_, first), (_, second) = list(rows)
    with pytest.raises(BadRow, match="field 'c': 'json' has no keys: it is a bytes"):
        read_fields(task, first, rows)
    assert read_fields(task, second, rows)["c"].text == "ok"
    with pytest.raises(BadRow, match="unreadable image"):
        read_fields(task_of(tmp_path, image="png"), first, rows)


def test_shards_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"source.splits.train: no such file: {tmp_path}/gone.tar"):
        open_shards(tmp_path, "gone.tar")
    with pytest.raises(UserError, match="local files or http.* not pipe:touch x"):
        open_shards(tmp_path, "pipe:touch x")
    (tmp_path / "junk.tar").write_bytes(b"junk" * 1000)
    _, rows = open_shards(tmp_path, "junk.tar")
    with pytest.raises(UserError, match="task.yaml: source.splits.train: a shard cannot be read: .*junk.tar"):
        list(rows)


# ------------------------------------------------------------------------------------- python


def open_hook(tmp_path: Path, code: str, function: str = "rows.py:make", **options: Any) -> Any:
    (tmp_path / "rows.py").write_text(textwrap.dedent(code))
    source = {"type": "python", "function": function, "splits": {"train": "tr"}} | options
    task = task_of(tmp_path, source, a={})
    return task, open_source(task, "train")


SEQUENCE = """
    class Rows:
        def __init__(self, split, n): self.split, self.n = split, n
        def __len__(self): return self.n
        def __getitem__(self, i):
            if i == 1:
                raise KeyError("broken")
            return {"a": f"{self.split}{i}"} if i != 2 else 5

    def make(split, n=3):
        return Rows(split, n)
"""


def test_a_sequence_from_a_file_beside_the_spec(tmp_path: Path) -> None:
    task, rows = open_hook(tmp_path, SEQUENCE, args={"n": 4})
    assert isinstance(rows, RowSource) and len(rows) == 4
    assert read_fields(task, rows[3], rows)["a"].text == "tr3" and rows.key(3) == "rows.py:make:train[3]"
    with pytest.raises(BadRow, match=r"rows.py:7: KeyError: 'broken'"):
        rows[1]
    with pytest.raises(BadRow, match="a row is a mapping, found int"):
        rows[2]
    assert pickle.loads(pickle.dumps(rows))[3] == {"a": "tr3"}


def test_a_list_and_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, rows = open_hook(tmp_path, "def make(split): return [{'a': 1}, {'a': 2}]")
    assert rows[1] == {"a": 2}
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_module_of_rows.py").write_text("def make(split): return [{'a': split}]")
    _, rows = open_hook(tmp_path, "", "my_module_of_rows:make")
    assert rows[0] == {"a": "tr"}


def test_a_generator_is_a_stream_that_can_be_read_again(tmp_path: Path) -> None:
    _, rows = open_hook(tmp_path, "def make(split):\n    yield {'a': 1}\n    yield {'a': 2}")
    assert isinstance(rows, RowStream)
    for _ in range(3):
        assert list(rows) == [("rows.py:make:train[0]", {"a": 1}), ("rows.py:make:train[1]", {"a": 2})]


def test_a_generator_that_fails(tmp_path: Path) -> None:
    _, rows = open_hook(tmp_path, "def make(split):\n    yield {'a': 1}\n    raise KeyError('x')")
    with pytest.raises(UserError, match=r"rows.py:make:train failed: rows.py:3: KeyError: 'x'"):
        list(rows)
    _, rows = open_hook(tmp_path, "def make(split):\n    yield 3")
    with pytest.raises(UserError, match="a row is a mapping, found int"):
        list(rows)


@pytest.mark.parametrize(
    ("code", "function", "message"),
    [
        ("", "gone.py:make", "no such file: {folder}/gone.py"),
        ("", "make", "'make' is not `file.py:function` or `module:function`"),
        ("def mkae(split): ...", "rows.py:make", "no function 'make' in rows.py (did you mean 'mkae'?)"),
        (
            "import not_there_at_all",
            "rows.py:make",
            "rows.py cannot be imported: rows.py:1: ModuleNotFoundError",
        ),
        ("def make(: ...", "rows.py:make", "rows.py cannot be imported: "),
        (
            "def make(split): return 1 / 0",
            "rows.py:make",
            "rows.py:make failed: rows.py:1: ZeroDivisionError",
        ),
        ("def make(split): return 3", "rows.py:make", "rows.py:make returned int; it must return rows"),
        ("def make(): return []", "rows.py:make", "rows.py:make failed: TypeError: make() takes 0"),
        ("", "not_a_module_at_all:make", "module 'not_a_module_at_all' cannot be imported"),
    ],
)
def test_hooks_that_cannot_be_used(tmp_path: Path, code: str, function: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        open_hook(tmp_path, code, function)
    assert str(caught.value).startswith(f"{tmp_path}/task.yaml: source.function: ")
    assert message.format(folder=tmp_path) in str(caught.value)
