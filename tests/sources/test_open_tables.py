"""unified/sources/tables.py, arrow.py and hf.py"""

from __future__ import annotations

import pickle
import textwrap
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from source_helpers import png_bytes, task_of

from unified.errors import UserError
from unified.sources.base import RowSource, RowStream
from unified.sources.fields import read_fields
from unified.sources.open import open_source
from unified.specs.example import BadRow
from unified.values.types import Boxes, Image, Label, Text

pytestmark = pytest.mark.usefixtures("arrow_cache")


def open_csv(tmp_path: Path, text: str, **options: Any) -> RowSource:
    (tmp_path / "rows.csv").write_text(textwrap.dedent(text), encoding="utf-8")
    task = task_of(tmp_path, {"type": "csv", "splits": {"train": "rows.csv"}} | options, a={})
    rows = open_source(task, "train")
    assert isinstance(rows, RowSource)
    return rows


# ---------------------------------------------------------------------------------------- csv


def test_cells_are_text_as_written(tmp_path: Path) -> None:
    rows = open_csv(
        tmp_path,
        """\
        a,b c
        007,NA
        1e3,None
        True,"two
        lines, and a ""quote""\"
        é,
        last
        """,
    )
    assert [rows[i] for i in (4, 0, 1, 2, 3)] == [
        {"a": "last", "b c": None},
        {"a": "007", "b c": "NA"},
        {"a": "1e3", "b c": "None"},
        {"a": "True", "b c": 'two\nlines, and a "quote"'},
        {"a": "é", "b c": None},
    ]
    assert rows.key(1) == "rows.csv:row 2" and list(rows.column("a"))[0] == "007"
    assert list(rows.column("gone")) == [None] * 5
    with pytest.raises(IndexError):
        rows[5]


def test_tab_separated_cells_and_byte_order_mark(tmp_path: Path) -> None:
    rows = open_csv(tmp_path, "\ufeffa\tb\n1,2\t3\n", delimiter="\t")
    assert rows[0] == {"a": "1,2", "b": "3"}


def test_changed_files_are_read_again(tmp_path: Path) -> None:
    assert open_csv(tmp_path, "a\n1\n")[0] == {"a": "1"}
    assert open_csv(tmp_path, "a\n2\n")[0] == {"a": "2"}


