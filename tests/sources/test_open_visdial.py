"""unified/sources/visdial.py"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from source_helpers import task_of

from unified.errors import UserError
from unified.sources.base import RowSource
from unified.sources.open import open_source
from unified.specs.example import BadRow

TURNS = [
    {"question": 1, "answer": 0, "answer_options": [2, 0], "gt_index": 1},
    {"question": 0, "answer": 2, "answer_options": [2, 1], "gt_index": 0},
]
DATA = {
    "questions": ["is it big", "what is it"],
    "answers": ["a café", "no", "yes"],
    "dialogs": [{"image_id": 7, "caption": "a house", "dialog": TURNS}],
}


def rows_of(folder: Path, document: Any = None, dense: Any = None) -> RowSource:
    (folder / "dialogs.json").write_text(json.dumps({"data": DATA} if document is None else document))
    source: dict[str, Any] = {"type": "visdial", "splits": {"train": "dialogs.json"}}
    if dense is not None:
        (folder / "dense.json").write_text(json.dumps(dense))
        source["dense"] = {"train": "dense.json"}
    rows = open_source(task_of(folder, source, answer={}), "train")
    assert isinstance(rows, RowSource)
    return rows


def test_each_round_is_a_row_with_what_was_said_before(tmp_path: Path) -> None:
    rows = rows_of(tmp_path)
    assert len(rows) == 2
    assert rows[0] == {
        "image_id": 7, "round_id": 1, "caption": "a house", "history": [], "question": "what is it",
        "answer": "a café", "answer_options": ["yes", "a café"], "gt_index": 1, "relevance": [0.0, 0.0],
    }  # fmt: skip
    assert rows[1]["history"] == ["what is it?", "a café."]
    assert rows[1]["answer_options"] == ["yes", "no"] and rows[1]["answer"] == "yes"
    assert rows.key(1) == "dialogs.json[0].dialog[1]"
    assert pickle.loads(pickle.dumps(rows))[1] == rows[1]


def test_relevances_are_those_of_the_annotated_round(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, dense=[{"image_id": 7, "round_id": 2, "gt_relevance": [0.5, 1.0]}])
    assert [row["relevance"] for row in (rows[0], rows[1])] == [[0.0, 0.0], [0.5, 1.0]]


def test_rounds_without_options_are_only_heard(tmp_path: Path) -> None:
    asked = [{"question": 1, "answer": 0}, {"question": 0, "answer_options": [2, 1]}]
    rows = rows_of(tmp_path, {"data": {**DATA, "dialogs": [{**DATA["dialogs"][0], "dialog": asked}]}})
    assert len(rows) == 1
    assert rows[0]["round_id"] == 2 and rows[0]["history"] == ["what is it?", "a café."]
    assert not {"answer", "gt_index"} & rows[0].keys()


def test_a_number_of_no_text_is_a_bad_row(tmp_path: Path) -> None:
    turn = {**TURNS[0], "answer_options": [3]}
    rows = rows_of(tmp_path, {"data": {**DATA, "dialogs": [{**DATA["dialogs"][0], "dialog": [turn]}]}})
    with pytest.raises(BadRow, match="text 3 of a list of 3"):
        rows[0]


@pytest.mark.parametrize(
    ("document", "dense", "message"),
    [
        ({"data": {"dialogs": []}}, None, "no file of VisDial v1.0"),
        ([], None, "source"),
        (None, [{"image": 7}], "holds no dense annotations"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, document: Any, dense: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        rows_of(tmp_path, document, dense)
