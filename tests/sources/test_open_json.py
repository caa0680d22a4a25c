"""unified/sources/jsonrows.py, location.py and explode.py"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from source_helpers import task_of

from unified.errors import UserError
from unified.sources.base import RowSource
from unified.sources.fields import read_fields
from unified.sources.jsonrows import JsonLines
from unified.sources.open import open_source
from unified.specs.example import BadRow
from unified.values.types import Text

ROWS = [
    {"text": "é <s>", "n": 1},
    {"text": "2018-01-01 00:00:00", "mixed": [1, "a", {"b": None}]},
    {"text": None, "mixed": {"free": {"keys": 1}}, "n": 2.0},
]


def write_lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def open_rows(tmp_path: Path, files: Any, split: str = "train", **source: Any) -> RowSource:
    source = {"type": "jsonl", "splits": {"train": files}} | source
    rows = open_source(task_of(tmp_path, source, text={}), split)
    assert isinstance(rows, RowSource)
    return rows


def test_lines_are_what_was_written(tmp_path: Path) -> None:
    write_lines(tmp_path / "rows.jsonl", ROWS)
    rows = open_rows(tmp_path, "rows.jsonl")
    assert [rows[i] for i in (2, 0, 1, 2)] == [ROWS[2], ROWS[0], ROWS[1], ROWS[2]]
    assert len(rows) == 3 and rows.root == tmp_path
    with pytest.raises(IndexError):
        rows[3]


def test_blank_lines_marks_and_missing_newlines(tmp_path: Path) -> None:
    text = '\ufeff{"text": "a"}\r\n\n   \n{"text": "b"}'
    (tmp_path / "rows.jsonl").write_bytes(text.encode())
    rows = open_rows(tmp_path, "rows.jsonl")
    assert [rows[i]["text"] for i in range(len(rows))] == ["a", "b"]
    assert [rows.key(i) for i in range(2)] == ["rows.jsonl:1", "rows.jsonl:4"]


def test_several_files_and_globs(tmp_path: Path) -> None:
    for name in "cab":
        write_lines(tmp_path / f"part-{name}.jsonl", [{"text": f"{name}{i}"} for i in range(2)])
    rows = open_rows(tmp_path, "part-*.jsonl")
    assert [rows[i]["text"] for i in range(len(rows))] == ["a0", "a1", "b0", "b1", "c0", "c1"]
    assert rows.key(3) == "part-b.jsonl:2" and list(rows.column("text"))[3] == "b1"
    rows = open_rows(tmp_path, ["part-c.jsonl", "part-a.jsonl"])
    assert [rows[i]["text"] for i in range(len(rows))] == ["c0", "c1", "a0", "a1"]


@pytest.mark.parametrize("line", ['{"text": "a"', "[1]", "3", "\xff"])
def test_a_bad_line_is_a_bad_row(tmp_path: Path, line: str) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b'{"text": "a"}\n' + line.encode("latin-1") + b'\n{"text": "c"}\n')
    rows = open_rows(tmp_path, "rows.jsonl")
    assert rows[0]["text"] == "a" and rows[2]["text"] == "c" and rows.key(1) == "rows.jsonl:2"
    with pytest.raises(BadRow):
        rows[1]
    assert list(rows.column("text")) == ["a", None, "c"]


def test_a_source_survives_pickling_after_use(tmp_path: Path) -> None:
    write_lines(tmp_path / "rows.jsonl", [{"text": ["a", "b"]}, {"text": ["c"]}])
    task = task_of(tmp_path, text="text[*]")
    rows = open_source(task, "train")
    assert isinstance(rows, RowSource) and rows[2]["text"] == ["c"]
    again = pickle.loads(pickle.dumps(rows))
    assert [read_fields(task, again[i], again)["text"] for i in range(3)] == [Text("a"), Text("b"), Text("c")]


# ---------------------------------------------------------------------------------- documents


def test_records_of_a_document(tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text(json.dumps({"info": 1, "data": {"rows": ROWS}}, indent=1))
    rows = open_rows(tmp_path, "d.json", type="json", records="data.rows")
    assert [rows[i] for i in range(3)] == ROWS and rows.key(2) == "d.json:data.rows[2]"
    (tmp_path / "l.json").write_text(json.dumps(ROWS, indent=1))
    assert open_rows(tmp_path, "l.json", type="json")[2] == ROWS[2]
    write_lines(tmp_path / "lines.json", ROWS)
    assert open_rows(tmp_path, "lines.json", type="json")[1] == ROWS[1]


@pytest.mark.parametrize(
    ("text", "records", "message"),
    [
        ('{"rows": [}', "rows", "d.json is not valid JSON: Expecting value: line 1 column 11"),
        ('{"rows": []}', "row", "source.records: no key 'row' in {file} (it has: rows)"),
        ('{"a": {"rows": 1}}', "a.b", "source.records: no key 'a.b' in {file} (it has: rows)"),
        (
            '{"rows": {"x": 1}}',
            "rows",
            "'rows' in {file} is no list of rows; name the key that holds it, among: x",
        ),
        ("[1]", "rows", "source.records: no key 'rows' in {file} (it holds a list)"),
        ('{\n"rows": []\n}', None, "{file} is one JSON document, not a row a line; name the key that holds"),
        ("", None, "{file} holds no rows"),
    ],
)
def test_documents_that_cannot_be_read(tmp_path: Path, text: str, records: str | None, message: str) -> None:
    (tmp_path / "d.json").write_text(text)
    with pytest.raises(UserError) as caught:
        open_rows(tmp_path, "d.json", type="json", records=records)
    assert str(caught.value).startswith(f"{tmp_path}/task.yaml: source")
    assert message.format(file=tmp_path / "d.json") in str(caught.value)


def test_compressed_files(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(UserError, match="is compressed, which random access cannot use; unpack it first"):
        open_rows(tmp_path, "rows.jsonl.gz")


# --------------------------------------------------------------------------------------- join


def vqa(tmp_path: Path, questions: list[Any], annotations: list[Any], on: str = "question_id") -> RowSource:
    (tmp_path / "q.json").write_text(json.dumps({"questions": questions}))
    (tmp_path / "a.json").write_text(json.dumps({"annotations": annotations}))
    other = {"type": "json", "splits": {"train": "a.json"}, "records": "annotations"}
    join = {"on": on, "source": other}
    return open_rows(tmp_path, "q.json", type="json", records="questions", join=[join])


def test_join(tmp_path: Path) -> None:
    questions = [
        {"question_id": 2, "q": "b"},
        {"question_id": 1, "q": "a"},
        {"question_id": 9, "q": "c"},
        {"q": 1},
    ]
    annotations = [
        {"question_id": "1", "q": "other", "answers": ["x"]},
        {"question_id": 2, "answers": ["y"]},
        {},
    ]
    rows = vqa(tmp_path, questions, annotations)
    assert rows[0] == {"question_id": 2, "q": "b", "answers": ["y"]}
    assert rows[1] == {"question_id": 1, "q": "a", "answers": ["x"]}, "the row's own keys stay"
    assert rows.key(1) == "q.json:questions[1]" and len(rows) == 4
    with pytest.raises(BadRow, match="no row with 'question_id' = 9 in a.json"):
        rows[2]
    with pytest.raises(BadRow, match="no key 'question_id' to join on"):
        rows[3]


def test_join_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"'i' = 1 stands in two rows of a.json \(a.json:annotations\[0\] and a"
    ):
        vqa(tmp_path, [{"i": 1}], [{"i": 1}, {"i": 1}], on="i")
    with pytest.raises(UserError, match=r"source.join\[0\].on: no row of a.json has the key 'j'"):
        vqa(tmp_path, [{"i": 1}], [{"i": 1}], on="j")
    join = {"on": "i", "source": {"type": "json", "splits": {"validation": "a.json"}}}
    with pytest.raises(UserError, match=r"join\[0\].source.splits: no split 'train', but the outer source"):
        open_rows(tmp_path, "q.json", type="json", records="questions", join=[join])


# ----------------------------------------------------------------------------------- location


def test_missing_files_name_spec_path_and_mend(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        open_rows(tmp_path, "gone.jsonl")
    assert str(caught.value) == (
        f"{tmp_path}/task.yaml: source.splits.train: no such file: {tmp_path}/gone.jsonl; correct the path "
        f"(relative paths start at the spec's folder {tmp_path}, or at `source.root` where that is set)"
    )
    with pytest.raises(UserError) as caught:
        open_rows(tmp_path, "*.jsonl", root="data")
    assert str(caught.value) == (
        f"{tmp_path}/task.yaml: source.splits.train: no file matches {tmp_path}/data/*.jsonl; correct the "
        f"path (relative paths start at `source.root` = {tmp_path}/data, which does not exist)"
    )
    (tmp_path / "dir.jsonl").mkdir()
    with pytest.raises(UserError, match="there is a folder of that name"):
        open_rows(tmp_path, "dir.jsonl")


def test_root_variables_and_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    write_lines(tmp_path / "data" / "rows.jsonl", ROWS)
    monkeypatch.setenv("MY_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for root in ("data", "$MY_DATA", "${MY_DATA}", "~/data", "other/../data"):
        rows = open_rows(tmp_path, "rows.jsonl", root=root)
        assert len(rows) == 3 and rows.root == tmp_path / "data"
    assert len(open_rows(tmp_path, "$MY_DATA/rows.jsonl")) == 3
    monkeypatch.delenv("MY_DATA")
    with pytest.raises(
        UserError, match=r"task.yaml: source.root: `\$MY_DATA` uses \$MY_DATA, which is not set; run"
    ):
        open_rows(tmp_path, "rows.jsonl", root="$MY_DATA")


def test_unknown_split(tmp_path: Path) -> None:
    write_lines(tmp_path / "rows.jsonl", ROWS)
    with pytest.raises(UserError) as caught:
        open_rows(tmp_path, "rows.jsonl", split="trian")
    assert str(caught.value) == (
        f"{tmp_path}/task.yaml: source.splits: no split 'trian' (did you mean 'train'?); 't' has: train"
    )


# ---------------------------------------------------------------------------------- explosion


def explode(tmp_path: Path, rows: list[Any], **fields: Any) -> tuple[RowSource, Any]:
    write_lines(tmp_path / "rows.jsonl", rows)
    task = task_of(tmp_path, **fields)
    source = open_source(task, "train")
    assert isinstance(source, RowSource)
    return source, lambda i: {k: v.text for k, v in read_fields(task, source[i], source).items()}


def test_one_example_for_each_element(tmp_path: Path) -> None:
    rows = [
        {"doc": "A", "sentences": [{"s": "a0"}, {"s": "a1"}]},
        {"doc": "B", "sentences": []},
        {"doc": "C"},
        {"doc": "D", "sentences": [{"s": "d0"}]},
    ]
    source, read = explode(tmp_path, rows, sentence="sentences[*].s", doc={})
    assert len(source) == 4
    assert [read(i) for i in (3, 0, 1)] == [
        {"sentence": "d0", "doc": "D"},
        {"sentence": "a0", "doc": "A"},
        {"sentence": "a1", "doc": "A"},
    ]
    assert [source.key(i) for i in range(4)] == [
        "rows.jsonl:1[0]", "rows.jsonl:1[1]", "rows.jsonl:3[0]", "rows.jsonl:4[0]",
    ]  # fmt: skip
    with pytest.raises(BadRow, match="field 'sentence': no key 'sentences'"):
        read(2)
    with pytest.raises(IndexError):
        source[4]


def test_parallel_lists_are_taken_apart_together(tmp_path: Path) -> None:
    rows = [{"a": {"q": ["q0", "q1"]}, "b": ["r0", "r1"]}, {"a": {"q": ["q2"]}, "b": []}]
    source, read = explode(tmp_path, rows, q="a.q[*]", r="b[*]", all={"path": "{b[*]}+{a.q[0]}"})
    assert [read(i) for i in range(2)] == [
        {"q": "q0", "r": "r0", "all": "r0+q0"},
        {"q": "q1", "r": "r1", "all": "r1+q0"},
    ]
    with pytest.raises(BadRow, match=r"the lists taken apart by \[\*\] differ in length: a.q 1, b 0"):
        source[2]


def test_the_index_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, _ = explode(tmp_path, [{"s": ["a", "b"]}] * 3, s="s[*]")
    reads = []
    inner = JsonLines.__getitem__
    monkeypatch.setattr(JsonLines, "__getitem__", lambda self, i: reads.append(i) or inner(self, i))
    assert source[5]["s"] == ["a", "b"] and reads == [2]


def test_only_one_level_is_taken_apart(tmp_path: Path) -> None:
    write_lines(tmp_path / "rows.jsonl", [{"a": [{"b": ["x"]}]}])
    with pytest.raises(UserError, match=r"'a\[\*\].b\[\*\]' has more than one \[\*\]"):
        open_source(task_of(tmp_path, s="a[*].b[*]"), "train")


def test_an_optional_join_is_left_out_for_splits_that_the_other_source_lacks(tmp_path: Path) -> None:
    write_lines(tmp_path / "asked.jsonl", [{"id": 1, "text": "a"}])
    write_lines(tmp_path / "said.jsonl", [{"id": 1, "answer": "b"}])
    splits = {"train": "asked.jsonl", "test": "asked.jsonl"}
    for optional in (True, False):
        said = {"type": "jsonl", "splits": {"train": "said.jsonl"}}
        source = {"splits": splits, "join": [{"on": "id", "optional": optional, "source": said}]}
        assert open_rows(tmp_path, "", **source)[0] == {"id": 1, "text": "a", "answer": "b"}
        if optional:
            assert open_rows(tmp_path, "", split="test", **source)[0] == {"id": 1, "text": "a"}
        else:
            with pytest.raises(UserError, match="no split 'test', but the outer source has it"):
                open_rows(tmp_path, "", split="test", **source)
