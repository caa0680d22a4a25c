"""Flickr30k Entities, as its own parser reads it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from source_helpers import save_image, task_of

from unified.errors import UserError
from unified.sources.base import RowSource
from unified.sources.entities import parse_sentence
from unified.sources.fields import read_fields
from unified.sources.location import MissingData
from unified.sources.open import open_source

SENTENCES = """\
[/EN#1/people A man] with [/EN#0/notvisual his back] to [/EN#2/bodyparts/other two dogs] .
[/EN#1/people He] stands in [/EN#3/scene the park]
"""
CORNERS = "<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax>"
BOX = f"<object><name>{{}}</name><bndbox>{CORNERS}</bndbox></object>"
ANNOTATION = "".join([
    "<annotation><filename>77.jpg</filename><size><width>9</width><height>9</height><depth>3</depth></size>",
    BOX.format(1, 1, 2, 5, 9), BOX.format("2</name><name>1", 4, 4, 6, 6), BOX.format(2, 7, 1, 9, 3),
    "<object><name>3</name><scene>1</scene><nobndbox>0</nobndbox></object></annotation>",
])  # fmt: skip


def entities(folder: Path, **fields: Any) -> tuple[RowSource, Any]:
    for name in ("Sentences", "Annotations", "flickr30k-images"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "Sentences" / "77.txt").write_text(SENTENCES)
    (folder / "Annotations" / "77.xml").write_text(ANNOTATION)
    save_image(folder / "flickr30k-images" / "77.jpg", (9, 9))
    (folder / "test.txt").write_text("77\n")
    task = task_of(folder, {"type": "entities", "splits": {"test": "test.txt"}}, **(fields or {"text": {}}))
    rows = open_source(task, "test")
    assert isinstance(rows, RowSource)
    return rows, task


def test_rows(tmp_path: Path) -> None:
    rows, _ = entities(tmp_path)
    assert len(rows) == 2 and rows.key(1) == "77.txt:2"
    row = rows[0]
    assert (row["image_id"], row["image"], row["sentence"]) == ("77", "flickr30k-images/77.jpg", 0)
    assert row["caption"] == "A man with his back to two dogs ."
    assert [(p["phrase"], p["chain"], p["types"]) for p in row["phrases"]] == [
        ("A man", "1", ["people"]), ("his back", "0", ["notvisual"]),
        ("two dogs", "2", ["bodyparts", "other"]),
    ]  # fmt: skip
    for phrase in row["phrases"]:
        assert row["caption"][phrase["first_char"] : phrase["last_char"]] == phrase["phrase"]
    assert row["phrases"][0]["boxes"] == [[0, 1, 4, 8], [3, 3, 5, 5]], "counted from 0; a box of two chains"
    assert [p["phrase"] for p in row["grounded"]] == ["A man", "two dogs"]
    assert [p["phrase"] for p in rows[1]["grounded"]] == ["He"], "the scene has no box"
    with pytest.raises(IndexError):
        rows[2]
    assert pickle.loads(pickle.dumps(rows))[1] == rows[1]


def test_fields(tmp_path: Path) -> None:
    caption = {"type": "grounded_text", "path": "grounded_caption"}
    rows, task = entities(tmp_path, image={}, caption=caption)
    value = read_fields(task, rows[0], rows)["caption"]
    assert value.text == "A man with his back to two dogs ."  # type: ignore[union-attr]
    assert value.spans == ((0, 5), (0, 5), (23, 31), (23, 31))  # type: ignore[union-attr]
    rows, task = entities(tmp_path, image={}, boxes="grounded[*].boxes", phrase="grounded[*].phrase")
    assert len(rows) == 3 and rows.key(1) == "77.txt:1[1]"
    assert read_fields(task, rows[1], rows)["boxes"].xyxy.tolist() == [[3, 3, 5, 5], [6, 0, 8, 2]]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "caption", "phrases"),
    [
        ("[/EN#9/other one]", "one", [("one", 0, 3)]),
        ("x [/EN#9/other a b ] y", "x a b  y", [("a b ", 2, 6)]),
        ("no phrases [ at all ]", "no phrases [ at all ]", []),
        ("[/EN#9/other never closed", "never closed", []),
    ],
)
def test_sentences(text: str, caption: str, phrases: list[Any]) -> None:
    got, found = parse_sentence(text, {})
    assert got == caption
    assert [(p["phrase"], p["first_char"], p["last_char"]) for p in found] == phrases


def test_what_is_missing_or_broken(tmp_path: Path) -> None:
    entities(tmp_path)
    (tmp_path / "Annotations" / "77.xml").write_text("<annotation>")
    with pytest.raises(UserError, match=r"source.annotations: .*77.xml is not an annotation: "):
        entities_again(tmp_path)
    (tmp_path / "Annotations" / "77.xml").unlink()
    with pytest.raises(MissingData, match=r"source.annotations: no such file: .*77.xml"):
        entities_again(tmp_path)
    (tmp_path / "test.txt").write_text("")
    with pytest.raises(UserError, match="lists no image that has sentences"):
        entities_again(tmp_path)


def entities_again(folder: Path) -> None:
    open_source(task_of(folder, {"type": "entities", "splits": {"test": "test.txt"}}, text={}), "test")
