"""What may be said of every source: join, where, numbers, files of a row, pairs that do not match."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from source_helpers import task_of

from unified.errors import UserError
from unified.sources.base import RowSource
from unified.sources.fields import read_fields
from unified.sources.location import AbsentFile, MissingData
from unified.sources.open import open_source
from unified.specs.example import BadRow
from unified.specs.lint import lint_task


def write(folder: Path, **documents: Any) -> None:
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document))


def json_source(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "json", "splits": {"train": f"{name}.json"}, **more}


def open_rows(folder: Path, source: dict[str, Any], split: str = "train", **fields: Any) -> RowSource:
    rows = open_source(task_of(folder, source, **(fields or {"text": {}})), split)
    assert isinstance(rows, RowSource)
    return rows


def every(rows: RowSource) -> list[Any]:
    return [rows[i] for i in range(len(rows))]


# --------------------------------------------------------------------------------------- join


def test_keys_of_the_other_row_or_the_row_under_a_name(tmp_path: Path) -> None:
    write(tmp_path, a=[{"id": 1, "x": "mine"}, {"id": "2"}], b=[{"key": 2.0, "x": "b"}, {"key": 1, "y": "a"}])
    join = {"on": {"id": "key"}, "source": json_source("b")}
    rows = open_rows(tmp_path, json_source("a", join=[join]))
    assert every(rows) == [{"key": 1, "y": "a", "id": 1, "x": "mine"}, {"key": 2.0, "x": "b", "id": "2"}]
    rows = open_rows(tmp_path, json_source("a", join=[{**join, "as": "other"}]))
    assert rows[0] == {"id": 1, "x": "mine", "other": {"key": 1, "y": "a"}}
    with pytest.raises(BadRow, match="a key 'x' of its own; choose another name"):
        open_rows(tmp_path, json_source("a", join=[{**join, "as": "x"}]))[0]


def test_all_rows_that_match(tmp_path: Path) -> None:
    write(
        tmp_path,
        a=[{"id": 1}, {"id": 2}, {"id": 3}],
        b=[{"id": 2, "n": i} for i in range(2)] + [{"id": 1, "n": 9}],
    )
    join = {"on": "id", "as": "all", "many": True, "source": json_source("b")}
    rows = open_rows(tmp_path, json_source("a", join=[join]))
    assert [[o["n"] for o in rows[i]["all"]] for i in range(2)] == [[9], [0, 1]]
    with pytest.raises(BadRow, match="no row with 'id' = 3 in b.json"):
        rows[2]
    rows = open_rows(tmp_path, json_source("a", join=[{**join, "optional": True}]))
    assert rows[2] == {"id": 3, "all": []}
    everything = {"on": "*", "as": "all", "many": True, "source": json_source("b")}
    rows = open_rows(tmp_path, json_source("a", join=[everything]))
    assert [o["n"] for o in rows[2]["all"]] == [0, 1, 9] and rows[0]["all"] is rows[2]["all"]
    assert list(rows.column("id")) == [1, 2, 3] and next(rows.column("all")) is rows[0]["all"]
    with pytest.raises(BadRow, match="a key 'id' of its own"):
        open_rows(tmp_path, json_source("a", join=[{**everything, "as": "id"}]))[0]
    one = {"on": "id", "source": json_source("b")}
    with pytest.raises(UserError, match="'id' = 2 stands in two rows of b.json .*take all with `many: true`"):
        open_rows(tmp_path, json_source("a", join=[one]))


def test_optional_rows(tmp_path: Path) -> None:
    write(tmp_path, a=[{"id": 1}, {"id": 7}, {}], b=[{"id": 1, "n": 1}])
    join = {"on": "id", "optional": True, "source": json_source("b")}
    assert every(open_rows(tmp_path, json_source("a", join=[join]))) == [{"id": 1, "n": 1}, {"id": 7}, {}]
    rows = open_rows(tmp_path, json_source("a", join=[{**join, "as": "b"}]))
    assert rows[1] == {"id": 7, "b": None}
    source = json_source("a", join=[join])
    source["splits"]["test"] = "a.json"
    assert open_rows(tmp_path, source, "test")[0] == {"id": 1}, "the other source has no test split"


def test_several_keys_nested_keys_and_lists_of_keys(tmp_path: Path) -> None:
    write(
        tmp_path,
        a=[{"image": {"id": 5}, "round": 2, "parts": [{"c": 1}, {"c": 0}]}],
        b=[{"im": 5, "r": 1, "x": "wrong"}, {"im": 5, "r": 2, "x": "right"}],
        c=["zero", "one"],
    )
    pair = {"on": {"image.id": "im", "round": "r"}, "source": json_source("b")}
    several = {"on": {"parts[].c": "n"}, "as": "texts", "source": json_source("c", index="n")}
    field = {"type": "texts", "path": "texts[].value"}
    rows = open_rows(tmp_path, json_source("a", join=[pair, several]), text=field)
    assert rows[0]["x"] == "right" and [t["value"] for t in rows[0]["texts"]] == ["one", "zero"]
    values = read_fields(task_of(tmp_path, None, text=field), rows[0], rows)
    assert values["text"].items == ("one", "zero")  # type: ignore[union-attr]
    nameless = {"on": {"parts[].c": "n"}, "source": json_source("c", index="n")}
    with pytest.raises(BadRow, match=r"'parts\[\].c' is a list, so the rows joined need a name"):
        open_rows(tmp_path, json_source("a", join=[nameless]))[0]


def test_sources_in_sources(tmp_path: Path) -> None:
    """RefCOCO: refs (pickle) -> annotation -> category, of one file for all splits."""
    (tmp_path / "refs").mkdir()
    refs = [{"ann_id": 8, "split": "train"}, {"ann_id": 9, "split": "val"}]
    (tmp_path / "refs" / "refs.p").write_bytes(pickle.dumps(refs, 2))
    instances = {
        "annotations": [{"id": 8, "bbox": [1, 2, 3, 4], "category_id": 1}, {"id": 9, "category_id": 1}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "refs" / "instances.json").write_text(json.dumps(instances))
    inner = {"type": "json", "splits": {"*": "instances.json"}}
    category = {"on": {"category_id": "id"}, "as": "category", "source": {**inner, "records": "categories"}}
    annotation = {**inner, "records": "annotations", "join": [category]}
    source = {
        "type": "pickle", "root": "refs", "splits": {"train": "refs.p", "validation": "refs.p"},
        "where": {"split": {"train": "train", "validation": ["val"]}},
        "join": [{"on": {"ann_id": "id"}, "source": annotation}],
    }  # fmt: skip
    [row] = every(open_rows(tmp_path, source))
    assert row["bbox"] == [1, 2, 3, 4] and row["category"]["name"] == "cat"
    [row] = every(open_rows(tmp_path, source, "validation"))
    assert row["ann_id"] == 9
    (tmp_path / "refs" / "instances.json").unlink()
    with pytest.raises(MissingData, match=r"join\[0\].source.splits.\*: no such file: .*refs/instances.json"):
        open_rows(tmp_path, source)


def test_joined_rows_survive_a_pickle(tmp_path: Path) -> None:
    write(tmp_path, a=[{"id": 1}], b=[{"id": 1, "n": 1}])
    source = json_source("a", join=[{"on": "id", "source": json_source("b")}], where={"n": 1}, number="i")
    rows = pickle.loads(pickle.dumps(open_rows(tmp_path, source)))
    assert every(rows) == [{"id": 1, "n": 1, "i": 1}]


def test_the_example_of_the_docs(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.S)
    (tmp_path / "refs.yaml").write_text(
        f"task: refs\n{block}fields: {{text: 'sentences[*].sent'}}\n"
        "input: {prompt: x}\ntarget: {field: text}\n"
    )
    assert not lint_task(tmp_path / "refs.yaml").problems


# ------------------------------------------------------------------------------- which rows


def test_where(tmp_path: Path) -> None:
    rows = [
        {"split": "train", "ok": True, "n": 1}, {"split": "restval", "ok": True, "n": 2.0},
        {"split": "val", "ok": False, "tags": ["x", "y"]}, {"ok": None},
    ]  # fmt: skip
    write(tmp_path, a=rows)

    def kept(of: str = "train", /, **where: Any) -> list[Any]:
        source = json_source("a", where=where)
        source["splits"]["test"] = "a.json"
        found = open_rows(tmp_path, source, of)
        assert list(found.column("n")) == [row.get("n") for row in every(found)]
        assert found.key(0) == f"a.json:[{rows.index(found[0])}]"
        return every(found)

    assert kept(split={"train": ["train", "restval"]}) == rows[:2]
    assert kept("test", split={"train": "train"}) == rows, "a split that is left out has all rows"
    assert kept(ok=False) == kept(ok="false") == [rows[2]]
    assert kept(n="2") == kept(n=2) == [rows[1]]
    assert kept(tags="y") == [rows[2]], "a list that has the value"
    assert kept(split="train", ok=True) == rows[:1]
    with pytest.raises(UserError) as caught:
        kept(split="training")
    said = "where: none of the 4 rows has 'split' in (training); 'split' has: train, restval, val"
    assert said in str(caught.value)


def test_numbers(tmp_path: Path) -> None:
    write(tmp_path, a=["a", "b", "c"])
    rows = open_rows(tmp_path, json_source("a", number="n", index="i", where={"i": [2, 1]}))
    assert every(rows) == [{"value": "b", "n": 2, "i": 1}, {"value": "c", "n": 3, "i": 2}]
    assert list(rows.column("n")) == [2, 3]


def test_files_of_a_row(tmp_path: Path) -> None:
    """VCR: each row names a file of boxes and names."""
    write(
        tmp_path, a=[{"fn": "m.json"}, {"fn": "gone.json"}, {"fn": "bad.json"}, {}], m={"names": ["person"]}
    )
    (tmp_path / "bad.json").write_text("{")
    rows = open_rows(tmp_path, json_source("a", files={"meta": "{fn}"}), text="meta.names[0]")
    assert rows[0]["meta"] == {"names": ["person"]}
    with pytest.raises(AbsentFile, match="no such file: .*gone.json"):
        rows[1]
    with pytest.raises(BadRow, match="bad.json is not valid JSON"):
        rows[2]
    with pytest.raises(BadRow, match="meta: no key 'fn'"):
        rows[3]


def test_parts_of_a_text(tmp_path: Path) -> None:
    """MMSA: `video$_$clip`; NLVR2: `split-set-pair-sentence`."""
    write(tmp_path, a=[{"id": "a_b$_$7", "n": {"k": "dev-8-1-0"}}, {"id": "x", "n": {"k": "dev-8-1-0"}}, {}])
    parse = {"id": "{video}$_${clip}", "n.k": "{part}-{group}-{pair}-{sentence}"}
    rows = open_rows(tmp_path, json_source("a", parse=parse, where={"clip": 7}))
    [row] = every(rows)
    assert (row["video"], row["clip"], row["part"], row["pair"]) == ("a_b", "7", "dev", "1")
    rows = open_rows(tmp_path, json_source("a", parse=parse))
    with pytest.raises(BadRow, match=r"'id' is 'x', which is not of the form {video}\$_\${clip}"):
        rows[1]
    with pytest.raises(BadRow, match="nothing to parse: no key 'id'"):
        rows[2]


def test_mapping_of_rows(tmp_path: Path) -> None:
    """GQA: a dictionary by question id."""
    write(tmp_path, a={"q7": {"question": "?"}, "q8": {"question": "!"}}, b={"x": [1, 2]})
    write(tmp_path, c={"rows": {"t": ["a", "b"], "n": [1, 2]}})
    assert every(open_rows(tmp_path, json_source("a", key="id")))[1] == {"id": "q8", "question": "!"}
    assert every(open_rows(tmp_path, json_source("b", key="id"))) == [{"id": "x", "value": [1, 2]}]
    columns = open_rows(tmp_path, json_source("c", records="rows"))
    assert every(columns) == [{"t": "a", "n": 1}, {"t": "b", "n": 2}]
    with pytest.raises(UserError, match=r"source.key: .* holds a list there, not a mapping of rows"):
        open_rows(tmp_path, json_source("b", records="x", key="id"))


def test_lists_in_lists(tmp_path: Path) -> None:
    """SQuAD: articles of paragraphs of questions."""
    asked = [{"id": "q1", "question": "a?"}, {"id": "q2", "question": "b?"}]
    articles = [
        {"title": "T", "paragraphs": [{"context": "C", "qas": asked}, {"context": "D", "qas": []}]},
        {"title": "U", "paragraphs": [{"context": "E", "qas": [{"title": "own", "words": ["x"]}]}]},
    ]
    write(tmp_path, a={"data": articles})
    rows = open_rows(tmp_path, json_source("a", records="data", each=["paragraphs", "qas"]))
    assert every(rows) == [
        {"title": "T", "context": "C", "id": "q1", "question": "a?"},
        {"title": "T", "context": "C", "id": "q2", "question": "b?"},
        {"title": "own", "context": "E", "words": ["x"]},
    ]
    (tmp_path / "l.json").write_text('{"n": 1, "words": ["a", "b"]}\n{"n": 2, "words": ["c"]}\n')
    rows = open_rows(tmp_path, json_source("l", each=["words"]))
    assert every(rows)[1:] == [{"n": 1, "words": "b"}, {"n": 2, "words": "c"}]
    (tmp_path / "p.p").write_bytes(pickle.dumps({"k": {"words": ("a", "b")}}))
    pickled = {"type": "pickle", "splits": {"train": "p.p"}, "key": "name", "each": ["words"]}
    rows = open_rows(tmp_path, pickled)
    assert every(rows)[1] == {"name": "k", "words": "b"}
    with pytest.raises(UserError, match=r"source.each: .*a.json: row 0 has no list 'qas' \(it has: title"):
        open_rows(tmp_path, json_source("a", records="data", each=["qas"]))


# ----------------------------------------------------------------------------------- mismatch


def pairs(folder: Path, n: int = 200, **mismatch: Any) -> tuple[RowSource, Any]:
    write(folder, a=[{"id": i, "image": i // 2, "caption": f"c{i}"} for i in range(n)])
    source = json_source("a", mismatch={"keys": ["caption"], **mismatch})
    same = {"path": mismatch.get("as", "matches"), "map": {"true": "yes", "false": "no"}}
    task = task_of(folder, source, caption="caption", same=same)
    rows = open_source(task, "train")
    assert isinstance(rows, RowSource)
    return rows, [{k: v.text for k, v in read_fields(task, row, rows).items()} for row in every(rows)]


def test_mismatched_pairs(tmp_path: Path) -> None:
    rows, values = pairs(tmp_path, differ="image")
    own = [f"c{i}" == rows[i]["caption"] for i in range(200)]
    assert own == [rows[i]["matches"] for i in range(200)] == [v["same"] == "yes" for v in values]
    assert 70 < sum(own) < 130
    assert every(rows) == every(rows), "the same at every call"
    assert all(rows[i]["image"] == i // 2 for i in range(200)), "other keys stay"
    assert all(int(rows[i]["caption"][1:]) // 2 != i // 2 for i in range(200) if not rows[i]["matches"])
    rows, _ = pairs(tmp_path, rate=0.1, **{"as": "together"})
    assert 0 < sum(not row["together"] for row in every(rows)) < 40


def test_mismatch_without_another_row(tmp_path: Path) -> None:
    write(tmp_path, a=[{"image": 1, "caption": "c"}] * 8)
    source = json_source("a", mismatch={"keys": ["caption"], "differ": "image", "rate": 0.99})
    with pytest.raises(BadRow, match="none differs"):
        every(open_rows(tmp_path, source, caption={}))


def test_mismatch_of_exploded_rows(tmp_path: Path) -> None:
    """A caption of another image, whatever number of captions it has."""
    write(tmp_path, a=[{"image": i, "captions": [f"{i}.{j}" for j in range(i % 3 + 1)]} for i in range(40)])
    source = json_source("a", mismatch={"keys": ["captions"]})
    task = task_of(tmp_path, source, caption="captions[*]", label="matches")
    rows = open_source(task, "train")
    assert isinstance(rows, RowSource)
    for row in every(rows):
        caption = read_fields(task, row, rows)["caption"].text  # type: ignore[union-attr]
        assert (int(caption.partition(".")[0]) == row["image"]) == row["matches"]
    assert 0.3 < sum(row["matches"] for row in every(rows)) / len(rows) < 0.7


# --------------------------------------------------------------------------------- absent data


def test_absent_data_says_what_goes_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(tmp_path, json_source("a", root="$UNIFIED_DATA/set"), text={})
    said = {"homepage": "https://h.org", "download": {"a.json": "https://h.org/a.zip"}}
    spec = task.spec.model_copy(update=said)
    task = type(task).of(spec, task.path)
    monkeypatch.setenv("UNIFIED_DATA", str(tmp_path))
    with pytest.raises(MissingData) as caught:
        open_source(task, "train")
    assert str(caught.value) == (
        f"{tmp_path}/task.yaml: source.splits.train: no such file: {tmp_path}/set/a.json\n"
        f"'t' needs these below {tmp_path}/set:\n  a.json  <-  https://h.org/a.zip\n"
        "officially found at https://h.org"
    )
    assert caught.value.paths == (tmp_path / "set" / "a.json",)


@pytest.mark.parametrize("root", ["$UNIFIED_DATA/set", "${UNIFIED_DATA}/set"])
def test_relative_data_start_where_the_user_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    (tmp_path / "specs").mkdir()
    task = task_of(tmp_path / "specs", json_source("a", root=root), text={})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNIFIED_DATA", "data")
    with pytest.raises(MissingData) as caught:
        open_source(task, "train")
    assert caught.value.paths == (tmp_path / "data" / "set" / "a.json",)
