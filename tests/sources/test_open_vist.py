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


def sentence(story: int, photo: int, order: int) -> list[dict[str, Any]]:
    text = f"photo {photo} ."
    return [
        {
            "original_text": f"Story {story}, {text} ", "text": f"[male] {text}", "album_id": "9",
            "story_id": str(story),
            "photo_flickr_id": str(photo), "worker_arranged_photo_order": order, "storylet_id": "1",
        }
    ]  # fmt: skip


def stories(folder: Path, document: Any, **more: Any) -> RowSource:
    (folder / "train.json").write_text(json.dumps(document))
    spec = {"type": "vist", "splits": {"train": "train.json"}, **more}
    rows = open_source(task_of(folder, spec, text="story"), "train")
    assert isinstance(rows, RowSource)
    return rows


SENTENCES = [
    sentence(5, 11, 1),
    sentence(5, 10, 0),
    sentence(4, 10, 0),
    sentence(4, 11, 1),
    sentence(6, 11, 0),
]


def test_stories(tmp_path: Path) -> None:
    rows = stories(tmp_path, {"images": [], "albums": [], "annotations": SENTENCES})
    assert len(rows) == 3 and rows.key(1) == "train.json:story 4"
    first = "Story 5, photo 10 . Story 5, photo 11 ."
    assert rows[0] == {
        "story_id": "5", "album_id": "9", "photos": ["10", "11"], "story": first,
        "texts": ["Story 5, photo 10 .", "Story 5, photo 11 ."],
        "references": [first, "Story 4, photo 10 . Story 4, photo 11 ."], "telling": 0,
    }  # fmt: skip
    assert [rows[i]["telling"] for i in range(3)] == [0, 1, 0]
    assert rows[1]["references"][0] == rows[1]["story"] and len(rows[2]["references"]) == 1
    assert pickle.loads(pickle.dumps(rows))[0] == rows[0]
    assert stories(tmp_path, {"annotations": SENTENCES}, text="text")[2]["story"] == "[male] photo 11 ."


def test_what_is_not_vist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="records: no key 'annotations'"):
        stories(tmp_path, {})
    with pytest.raises(UserError, match="train.json is not VIST: KeyError: 'story_id'"):
        stories(tmp_path, {"annotations": [[{"id": 1}]]})
    with pytest.raises(UserError, match="train.json is not VIST: ValueError"):
        stories(tmp_path, {"annotations": [[]]})
