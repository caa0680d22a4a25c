"""What can be done with an answer."""

from __future__ import annotations

import json

import numpy as np
import PIL.Image
import pytest

from unified.errors import UserError
from unified.serving.result import Result
from unified.values.types import (
    Boxes,
    Depth,
    GroundedText,
    Image,
    Keypoints,
    Label,
    Mask,
    Normals,
    Number,
    Points,
    Segmentation,
    Text,
)

PHOTO = Image(np.full((24, 32, 3), 90, np.uint8))
BOXES = Boxes(np.array([[1.0, 2, 30.126, 20]]), ("red cube",))
VALUES = [
    Text("hello"),
    Label("cat"),
    Number(1.5),
    BOXES,
    Points(np.array([[3.0, 4.0]])),
    Keypoints(np.array([[[3.0, 4.0], [1, 1]]]), np.array([[2, 0]]), ("head", "foot")),
    GroundedText("a cube", ((0, 6),), Boxes(np.array([[1.0, 2, 3, 4]]))),
    PHOTO,
    Mask(np.eye(24, 32, dtype=bool)),
    Segmentation(np.eye(24, 32, dtype=np.int64) * 2, ("a", "b")),
    Depth(np.full((24, 32), 1.2345)),
    Normals(np.tile([0, 0, -1.0], (24, 32, 1))),
]


def result(value, images=(PHOTO,)):
    return Result(value, "a prompt", images, "t")


@pytest.mark.parametrize("value", VALUES, ids=lambda v: type(v).__name__)
def test_every_kind_is_words_json_and_a_picture(value, tmp_path):
    r = result(value)
    assert r.text and str(r) == r.text
    data = json.loads(json.dumps(r.to_dict(), allow_nan=False))
    assert data["task"] == "t" and data["answer"]["type"] in str(type(value)).lower().replace(
        "groundedtext", "grounded_text"
    )
    assert json.loads(r.save(tmp_path / "a.json").read_text()) == data
    assert r.save(tmp_path / "a.txt").read_text() == r.text + "\n"
    with PIL.Image.open(r.save(tmp_path / "a.png")) as picture:
        assert min(picture.size) >= 24
    assert r._repr_png_().startswith(b"\x89PNG")


def test_words():
    assert result(BOXES).text == "red cube: 1.0 2.0 30.1 20.0"
    assert result(BOXES).to_dict()["answer"] == {
        "type": "boxes", "xyxy": [[1.0, 2.0, 30.13, 20.0]], "labels": ["red cube"],
    }  # fmt: skip
    assert result(Boxes(np.zeros((0, 4)))).text == "no boxes"
    assert result(VALUES[5]).text == "head: 3.0 4.0"
    assert result(Number(float("nan"))).to_dict()["answer"]["number"] is None
    assert "1.234 to 1.234 m" in result(VALUES[10]).text or "1.235 to 1.235 m" in result(VALUES[10]).text


def test_depth_is_saved_in_millimetres(tmp_path):
    depth = Depth(np.array([[1.2345, 70.0], [2.0, 3.0]]), np.array([[True, True], [False, True]]))
    saved = np.array(PIL.Image.open(result(depth).save(tmp_path / "d.png")))
    np.testing.assert_array_equal(saved, [[1234, 65535], [0, 3000]])
    with pytest.raises(UserError, match="saved as .png"):
        result(depth).save(tmp_path / "d.jpg")


def test_maps_are_saved_as_they_are(tmp_path):
    mask = np.array(PIL.Image.open(result(VALUES[8]).save(tmp_path / "m.png")))
    np.testing.assert_array_equal(mask, np.eye(24, 32) * 255)
    classes = PIL.Image.open(result(VALUES[9]).save(tmp_path / "s.png"))
    assert classes.mode == "P"
    np.testing.assert_array_equal(np.array(classes), np.eye(24, 32) * 2)
    np.testing.assert_array_equal(
        np.array(PIL.Image.open(result(PHOTO).save(tmp_path / "i.png"))), PHOTO.pixels
    )


def test_boxes_are_drawn_over_the_image(tmp_path):
    drawn = np.array(PIL.Image.open(result(BOXES).save(tmp_path / "b.png")).convert("RGB"))
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) > 2


def test_saving_mistakes(tmp_path):
    with pytest.raises(UserError, match="cannot save to '.pgn' .*did you mean '.png'"):
        result(BOXES).save(tmp_path / "a.pgn")
    with pytest.raises(UserError, match="is not there"):
        result(BOXES).save(tmp_path / "absent" / "a.png")
    with pytest.raises(UserError, match="saved as .txt or .json"):
        result(Text("x"), images=()).save(tmp_path / "a.png")
