"""unified/sources/coco.py"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from source_helpers import save_image, task_of

from unified.errors import UserError
from unified.sources.base import RowSource
from unified.sources.fields import read_fields
from unified.sources.open import open_source
from unified.specs.example import BadRow
from unified.values.types import Keypoints

JOINTS = ["nose", "left_hand", "right_hand"]
SQUARE = [[1.0, 1, 5, 1, 5, 4, 1, 4]]
"""Polygon around the box [1, 1, 5, 4]."""


def image(number: int) -> dict[str, Any]:
    return {"id": number, "file_name": f"{number:03d}.png", "width": 8, "height": 6}


def thing(number: int, image_id: int, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 18,
        "bbox": [1, 1, 4, 3],
        "area": 12.0,
        "iscrowd": 0,
        "segmentation": SQUARE,
    } | more


CROWD = {"iscrowd": 1, "segmentation": {"size": [6, 8], "counts": [0, 48]}, "area": 48.0}
CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 3, "name": "traffic light"}]
INSTANCES = {
    "images": [image(1), image(2), image(3), image(4)],
    "annotations": [
        thing(10, 2),
        thing(11, 1, category_id=3, bbox=[0, 0, 2, 2], area=4.0),
        thing(12, 2, bbox=[2.5, 2, 1, 1], area=1.0, segmentation={"size": [6, 8], "counts": [18, 2, 28]}),
        thing(13, 2, **CROWD),
        thing(14, 4, **CROWD),
    ],
    "categories": CATEGORIES,
}


def open_coco(
    tmp_path: Path, document: Any, kind: str = "instances", fields: Any = None, **options: Any
) -> Any:
    (tmp_path / "coco.json").write_text(document if isinstance(document, str) else json.dumps(document))
    for number in (1, 2, 3):
        save_image(tmp_path / "images" / f"{number:03d}.png", (8, 6))
    splits = {"train": {"images": "images", "annotations": "coco.json"}}
    task = task_of(
        tmp_path, {"type": "coco", "kind": kind, "splits": splits} | options, **(fields or {"image": {}})
    )
    rows = open_source(task, "train")
    assert isinstance(rows, RowSource)
    return rows, lambda i: read_fields(task, rows[i], rows)


def test_instances_by_image(tmp_path: Path) -> None:
    fields = {"image": {}, "objects": {"path": "boxes", "labels": "labels"}}
    rows, read = open_coco(tmp_path, INSTANCES, fields=fields)
    # Image 3 has no annotation: nothing is there. Image 4 has only a crowd: nothing is known.
    assert [rows[i]["image_id"] for i in range(len(rows))] == [1, 2, 3]
    row = rows[1]
    assert row["width"] == 8 and row["height"] == 6 and row["areas"] == [12.0, 1.0]
    assert row["image"] == str(tmp_path / "images" / "002.png")
    values = read(1)
    np.testing.assert_array_equal(values["objects"].xyxy, [[1, 1, 5, 4], [2.5, 2, 3.5, 3]])
    assert values["objects"].labels == ("dog", "dog") and values["image"].size == (8, 6)
    assert read(0)["objects"].labels == ("traffic light",)
    assert read(2)["objects"].xyxy.shape == (0, 4) and read(2)["objects"].labels == ()
    assert rows.key(1) == "coco.json:image 2"


def test_instances_by_annotation(tmp_path: Path) -> None:
    fields = {"image": {}, "box": {}, "label": {}, "mask": {}, "area": {"type": "number"}}
    rows, read = open_coco(tmp_path, INSTANCES, fields=fields, per="annotation")
    assert [rows[i]["label"] for i in range(len(rows))] == ["traffic light", "dog", "dog"]
    values = read(2)
    assert values["box"].xyxy.tolist() == [[2.5, 2, 3.5, 3]] and values["label"].name == "dog"
    expected = np.zeros((6, 8), bool)
    expected[0, 3] = expected[1, 3] = True  # run lengths go down the columns: 18 = 3 columns of 6
    np.testing.assert_array_equal(values["mask"].array, expected)
    mask = read(1)["mask"].array
    assert mask[1:4, 1:5].all() and mask.sum() == 12
    assert values["area"].value == 1.0
    assert rows.key(2) == "coco.json:image 2, annotation 12"
    small, _ = open_coco(tmp_path, INSTANCES, fields=fields, per="annotation", min_area=4.0)
    assert [small[i]["area"] for i in range(len(small))] == [4.0, 12.0]


def test_instances_by_class_and_the_crowds_of_an_image(tmp_path: Path) -> None:
    other = thing(15, 2, category_id=3, bbox=[0, 0, 2, 2])
    document = INSTANCES | {"annotations": [*INSTANCES["annotations"], other]}
    fields = {"image": {}, "label": {}, "boxes": {}, "mask": "masks"}
    rows, read = open_coco(tmp_path, document, fields=fields, per="class")
    assert [(rows[i]["image_id"], rows[i]["label"]) for i in range(len(rows))] == [
        (1, "traffic light"), (2, "dog"), (2, "traffic light"),
    ]  # fmt: skip
    values = read(1)
    assert len(values["boxes"]) == 2 and values["mask"].array.sum() == 13  # one pixel of the small one is new
    assert rows.key(2) == "coco.json:image 2, traffic light"
    whole, _ = open_coco(tmp_path, document)
    assert whole[1]["crowd_labels"] == ["dog"] and whole[1]["crowd_boxes"].tolist() == [[1, 1, 5, 4]]
    assert whole[0]["crowd_labels"] == [] and whole[0]["crowd_boxes"].shape == (0, 4)
    with pytest.raises(UserError, match="source.per: `class` goes with kind: instances"):
        open_coco(tmp_path, {}, "captions", per="class")


def test_a_file_of_test_pictures_has_no_annotations(tmp_path: Path) -> None:
    document = {"images": [image(1), image(2)], "categories": CATEGORIES}
    (tmp_path / "image_info_test.json").write_text(json.dumps(document))
    save_image(tmp_path / "images" / "001.png", (8, 6))
    splits = {"test": {"images": "images", "annotations": "image_info_test.json"}}
    task = task_of(tmp_path, {"type": "coco", "kind": "instances", "splits": splits}, image={})
    rows = open_source(task, "test")
    assert len(rows) == 2 and set(rows[0]) == {"image", "image_id", "width", "height"}
    assert rows.key(0) == "image_info_test.json:image 1"
    with pytest.raises(UserError, match="no key 'annotations'"):
        open_coco(tmp_path, document)


def test_segmentation_of_an_image(tmp_path: Path) -> None:
    fields = {
        "image": {},
        "segmentation": {"path": "masks", "labels": "labels", "names": ["traffic light", "dog"]},
    }
    _, read = open_coco(tmp_path, INSTANCES, fields=fields)
    assert (read(1)["segmentation"].classes == 2).sum() == 13
    assert not read(2)["segmentation"].classes.any()


def test_captions(tmp_path: Path) -> None:
    document = {
        "images": [image(1), image(2), image(3)],
        "annotations": [
            {"id": 1, "image_id": 2, "caption": "A dog. "},
            {"id": 2, "image_id": 1, "caption": "A lamp."},
            {"id": 3, "image_id": 2, "caption": "It sits."},
        ],
    }
    rows, read = open_coco(tmp_path, document, "captions", {"image": {}, "captions": {"type": "texts"}})
    assert len(rows) == 2, "an image nobody captioned gives no row"
    assert read(1)["captions"].items == ("A dog. ", "It sits.")
    rows, read = open_coco(tmp_path, document, "captions", {"image": {}, "caption": {}}, per="annotation")
    assert [read(i)["caption"].text for i in range(len(rows))] == ["A lamp.", "A dog. ", "It sits."]
    exploded, read = open_coco(tmp_path, document, "captions", {"image": {}, "caption": "captions[*]"})
    assert [read(i)["caption"].text for i in range(len(exploded))] == ["A lamp.", "A dog. ", "It sits."]


def test_keypoints(tmp_path: Path) -> None:
    document = {
        "images": [image(1), image(2), image(3)],
        "annotations": [
            thing(1, 1, category_id=1, keypoints=[1, 2, 2, 3, 4, 1, 0, 0, 0], num_keypoints=2),
            thing(2, 1, category_id=1, keypoints=[5, 5, 2, 0, 0, 0, 0, 0, 0], num_keypoints=1, area=7.0),
            thing(3, 2, category_id=1, keypoints=[0] * 9, num_keypoints=0),
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": JOINTS, "skeleton": []}],
    }
    fields = {"image": {}, "keypoints": {"names": JOINTS}, "objects": {"path": "boxes"}}
    rows, read = open_coco(tmp_path, document, "keypoints", fields)
    assert len(rows) == 1, "figures without a labelled joint are left out"
    value = read(0)["keypoints"]
    assert isinstance(value, Keypoints) and value.names == tuple(JOINTS)
    assert value.xy.shape == (2, 3, 2) and value.xy[0, 1].tolist() == [3, 4]
    assert value.visibility.tolist() == [[2, 1, 0], [2, 0, 0]]
    assert value.area is not None and value.area.tolist() == [12.0, 7.0]
    assert len(read(0)["objects"]) == 2
    rows, read = open_coco(tmp_path, document, "keypoints", {"image": {}, "keypoints": {}}, per="annotation")
    assert len(rows) == 2 and read(1)["keypoints"].xy.shape == (1, 3, 2)
    _, read = open_coco(
        tmp_path, document, "keypoints", {"image": {}, "keypoints": {"names": ["a", "b", "c"]}}
    )
    with pytest.raises(BadRow, match="has the names nose, left_hand, right_hand, but `names` says a, b, c"):
        read(0)


def test_bad_rows(tmp_path: Path) -> None:
    document = {
        "images": [image(1), image(9)],
        "annotations": [thing(1, 1, category_id=99), thing(2, 9), thing(3, 9, bbox=[1, 1, -4, 3])],
        "categories": CATEGORIES,
    }
    rows, read = open_coco(tmp_path, document, fields={"image": {}, "box": {}}, per="annotation")
    with pytest.raises(BadRow, match="not a COCO annotation: KeyError: 99"):
        rows[0]
    with pytest.raises(BadRow, match=f"field 'image': no such file: {tmp_path}/images/009.png"):
        read(1)


def test_negative_width_is_a_bad_row(tmp_path: Path) -> None:
    document = INSTANCES | {"annotations": [thing(1, 1, bbox=[5, 1, -4, 3])]}
    _, read = open_coco(tmp_path, document, fields={"image": {}, "box": {}}, per="annotation")
    with pytest.raises(BadRow, match="field 'box': a box ends before it begins"):
        read(0)


@pytest.mark.parametrize(
    ("document", "kind", "message"),
    [
        ("{", "instances", "coco.json is not valid JSON"),
        ([], "instances", "is not COCO instances: no key 'images', 'annotations', 'categories'"),
        ({"images": [], "annotations": []}, "instances", "no key 'categories'"),
        ({"images": [], "annotations": []}, "captions", "holds no captions"),
        ({"images": [{}], "annotations": [{"caption": "a"}]}, "captions", "an entry lacks 'image_id'"),
        (INSTANCES, "keypoints", "is not COCO keypoints: an entry lacks 'keypoints'"),
    ],
)
def test_files_that_are_not_coco(tmp_path: Path, document: Any, kind: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        open_coco(tmp_path, document, kind)
    start = f"{tmp_path}/task.yaml: source.splits.train.annotations: {tmp_path}/coco.json "
    assert str(caught.value).startswith(start) and message in str(caught.value)


def test_missing_folder_and_file(tmp_path: Path) -> None:
    splits = {"train": {"images": "pictures", "annotations": "coco.json"}}
    task = task_of(tmp_path, {"type": "coco", "kind": "captions", "splits": splits}, image={})
    with pytest.raises(
        UserError, match=f"source.splits.train.annotations: no such file: {tmp_path}/coco.json"
    ):
        open_source(task, "train")
    (tmp_path / "coco.json").write_text("{}")
    with pytest.raises(
        UserError, match=f"source.splits.train.images: no such folder: {tmp_path}/pictures; correct"
    ):
        open_source(task, "train")


def test_random_access_and_pickling(tmp_path: Path) -> None:
    rows, _ = open_coco(tmp_path, INSTANCES, per="annotation")
    again = pickle.loads(pickle.dumps(rows))
    for i in (2, 0, 2, 1):
        one, two = rows[i], again[i]
        np.testing.assert_array_equal(one.pop("box"), two.pop("box"))
        assert one == two
