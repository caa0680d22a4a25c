"""unified/sources/fields.py and the conversions behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest
from source_helpers import png_bytes, save_image, task_of

from unified.errors import UserError
from unified.sources.base import NamedInt
from unified.sources.fields import read_fields
from unified.specs.example import BadRow
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
    Texts,
)

IMAGE = np.zeros((40, 80, 3), np.uint8)
JOINTS = ["left_hand", "right_hand"]


def read(tmp_path: Path, field: Any, raw: Any, **row: Any) -> Any:
    """The value of field `v` of a row whose 80 x 40 image is known."""
    task = task_of(tmp_path, image={}, v=field)
    return read_fields(task, {"image": IMAGE, "v": raw, **row})["v"]


# ----------------------------------------------------------------------------- text and numbers


@pytest.mark.parametrize(
    ("field", "raw", "value"),
    [
        ({}, "as  it\nis ", Text("as  it\nis ")),
        ({}, 3, Text("3")),
        ({}, np.int64(3), Text("3")),
        ({}, 2.5, Text("2.5")),
        ({}, True, Text("true")),
        ({}, "é".encode(), Text("é")),
        ({}, "<extra_id_0> </s>", Text("<extra_id_0> </s>")),
        ({"type": "label", "map": {"true": "yes", "false": "no"}}, False, Label("no")),
        ({"type": "label", "map": {"1": "one"}}, 1, Label("one")),
        ({"type": "label", "names": ["cat", "dog"]}, 1, Label("dog")),
        ({"type": "label", "names": ["cat", "dog"]}, "1", Label("dog")),
        ({"type": "label", "names": ["cat", "dog"]}, "dog", Label("dog")),
        ({"type": "label", "names": ["cat", "dog"]}, 1.0, Label("dog")),
        ({"type": "label", "names": ["n01", "n02"], "map": {"n02": "dog"}}, 1, Label("dog")),
        ({"type": "label"}, NamedInt(1, "dog"), Label("dog")),
        ({"type": "label", "map": {"1": "hound"}}, NamedInt(1, "dog"), Label("hound")),
        ({"type": "label", "map": {"dog": "hound"}}, NamedInt(1, "dog"), Label("hound")),
        ({"type": "texts"}, ["a", 2], Texts(("a", "2"))),
        ({"type": "texts"}, "a", Texts(("a",))),
        ({"type": "texts"}, [], Texts(())),
        ({"type": "number"}, " 2.5 ", Number(2.5)),
        ({"type": "number", "unit_scale": 0.5}, 3, Number(1.5)),
        ({"type": "number", "map": {"low": "1"}}, "low", Number(1.0)),
        ({"default": "none"}, None, Text("none")),
        ({"type": "label"}, Label("typed"), Label("typed")),
    ],
)
def test_text_and_numbers(tmp_path: Path, field: Any, raw: Any, value: Any) -> None:
    assert read(tmp_path, field, raw) == value


@pytest.mark.parametrize(
    ("field", "raw", "reason"),
    [
        ({}, None, "null, and the field has no default"),
        ({}, ["a", "b"], "a list where one text was expected"),
        ({}, {"a": 1}, "dict where text was expected"),
        ({}, b"\xff\xfe", "not UTF-8"),
        ({"type": "label", "map": {"0": "no"}}, 1, "'1' is not in `map` (which has: 0)"),
        ({"type": "label", "names": ["cat"]}, 1, "1 is not an index into the 1 `names`"),
        ({"type": "label", "names": ["cat"]}, -1, "-1 is not an index"),
        ({"type": "label", "names": ["cat"]}, "cow", "'cow' is neither in `names`"),
        ({"type": "texts"}, ["a", None], "null where text was expected"),
        ({"type": "number"}, "two", "not a number: 'two'"),
        ({"type": "number"}, "nan", "not a finite number"),
        ({"type": "number"}, 10**400, "not a number"),
    ],
)
def test_bad_text_and_numbers(tmp_path: Path, field: Any, raw: Any, reason: str) -> None:
    with pytest.raises(BadRow) as caught:
        read(tmp_path, field, raw)
    assert str(caught.value).startswith("field 'v': ") and reason in str(caught.value)


def test_missing_key_names_the_keys_there_are(tmp_path: Path) -> None:
    task = task_of(tmp_path, question="questoin")
    with pytest.raises(
        BadRow, match=r"field 'question': no key 'questoin' \(the row has: question, answer\)"
    ):
        read_fields(task, {"question": "?", "answer": "!"})


# -------------------------------------------------------------------------------- coordinates


@pytest.mark.parametrize(
    ("form", "raw", "xyxy"),
    [
        (None, [1, 2, 3, 5], [[1, 2, 3, 5]]),
        ("xyxy", [[1, 2, 3, 5], [0, 0, 1, 1]], [[1, 2, 3, 5], [0, 0, 1, 1]]),
        ("xywh", [[1, 2, 3, 5]], [[1, 2, 4, 7]]),
        ("cxcywh", [[10, 20, 4, 6]], [[8, 17, 12, 23]]),
        ("yxyx", [[2, 1, 5, 3]], [[1, 2, 3, 5]]),
        ("normalized_xyxy", [[0.25, 0.5, 0.5, 1.0]], [[20, 20, 40, 40]]),
        ("normalized_cxcywh", [[0.5, 0.5, 0.5, 0.5]], [[20, 10, 60, 30]]),
        ("xywh", "1 2 3 5", [[1, 2, 4, 7]]),
        (None, "[[1, 2, 3, 5], [0, 0, 1, 1]]", [[1, 2, 3, 5], [0, 0, 1, 1]]),
        (None, np.float32([[1, 2, 3, 5]]), [[1, 2, 3, 5]]),
        (None, [], np.zeros((0, 4))),
        (None, [3, 3, 3, 3], [[3, 3, 3, 3]]),
    ],
)
def test_boxes(tmp_path: Path, form: str | None, raw: Any, xyxy: Any) -> None:
    value = read(tmp_path, {"type": "boxes", "format": form}, raw)
    assert isinstance(value, Boxes) and value.labels is None
    assert value.xyxy.dtype == np.float64 and value.xyxy.shape == np.asarray(xyxy).shape
    np.testing.assert_allclose(value.xyxy, xyxy)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ([[3, 2, 1, 5]], "a box ends before it begins: x1, y1, x2, y2 = [3.0, 2.0, 1.0, 5.0]"),
        ([[0, 0, float("nan"), 1]], "NaN or infinity"),
        ([[0, 0, float("inf"), 1]], "NaN or infinity"),
        ([[0, 0, 1]], "found an array of shape (1, 3)"),
        ([1, 2, 3, 4, 5, 6, 7, 8], "found an array of shape (1, 8)"),
        ([[0, 0, 1], [0, 0, 1, 1]], "not rows of 4 numbers"),
        ("1 2 3", "3 numbers cannot be groups of 4"),
        ("a b c d", "not numbers"),
        ({"x": 1}, "not rows of 4 numbers"),
    ],
)
def test_malformed_boxes(tmp_path: Path, raw: Any, reason: str) -> None:
    with pytest.raises(BadRow) as caught:
        read(tmp_path, {"type": "boxes"}, raw)
    assert reason in str(caught.value)


def test_unit_scale_brings_boxes_of_a_grid_of_1000_to_pixels(tmp_path: Path) -> None:
    field = {"type": "boxes", "format": "normalized_yxyx", "unit_scale": 0.001}
    np.testing.assert_allclose(read(tmp_path, field, [[500, 250, 1000, 500]]).xyxy, [[20, 20, 40, 40]])


def test_labels_of_boxes(tmp_path: Path) -> None:
    field = {"type": "boxes", "path": "v[].box", "labels": "v[].c", "names": ["cat", "dog"]}
    objects = [{"box": [0, 0, 1, 1], "c": 1}, {"box": [2, 2, 3, 3], "c": 0}]
    assert read(tmp_path, field, objects).labels == ("dog", "cat")
    assert read(tmp_path, field, []).labels == ()
    with pytest.raises(BadRow, match="labels: 5 is not an index"):
        read(tmp_path, field, [{"box": [0, 0, 1, 1], "c": 5}])
    with pytest.raises(BadRow, match="2 boxes but 1 labels"):
        read(tmp_path, {"type": "boxes", "labels": "l"}, [[0, 0, 1, 1], [0, 0, 2, 2]], l=["cat"])


def test_boxes_from_columns(tmp_path: Path) -> None:
    value = read(
        tmp_path, {"type": "boxes", "path": "{x} {y} {w} {h}", "format": "xywh"}, 0, x=1, y="2", w=3, h=4
    )
    assert value.xyxy.tolist() == [[1, 2, 4, 6]]


def test_points(tmp_path: Path) -> None:
    value = read(tmp_path, {"type": "points", "labels": "l"}, [[1, 2], [3, 4]], l=["a", "b"])
    assert isinstance(value, Points) and value.labels == ("a", "b")
    value = read(tmp_path, {"type": "points", "format": "normalized_xy"}, [0.5, 0.5])
    assert value.xy.tolist() == [[40, 20]]


@pytest.mark.parametrize("raw", [[1, 2, 2, 3, 4, 0], [[1, 2, 2], [3, 4, 0]], [[1, 2, 2, 3, 4, 0]]])
def test_keypoints(tmp_path: Path, raw: Any) -> None:
    value = read(tmp_path, {"type": "keypoints", "names": JOINTS}, raw)
    assert isinstance(value, Keypoints) and value.names == tuple(JOINTS)
    assert value.xy.tolist() == [[[1, 2], [3, 4]]] and value.visibility.tolist() == [[2, 0]]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ([1, 2, 2], "do not fit 2 joint names"),
        ([1, 2, 2, 3, 4, 7], "visibility is 0, 1 or 2"),
        ([1, 2, 2, 3, float("nan"), 0], "NaN"),
        ("x", "not keypoints"),
    ],
)
def test_bad_keypoints(tmp_path: Path, raw: Any, reason: str) -> None:
    with pytest.raises(BadRow, match=reason):
        read(tmp_path, {"type": "keypoints", "names": JOINTS}, raw)


def test_names_that_the_data_contradict(tmp_path: Path) -> None:
    typed = Keypoints(np.zeros((1, 2, 2)), np.zeros((1, 2), np.int64), ("a", "b"))
    with pytest.raises(BadRow, match="has the names a, b, but `names` says left_hand, right_hand"):
        read(tmp_path, {"type": "keypoints", "names": JOINTS}, typed)


def test_grounded_text(tmp_path: Path) -> None:
    field = {"type": "grounded_text"}
    boxes = [[5, 5, 6, 6], [0, 0, 1, 1], [1, 1, 2, 2]]
    value = read(
        tmp_path, field, {"text": "a cat and a cat", "boxes": boxes, "spans": [(10, 15), (0, 5), (0, 5)]}
    )
    assert isinstance(value, GroundedText)
    assert value.spans == ((0, 5), (0, 5), (10, 15)), "spans come in the order of the text"
    assert value.boxes.xyxy.tolist() == [[0, 0, 1, 1], [1, 1, 2, 2], [5, 5, 6, 6]]
    value = read(
        tmp_path, field, {"text": "a cat and a cat", "boxes": boxes[:2], "phrases": ["a cat", "a cat"]}
    )
    assert value.spans == ((0, 5), (10, 15))
    value = read(
        tmp_path, field, {"text": "two cats", "boxes": boxes[:2], "phrases": ["two cats", "two cats"]}
    )
    assert value.spans == ((0, 8), (0, 8)), "a phrase with several boxes repeats its span"
    with pytest.raises(BadRow, match="overlaps"):
        read(tmp_path, field, {"text": "a cat and a cat", "boxes": boxes[:2], "spans": [(0, 5), (2, 8)]})
    with pytest.raises(BadRow, match="'dog' does not follow"):
        read(tmp_path, field, {"text": "a cat", "boxes": boxes[:1], "phrases": ["dog"]})
    with pytest.raises(BadRow, match="2 phrases but 1 boxes"):
        read(tmp_path, field, {"text": "a cat", "boxes": boxes[:1], "spans": [(0, 1), (2, 3)]})


def test_normalized_without_an_image_is_a_mistake_of_the_spec(tmp_path: Path) -> None:
    task = task_of(tmp_path, box={"format": "normalized_xyxy"})
    with pytest.raises(
        UserError, match=r"task.yaml: fields.box.format: normalized coordinates need the image"
    ):
        read_fields(task, {"box": [0, 0, 1, 1]})


def test_frame_is_the_stated_image(tmp_path: Path) -> None:
    task = task_of(
        tmp_path, image={}, box={"format": "normalized_xyxy", "image": "other"}, other={"type": "image"}
    )
    row = {"image": IMAGE, "other": np.zeros((10, 10, 3), np.uint8), "box": [0, 0, 1, 1]}
    assert read_fields(task, row)["box"].xyxy.tolist() == [[0, 0, 10, 10]]


# ------------------------------------------------------------------------------------- images

PIXELS = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


def read_image(tmp_path: Path, raw: Any) -> np.ndarray:
    value = read_fields(task_of(tmp_path, image={}), {"image": raw})["image"]
    assert isinstance(value, Image) and value.pixels.dtype == np.uint8 and value.pixels.shape[2] == 3
    return value.pixels


def test_image_from_everywhere(tmp_path: Path) -> None:
    PIL.Image.fromarray(PIXELS).save(tmp_path / "a.png")
    data = png_bytes(PIXELS)
    for raw in (
        "a.png",
        str(tmp_path / "a.png"),
        data,
        PIL.Image.fromarray(PIXELS),
        PIXELS,
        {"bytes": data, "path": None},
        {"bytes": None, "path": "a.png"},
        {"path": "a.png"},
    ):
        np.testing.assert_array_equal(read_image(tmp_path, raw), PIXELS)


def test_image_path_starts_at_the_root_of_the_source(tmp_path: Path) -> None:
    save_image(tmp_path / "elsewhere" / "a.png")
    task = task_of(tmp_path, image={})
    assert read_fields(task, {"image": "a.png"}, SimpleNamespace(root=tmp_path / "elsewhere"))
    with pytest.raises(BadRow, match=f"field 'image': no such file: {tmp_path}/a.png"):
        read_fields(task, {"image": "a.png"})


def test_grey_and_transparent_images(tmp_path: Path) -> None:
    grey = np.uint8([[0, 100], [200, 255]])
    np.testing.assert_array_equal(read_image(tmp_path, grey), np.repeat(grey[..., None], 3, 2))
    np.testing.assert_array_equal(read_image(tmp_path, png_bytes(grey))[..., 1], grey)
    sixteen = np.uint16([[0, 65535], [257, 32896]])
    assert read_image(tmp_path, png_bytes(sixteen))[..., 0].tolist() == [[0, 255], [1, 128]]
    rgba = np.uint8([[[10, 20, 30, 0], [10, 20, 30, 255]]])
    for raw in (rgba, png_bytes(rgba)):
        assert read_image(tmp_path, raw).tolist() == [[[255, 255, 255], [10, 20, 30]]]
    palette = PIL.Image.fromarray(np.uint8([[0, 1]]), "P")
    palette.putpalette([1, 2, 3, 4, 5, 6])
    palette.save(tmp_path / "p.png", transparency=0)
    assert read_image(tmp_path, "p.png").tolist() == [[[255, 255, 255], [4, 5, 6]]]


def test_exif_orientation(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # stored on its side: turn by 90 degrees clockwise
    PIL.Image.new("RGB", (6, 4)).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path, "a.jpg").shape == (6, 4, 3)


def test_unreadable_images(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    whole = png_bytes(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    for raw, reason in [
        ("text.jpg", "unreadable image text.jpg"),
        ("cut.png", "unreadable image cut.png"),
        (b"", "unreadable image"),
        ("gone.jpg", "no such file"),
        ("https://example.org/a.jpg", "images are not downloaded"),
        (3, "found int"),
        (np.zeros((2, 2, 3), np.float32), "uint8, not float32"),
        (np.zeros((3, 2, 2), np.uint8), r"is \(height, width, 3\), not \(3, 2, 2\)"),
        (np.zeros((0, 2, 3), np.uint8), "not"),
    ]:
        with pytest.raises(BadRow, match=reason):
            read_image(tmp_path, raw)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_decompression_bombs_are_refused_before_they_are_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    PIL.Image.new("1", (12_000, 12_000)).save(tmp_path / "bomb.png")
    assert (tmp_path / "bomb.png").stat().st_size < 100_000
    PIL.Image.new("1", (20_000, 20_000)).save(tmp_path / "worse.png")
    monkeypatch.setattr(PIL.Image.Image, "load", lambda self: pytest.fail("unpacked"))
    monkeypatch.setattr(PIL.ImageFile.ImageFile, "load", lambda self: pytest.fail("unpacked"))
    with pytest.raises(BadRow, match="12000 x 12000 pixels: too large"):
        read_image(tmp_path, "bomb.png")
    with pytest.raises(BadRow, match="unreadable image worse.png"):
        read_image(tmp_path, "worse.png")


# ------------------------------------------------------------------------------------- dense


def test_masks(tmp_path: Path) -> None:
    expected = np.zeros((40, 80), bool)
    expected[10:20, 5:15] = True
    polygon = [5, 10, 15, 10, 15, 20, 5, 20]
    flat = expected.T.ravel()
    changes = np.flatnonzero(np.diff(flat.astype(int))) + 1
    counts = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    from pycocotools import mask as coco_mask

    compressed = coco_mask.encode(np.asfortranarray(expected.astype(np.uint8)))
    for form, raw in [
        (None, expected),
        ("bool", expected.tolist()),
        ("png", png_bytes(expected.astype(np.uint8))),
        ("png", png_bytes(np.repeat(expected[..., None], 3, 2).astype(np.uint8) * 255)),
        ("png", png_bytes(np.dstack([expected * 255] * 3 + [np.full((40, 80), 255)]).astype(np.uint8))),
        ("polygon", polygon),
        ("polygon", [polygon]),
        (None, {"size": [40, 80], "polygons": [polygon]}),
        ("rle", {"size": [40, 80], "counts": counts}),
        ("rle", compressed),
        ("rle", {"size": [40, 80], "counts": compressed["counts"].decode()}),
        (None, [{"size": [40, 80], "counts": counts}]),
    ]:
        value = read(tmp_path, {"type": "mask", "format": form}, raw)
        assert isinstance(value, Mask) and value.array.dtype == bool
        np.testing.assert_array_equal(value.array, expected, err_msg=f"{form} {raw}")


def test_objects_of_one_mask_are_united(tmp_path: Path) -> None:
    one, two = np.zeros((2, 40, 80), bool)
    one[:5, :5] = two[30:, 70:] = True
    from pycocotools import mask as coco_mask

    encoded = [coco_mask.encode(np.asfortranarray(m.astype(np.uint8))) for m in (one, two)]
    np.testing.assert_array_equal(read(tmp_path, {"type": "mask"}, encoded).array, one | two)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"size": [40, 80], "counts": [5]}, "rle counts 5 pixels, its size has 3200"),
        ({"size": [40, 80], "counts": "nonsense"}, "unreadable mask"),
        ({"size": [40, 80], "polygons": [[1, 2, 3]]}, "at least three points"),
        ([[1, 2, 3, 4, 5]], "at least three points"),
        (np.zeros((20, 80), bool), "is 80 x 20 pixels, which does not fit its image of 80 x 40"),
    ],
)
def test_bad_masks(tmp_path: Path, raw: Any, reason: str) -> None:
    with pytest.raises(BadRow, match=reason):
        read(tmp_path, {"type": "mask"}, raw)


def test_depth(tmp_path: Path) -> None:
    millimetres = np.full((40, 80), 2000, np.uint16)
    millimetres[0, :3] = 0
    value = read(tmp_path, {"type": "depth", "unit_scale": 0.001}, png_bytes(millimetres))
    assert isinstance(value, Depth) and value.valid is not None
    assert value.metres[1, 1] == 2.0 and value.valid.sum() == 40 * 80 - 3 and not value.valid[0, 0]
    metres = np.linspace(1, 3, 3200).reshape(40, 80)
    np.save(tmp_path / "d.npy", metres.astype(np.float32))
    value = read(tmp_path, {"type": "depth", "format": "npy"}, "d.npy")
    assert value.valid is None and value.metres.dtype == np.float64
    np.testing.assert_allclose(value.metres, metres, rtol=1e-6)
    np.testing.assert_array_equal(read(tmp_path, {"type": "depth"}, metres[..., None]).metres, metres)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.__setitem__((0, 0), np.nan), "1 pixels of NaN or infinity"),
        (lambda d: d.__setitem__((0, 0), np.inf), "1 pixels of NaN or infinity"),
        (lambda d: d.__setitem__((0, 0), -1.0), "1 below zero"),
        (lambda d: d.fill(0), "nothing was measured"),
    ],
)
def test_bad_depth(tmp_path: Path, change: Callable[[np.ndarray], None], reason: str) -> None:
    depth = np.ones((40, 80))
    change(depth)
    with pytest.raises(BadRow, match=reason):
        read(tmp_path, {"type": "depth"}, depth)


def test_arrays_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for raw in ("evil.npy", (tmp_path / "evil.npy").read_bytes()):
        with pytest.raises(BadRow, match="unreadable array"):
            read(tmp_path, {"type": "depth"}, raw)


def test_normals(tmp_path: Path) -> None:
    ours = np.zeros((40, 80, 3))
    ours[:, :40] = (0, 0, -1)  # a wall that faces the camera
    ours[:, 40:] = (0.6, -0.8, 0)
    theirs = ours * (1, -1, -1)  # y up, z towards the viewer
    colours = np.round((theirs / 2 + 0.5) * 255).astype(np.uint8)
    field = {"type": "normals", "axes": ["x", "-y", "-z"]}
    value = read(tmp_path, field, png_bytes(colours))
    assert isinstance(value, Normals) and value.valid is None
    np.testing.assert_allclose(value.vectors, ours, atol=0.01)
    np.testing.assert_allclose(np.linalg.norm(value.vectors, axis=2), 1)
    np.testing.assert_allclose(read(tmp_path, field, theirs * 3.0).vectors, ours, atol=1e-12)
    # The source's first component is our z, its second -x, its third y.
    swapped = np.stack([ours[..., 2], -ours[..., 0], ours[..., 1]], axis=2)
    field = {"type": "normals", "axes": ["z", "-x", "y"]}
    np.testing.assert_allclose(read(tmp_path, field, swapped).vectors, ours)


def test_normals_that_were_not_measured(tmp_path: Path) -> None:
    colours = np.full((40, 80, 3), (128, 128, 255), np.uint8)
    colours[0, 0] = 0
    colours[0, 1] = 128
    value = read(tmp_path, {"type": "normals"}, colours)
    assert (~value.valid).sum() == 2 and not value.valid[0, :2].any()
    for raw, reason in [
        (np.zeros((40, 80, 3), np.uint8), "nothing was measured"),
        (np.full((40, 80, 3), np.nan), "NaN"),
        (np.zeros((40, 80)), r"\(height, width, 3\)"),
    ]:
        with pytest.raises(BadRow, match=reason):
            read(tmp_path, {"type": "normals"}, raw)


def test_dense_values_of_another_resolution_are_brought_to_the_image(tmp_path: Path) -> None:
    depth = np.arange(1, 801, dtype=np.float64).reshape(20, 40)
    value = read(tmp_path, {"type": "depth"}, depth)
    np.testing.assert_array_equal(value.metres, depth.repeat(2, 0).repeat(2, 1))
    large = np.zeros((120, 240), bool)
    large[:, 120:] = True
    mask = read(tmp_path, {"type": "mask"}, large).array
    assert mask.shape == (40, 80) and mask[:, 40:].all() and not mask[:, :40].any()
    with pytest.raises(BadRow, match="does not fit its image"):
        read(tmp_path, {"type": "depth"}, np.ones((40, 60)))


def test_segmentation(tmp_path: Path) -> None:
    classes = np.zeros((40, 80), np.uint8)
    classes[:10], classes[10:20], classes[20] = 1, 2, 255
    for names in (["wall", "floor"], ["background", "wall", "floor"]):
        value = read(tmp_path, {"type": "segmentation", "names": names}, png_bytes(classes))
        assert isinstance(value, Segmentation) and value.names == ("wall", "floor")
        assert value.classes[0, 0] == 1 and value.classes[15, 0] == 2 and value.classes[20, 0] == 0, (
            "255 is void"
        )
    palette = PIL.Image.fromarray(classes, "P")
    palette.putpalette([7] * 768)
    palette.save(tmp_path / "p.png")
    value = read(tmp_path, {"type": "segmentation", "names": ["wall", "floor"]}, "p.png")
    assert set(np.unique(value.classes)) == {0, 1, 2}
    with pytest.raises(BadRow, match="has class 2 but `names` has 1"):
        read(tmp_path, {"type": "segmentation", "names": ["wall"]}, png_bytes(classes))


def test_segmentation_of_labelled_objects(tmp_path: Path) -> None:
    square = {"size": [40, 80], "polygons": [[0, 0, 20, 0, 20, 20, 0, 20]]}
    inner = {"size": [40, 80], "polygons": [[5, 5, 10, 5, 10, 10, 5, 10]]}
    field = {"type": "segmentation", "names": ["cat", "dog"], "labels": "l"}
    classes = read(tmp_path, field, [square, inner], l=["dog", "cat"]).classes
    assert (classes == 1).sum() == 25 and (classes == 2).sum() == 375, "later objects lie on top"
    assert not read(tmp_path, field, [], l=[]).classes.any()
    with pytest.raises(BadRow, match="1 labels but 2 masks"):
        read(tmp_path, field, [square, inner], l=["dog"])


# ------------------------------------------------------------------------------ spec and speed


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"path": "a..b"}, "fields.v: 'a..b' is not a path"),
        (
            {"type": "boxes", "format": "xyhw"},
            "fields.v.format: unknown format 'xyhw' (did you mean 'xywh'?)",
        ),
        ({"type": "text", "format": "png"}, "fields.v.format: unknown format 'png'; there are: tokens"),
        ({"type": "normals", "axes": ["x", "x", "z"]}, "must name x, y and z once each"),
        ({"image": "imgae"}, "fields.v.image: no field 'imgae' (did you mean 'image'?)"),
    ],
)
def test_specs_that_cannot_be_followed(tmp_path: Path, field: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, field, "x")
    assert str(caught.value).startswith(f"{tmp_path}/task.yaml: ") and message in str(caught.value)


def test_mixed_tokens_become_text_with_numbered_objects(tmp_path: Path) -> None:
    row = {
        "q": ["Why", "is", [0], "near", [1, 2], "'s", "dog", "?"],
        "answers": [[[0, 1, 2], "do", "n't", "know", "."], ["(", "No", ")", ","]],
        "objects": ["person", "person", "car"],
    }
    fields = {
        "q": {"type": "text", "format": "tokens", "labels": "objects"},
        "answers": {"type": "texts", "format": "tokens", "labels": "objects"},
    }
    for name, expected in (
        ("q", Text("Why is person1 near person2 and car3's dog?")),
        ("answers", Texts(("person1, person2 and car3 don't know.", "(No),"))),
    ):
        assert read(tmp_path, fields[name] | {"path": name}, row[name], **row) == expected
    with pytest.raises(BadRow, match="object 3, of objects 0 to 2"):
        read(tmp_path, fields["q"] | {"path": "q"}, [[3]], objects=row["objects"], q=[[3]])


def test_a_list_written_as_text(tmp_path: Path) -> None:
    field = {"type": "texts", "format": "list"}
    assert read(tmp_path, field, "['a', \"b's\"]") == Texts(("a", "b's"))
    assert read(tmp_path, field, ["a", "b"]) == Texts(("a", "b"))
    for text in ("a, b", "__import__('os')"):
        with pytest.raises(BadRow, match="no list written as text"):
            read(tmp_path, field, text)


def test_words_of_texts_need_no_objects(tmp_path: Path) -> None:
    field = {"type": "texts", "format": "tokens"}
    assert read(tmp_path, field, [["a", "cube"], ["one", "sphere", "."]]) == Texts(("a cube", "one sphere."))
    with pytest.raises(BadRow, match="name their list with `labels`"):
        read(tmp_path, field, [[[0], "runs"]])