def test_several_files_keep_their_names(tmp_path: Path) -> None:
    for name in ("y", "x"):
        (tmp_path / f"{name}.csv").write_text(f"a\n{name}0\n{name}1\n")
    rows = open_source(task_of(tmp_path, {"type": "csv", "splits": {"train": "[xy].csv"}}, a={}), "train")
    assert isinstance(rows, RowSource)
    assert [(rows.key(i), rows[i]["a"]) for i in (1, 2)] == [("x.csv:row 2", "x1"), ("y.csv:row 1", "y0")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no rows under a header"),
        ("a,b\n", "holds no rows under a header"),
        ("a,a\n1,2\n", "has two columns named 'a'"),
        ("a,b\n1,2,3\n", "has 2 column names but its first row has 3 cells"),
        (
            "a,b\n1,2\n3,4,5\n",
            "cannot be read as csv: Error tokenizing data. C error: Expected 2 fields in line 3",
        ),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        open_csv(tmp_path, text)
    start = f"{tmp_path}/task.yaml: source.splits.train: {tmp_path}/rows.csv "
    assert str(caught.value).startswith(start) and message in str(caught.value)


def test_csv_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(UserError, match="is not UTF-8 CSV text"):
        open_source(task_of(tmp_path, {"type": "csv", "splits": {"train": "rows.csv"}}, a={}), "train")


# ------------------------------------------------------------------------- parquet and the hub

PIXELS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


def table() -> Dataset:
    return Dataset.from_dict(
        {
            "image": [{"bytes": png_bytes(PIXELS + i), "path": None} for i in range(4)],
            "label": [0, 1, -1, None],
            "objects": [
                [{"bbox": [0, 0, 2, 2], "category": 1}, {"bbox": [1, 1, 3, 2], "category": 0}],
                [],
                [],
                [],
            ],
            "captions": [["a", "b"], ["c"], [], ["d"]],
        },
        features=Features(
            {
                "image": datasets.Image(),
                "label": ClassLabel(names=["cat", "dog"]),
                "objects": List({"bbox": List(Value("float32")), "category": ClassLabel(names=["x", "y"])}),
                "captions": List(Value("string")),
            }
        ),
    )


FIELDS: dict[str, Any] = {
    "image": {},
    "label": {"default": "unknown"},
    "objects": {"path": "objects[].bbox", "labels": "objects[].category"},
}


def open_table(tmp_path: Path, source: dict[str, Any], **fields: Any) -> Any:
    task = task_of(tmp_path, {"splits": {"train": "train"}} | source, **(fields or FIELDS))
    rows = open_source(task, "train")
    return rows, lambda i: read_fields(task, rows[i], rows)


def check_first_rows(read: Any) -> None:
    values = read(0)
    assert isinstance(values["image"], Image) and isinstance(values["objects"], Boxes)
    np.testing.assert_array_equal(values["image"].pixels, PIXELS)
    assert values["label"] == Label("cat") and values["objects"].labels == ("y", "x")
    np.testing.assert_array_equal(values["objects"].xyxy, [[0, 0, 2, 2], [1, 1, 3, 2]])
    assert read(1)["label"] == Label("dog") and len(read(1)["objects"]) == 0


def test_parquet(tmp_path: Path) -> None:
    table().to_parquet(tmp_path / "rows.parquet")
    rows, read = open_table(tmp_path, {"type": "parquet", "splits": {"train": "rows.parquet"}})
    check_first_rows(read)
    assert read(2)["label"] == Label("unknown"), "-1 is the hub's mark for no label"
    assert rows.key(2) == "rows.parquet:row 3" and len(rows) == 4
    assert rows[0]["image"]["bytes"] == png_bytes(PIXELS), "pictures stay encoded until a field reads them"
    again = pickle.loads(pickle.dumps(rows))
    assert again[0]["label"] == 0 and again[0]["label"].name == "cat"


def test_parquet_taken_apart(tmp_path: Path) -> None:
    table().to_parquet(tmp_path / "rows.parquet")
    source = {"type": "parquet", "splits": {"train": "rows.parquet"}}
    rows, read = open_table(tmp_path, source, caption="captions[*]")
    assert [read(i)["caption"] for i in range(len(rows))] == [Text("a"), Text("b"), Text("c"), Text("d")]
    assert rows.key(3) == "rows.parquet:row 4[0]"


def test_broken_parquet(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_text("nonsense")
    with pytest.raises(
        UserError, match="rows.parquet cannot be read as parquet: Parquet magic bytes not found"
    ):
        open_table(tmp_path, {"type": "parquet", "splits": {"train": "rows.parquet"}})


def test_saved_data_sets(tmp_path: Path) -> None:
    table().save_to_disk(tmp_path / "saved")
    rows, read = open_table(tmp_path, {"type": "hf", "path": "saved"})
    check_first_rows(read)
    DatasetDict(train=table(), test=table().select([1])).save_to_disk(tmp_path / "both")
    source = {"type": "hf", "path": "both", "splits": {"train": "train[1:3]"}}
    rows, read = open_table(tmp_path, source)
    assert len(rows) == 2 and read(0)["label"] == Label("dog") and rows.key(0) == "both:train[1:3]:row 1"
    with pytest.raises(UserError, match=r'both \(valid\) cannot be loaded: Unknown split "valid"'):
        open_table(tmp_path, {"type": "hf", "path": "both", "splits": {"train": "valid"}})
    with pytest.raises(
        UserError, match="source.streaming: .* is a saved data set and memory-mapped; drop it"
    ):
        open_table(tmp_path, {"type": "hf", "path": "both", "streaming": True})


def test_local_folder_file_and_reader(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    table().to_parquet(tmp_path / "folder" / "train-0.parquet")
    rows, read = open_table(tmp_path, {"type": "hf", "path": "folder"})
    check_first_rows(read)
    rows, read = open_table(
        tmp_path, {"type": "hf", "path": "folder/train-0.parquet", "splits": {"train": "train[:50%]"}}
    )
    assert len(rows) == 2
    check_first_rows(read)
    source = {"type": "hf", "path": "parquet", "data_files": {"train": "folder/*.parquet"}}
    rows, read = open_table(tmp_path, source)
    check_first_rows(read)
    with pytest.raises(UserError, match="source.data_files.train: no such file: .*/gone.parquet"):
        open_table(tmp_path, source | {"data_files": {"train": "gone.parquet"}})


def test_streamed_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    table().to_parquet(tmp_path / "folder" / "train-0.parquet")
    rows, _ = open_table(tmp_path, {"type": "hf", "path": "folder", "streaming": True})
    assert isinstance(rows, RowStream)
    task = task_of(tmp_path, **FIELDS)
    for _ in range(2):
        read = [(key, read_fields(task, row, rows)) for key, row in rows]
        assert [key for key, _ in read] == [f"folder:train:row {i}" for i in range(1, 5)]
        check_first_rows(lambda i, read=read: read[i][1])
    with pytest.raises(UserError, match=r"'train\[:2\]' cannot be sliced in a stream"):
        open_table(
            tmp_path, {"type": "hf", "path": "folder", "streaming": True, "splits": {"train": "train[:2]"}}
        )


def test_stream_taken_apart(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    table().to_parquet(tmp_path / "folder" / "train-0.parquet")
    task = task_of(
        tmp_path,
        {"type": "hf", "path": "folder", "streaming": True, "splits": {"train": "train"}},
        caption="captions[*]",
    )
    rows = open_source(task, "train")
    assert isinstance(rows, RowStream)
    read = [(key, read_fields(task, row, rows)["caption"]) for key, row in rows]
    assert [value for _, value in read] == [Text("a"), Text("b"), Text("c"), Text("d")]
    assert read[1][0] == "folder:train:row 1[1]" and rows.name == "folder:train"


def test_loading_scripts_are_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "scripted").mkdir()
    (tmp_path / "scripted" / "scripted.py").write_text("raise SystemExit('this code must not run')\n")
    with pytest.raises(UserError) as caught:
        open_table(tmp_path, {"type": "hf", "path": "scripted"})
    start = f"{tmp_path}/task.yaml: source.path: 'scripted' is read by a loading script"
    assert str(caught.value).startswith(start)
    assert "parquet" in str(caught.value) and "`python` source" in str(caught.value)


def test_paths_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("./gone", "$HOME/gone", "deep/er/gone", "gone.parquet"):
        with pytest.raises(UserError, match="task.yaml: source.path: no such file: .*/gone"):
            open_table(tmp_path, {"type": "hf", "path": path})
    (tmp_path / "a.xls").write_text("")
    with pytest.raises(UserError, match="cannot tell how to read .*a.xls"):
        open_table(tmp_path, {"type": "hf", "path": "a.xls"})

    monkeypatch.delenv("UNIFIED_DATA", raising=False)
    asked: list[Any] = []

    def unreachable(path: str, **options: Any) -> Any:
        asked.append((path, options))
        raise ConnectionError("Couldn't reach the Hub.")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(UserError) as caught:
        open_table(tmp_path, {"type": "hf", "path": "org/set", "name": "config", "revision": "main"})
    assert str(caught.value) == (
        f"{tmp_path}/task.yaml: source: 'org/set' (train) cannot be loaded: Couldn't reach the Hub; check "
        "the id, the split and the connection; sets behind a login need `hf auth login`; or "
        "put a copy in $UNIFIED_DATA/hub/org/set"
    )
    path, options = asked[0]
    assert path == "org/set" and options["name"] == "config" and options["revision"] == "main"
    assert options["split"] == "train" and not options.get("trust_remote_code")


def test_bad_images_of_a_table_are_bad_rows(tmp_path: Path) -> None:
    rows = Dataset.from_dict(
        {"image": [{"bytes": b"junk", "path": None}, {"bytes": png_bytes(PIXELS), "path": None}]},
        features=Features({"image": datasets.Image()}),
    )
    rows.to_parquet(tmp_path / "rows.parquet")
    _, read = open_table(tmp_path, {"type": "parquet", "splits": {"train": "rows.parquet"}}, image={})
    with pytest.raises(BadRow, match="field 'image': unreadable image"):
        read(0)
    assert read(1)["image"].pixels.shape == (2, 3, 3)


# ------------------------------------------------------------------ files as data sets are released


def test_columns_of_a_file_without_header(tmp_path: Path) -> None:
    """Places365: `path number` a line."""
    rows = open_csv(tmp_path, "a/1.jpg 0\na/2.jpg 12\n", columns=["a", "label"], delimiter=" ")
    assert [rows[i] for i in range(2)] == [{"a": "a/1.jpg", "label": "0"}, {"a": "a/2.jpg", "label": "12"}]
    with pytest.raises(UserError, match="has 1 column names but its first row has 2 cells"):
        open_csv(tmp_path, "a/1.jpg 0\n", columns=["a"], delimiter=" ")
    with pytest.raises(UserError, match="holds no rows$"):
        open_csv(tmp_path, "", columns=["a"])
    assert open_csv(tmp_path, "7\n", columns=["a"])[0] == {"a": "7"}


def test_quotes_that_are_plain_text(tmp_path: Path) -> None:
    """MRPC: quotes in a TSV belong to the sentence, and need not be closed."""
    text = 'a\t#1 String\n1\t"He said so\n0\tyes "now" .\n'
    rows = open_csv(tmp_path, text, delimiter="\t", quotes=False)
    assert [rows[i]["#1 String"] for i in range(len(rows))] == ['"He said so', 'yes "now" .']


def test_copy_of_a_hub_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIFIED_DATA", str(tmp_path / "data"))
    copy = tmp_path / "data" / "hub" / "some-lab" / "Set"

    def rows(text: str, **source: Any) -> RowSource:
        spec = {"type": "hf", "path": "some-lab/Set", "splits": {"train": "val"}, **source}
        found = open_source(task_of(tmp_path, spec, a={}), "train")
        assert isinstance(found, RowSource) and found[0] == {"a": text}
        return found

    def save(text: str, name: str) -> None:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        Dataset.from_dict({"a": [text]}).to_parquet(str(copy / name))

    save("flat", "data/val-00000-of-00001.parquet")
    assert rows("flat").key(0) == "some-lab/Set:val:row 1"
    save("one", "one/val-00000-of-00001.parquet")
    rows("one", name="one")
    rows("one", data_files={"val": "one/*.parquet"})
    (copy / "README.md").write_text(
        "---\nconfigs:\n- config_name: two\n  data_files:\n  - {split: val, path: data/val-*}\n---\n"
    )
    rows("flat", name="two")
