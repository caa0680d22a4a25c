"""unified/sources/swig.py and anet.py"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from source_helpers import save_image, task_of

from unified.errors import UserError
from unified.sources.fields import read_fields
from unified.sources.open import open_source
from unified.specs.example import BadRow

SPACE = {
    "nouns": {"n1": {"gloss": ["man", "adult male"]}, "n2": {"gloss": ["ball"]}, "n3": {"gloss": ["box"]}},
    "verbs": {"kicking": {"order": ["agent", "item", "place"], "abstract": "the AGENT kicks"}},
}


def swig(folder: Path, **entries: dict[str, Any]):
    (folder / "SWiG_jsons").mkdir(exist_ok=True)
    (folder / "SWiG_jsons" / "imsitu_space.json").write_text(json.dumps(SPACE))
    (folder / "dev.json").write_text(json.dumps({f"{name}.jpg": entry for name, entry in entries.items()}))
    task = task_of(
        folder, {"type": "swig", "splits": {"train": "dev.json"}}, image="image", frames={"type": "texts"},
        roles={"type": "grounded_text"}, situation={"type": "grounded_text"},
    )  # fmt: skip
    for name in entries:
        save_image(folder / "images_512" / f"{name}.jpg", (20, 10))
    return task, open_source(task, "train")


def entry(items: list[str], box: list[int], **more: Any) -> dict[str, Any]:
    frames = [{"place": "n9", "item": item, "agent": "n1"} for item in items]
    boxes = {"place": [-1, -1, -1, -1], "item": box, "agent": [2, 1, 8, 9]}
    return {"verb": "kicking", "height": 10, "width": 20, "bb": boxes, "frames": frames} | more


def test_roles_are_in_the_verbs_order_with_the_noun_of_most_and_its_box(tmp_path):
    task, rows = swig(tmp_path, a=entry(["n3", "n2", "n2"], [10, 2, 15, 7]))
    values = read_fields(task, rows[0], rows)
    roles = values["roles"]
    assert roles.text == "agent: man, item: ball, place: n9"  # an id that the space lacks stays
    assert [roles.text[a:b] for a, b in roles.spans] == ["man", "ball"]
    np.testing.assert_array_equal(roles.boxes.xyxy, [[2, 1, 8, 9], [10, 2, 15, 7]])
    assert values["situation"].text == "kicking, agent: man, item: ball, place: n9"
    assert values["frames"].items[0] == "agent: man, item: box, place: n9"
    assert rows.key(0) == "dev.json:a.jpg"


def test_a_role_that_is_not_there_is_nothing_unless_it_has_a_box(tmp_path):
    absent = [-1, -1, -1, -1]
    task, rows = swig(tmp_path, a=entry(["", "", "n2"], absent), b=entry(["", "", "n2"], [1, 1, 3, 3]))
    first, second = (read_fields(task, rows[i], rows)["roles"] for i in range(2))
    assert first.text == "agent: man, item: nothing, place: n9" and len(first.spans) == 1
    assert second.text == "agent: man, item: ball, place: n9" and len(second.spans) == 2
    assert pickle.loads(pickle.dumps(rows))[0] == rows[0]


def test_entries_that_are_none_are_bad_rows(tmp_path):
    _, rows = swig(tmp_path, a=entry(["n2"], [1, 1, 3, 3], verb="flying"), b={"verb": "kicking"})
    with pytest.raises(BadRow, match="'flying' is not in the space"):
        rows[0]
    with pytest.raises(BadRow, match="not an entry of SWiG: KeyError: 'frames'"):
        rows[1]


def test_another_file_in_the_place_of_the_space(tmp_path):
    task, _ = swig(tmp_path, a=entry(["n2"], [1, 1, 3, 3]))
    (tmp_path / "SWiG_jsons" / "imsitu_space.json").write_text('{"nouns": {}}')
    with pytest.raises(UserError, match="source.space: .* is not imsitu_space.json"):
        open_source(task, "train")


# ------------------------------------------------------------------------- ActivityNet-Entities


def event(**more: Any) -> dict[str, Any]:
    """Words 1 and 4 share a box of frame 3, word 4 has a second one there; word 6 has one in frame 7."""
    return {
        "timestamps": [2.0, 12.0],
        "tokens": ["A", "man", "rides", "a", "bike", "past", "houses"],
        "frame_ind": [3, 3, 7],
        "process_bnd_box": [[72, 81, 144, 162], [0, 0, 720, 405], [360, 0, 720, 405]],
        "process_idx": [[1, 4], [4], [6]],
        "process_clss": [["man", "bike"], ["bike"], ["house"]],
        "crowds": [0, 0, 1],
    } | more


def anet(folder: Path, **segments: dict[str, Any]):
    annotations = {"v_a": {"duration": 20.0, "segments": segments}}
    sizes = {"v_a": {"rwidth": 720, "rheight": 405}}
    ids = {"training": ["v_a", "v_gone"], "validation": []}
    for name, document in (
        ("anet_entities_cleaned_class_thresh50_trainval", {"vocab": [], "annotations": annotations}),
        ("anet_entities_trainval", {"database": sizes}),
        ("split_ids_anet_entities", ids),
    ):
        (folder / f"{name}.json").write_text(json.dumps(document))
    save_image(folder / "frame.png", (40, 20))
    return task_of(
        folder, {"type": "activitynet_entities", "splits": {"train": "training", "validation": "validation"}},
        image={"path": "place", "default": "frame.png"},
        caption={"type": "grounded_text", "path": "grounded_caption", "format": "normalized_xyxy"},
    )  # fmt: skip


def test_a_row_is_a_frame_with_boxes_whatever_its_size(tmp_path):
    nothing = {key: [] for key in ("frame_ind", "process_bnd_box", "process_idx", "process_clss", "crowds")}
    task = anet(tmp_path, **{"0": event(), "1": event(**nothing)})
    rows = open_source(task, "train")
    assert [rows[i]["frame"] for i in range(len(rows))] == [3, 7]
    assert rows[0]["classes"] == ["man", "bike"] and (rows[0]["start"], rows[0]["end"]) == (2.0, 12.0)
    caption = read_fields(task, rows[0], rows)["caption"]
    assert caption.text == "A man rides a bike past houses"
    assert [caption.text[a:b] for a, b in caption.spans] == ["man", "bike", "bike"]
    np.testing.assert_allclose(caption.boxes.xyxy, [[4, 4, 8, 8], [4, 4, 8, 8], [0, 0, 40, 20]])
    assert rows.key(1).endswith("v_a, segment 0, frame 7")


def test_a_part_without_boxes_and_other_files(tmp_path):
    task = anet(tmp_path, **{"0": event()})
    with pytest.raises(UserError, match="splits.validation: no video of 'validation' has boxes"):
        open_source(task, "validation")
    (tmp_path / "anet_entities_trainval.json").write_text('{"annotations": {}}')
    with pytest.raises(UserError, match="not the files of ActivityNet-Entities: KeyError: 'database'"):
        open_source(task, "train")
