"""Every value can be drawn, at 64 pixels too, and what is drawn is where the value is."""

from __future__ import annotations

import numpy as np
import pytest

from unified.values.draw import COLOURS, draw, grid
from unified.values.text_strip import INK, PAPER, Run, text_strip
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

GREY = Image(np.full((64, 64, 3), 120, np.uint8))
BOXES = Boxes(np.array([[10.0, 20, 30, 40], [35, 35, 60, 60]]), ("red ball", "cone"))
DISC = (np.mgrid[:64, :64][0] - 30) ** 2 + (np.mgrid[:64, :64][1] - 30) ** 2 < 150
WALL = np.zeros((64, 64, 3))
WALL[..., 2] = -1

VALUES = [
    Text("a ball"),
    Texts(("a ball", "two balls")),
    Label("ball"),
    Number(2.5),
    BOXES,
    Boxes(BOXES.xyxy, None, np.array([0.5, 0.25])),
    Points(np.array([[3.0, 3], [63, 63]]), ("a", "b")),
    Points(np.array([[3.0, 3]])),
    Keypoints(
        np.array([[[5.0, 5], [9, 30], [50, 50]]]), np.array([[2, 1, 0]]), ("head", "neck", "left_hand")
    ),
    GroundedText("a red ball and a cone", ((2, 10), (17, 21)), BOXES),
    GREY,
    Mask(DISC),
    Segmentation(DISC.astype(np.int64), ("ball",)),
    Depth(np.linspace(1, 3, 64 * 64).reshape(64, 64), DISC),
    Depth(np.full((64, 64), 2.0)),
    Normals(WALL),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda v: type(v).__name__)
def test_every_value_is_drawn_large_enough_to_see(value):
    bare, told = draw(value, GREY), draw(value, GREY, "a caption")
    for picture in (bare, told):
        assert picture.pixels.dtype == np.uint8 and picture.size.width == 320
    assert told.size.height > bare.size.height >= 320
    np.testing.assert_array_equal(told.pixels[: bare.size.height], bare.pixels)
    if not isinstance(value, Image):
        plain = np.full((320, 320, 3), 120, np.uint8)
        assert bare.size.height > 320 or (bare.pixels != plain).any()


@pytest.mark.parametrize(
    "value", [Boxes(np.zeros((0, 4)), ()), Points(np.zeros((0, 2))), Text(""), Mask(np.zeros((64, 64), bool))]
)
def test_nothing_is_drawn_for_nothing(value):
    draw(value, GREY)


def test_an_image_of_the_usual_size_keeps_it():
    photo = Image(np.zeros((480, 640, 3), np.uint8))
    assert draw(Boxes(np.zeros((0, 4))), photo).size.width == 640
    assert draw(photo, photo).size == (640, 480)


def test_a_box_is_drawn_on_its_edges_and_leaves_the_inside():
    picture = draw(Boxes(BOXES.xyxy[:1]), GREY).pixels
    x1, y1, x2, y2 = (BOXES.xyxy[0] * 5).astype(int)
    for x, y in [
        ((x1 + x2) // 2, y1),
        ((x1 + x2) // 2, y2 - 1),
        (x1, (y1 + y2) // 2),
        (x2 - 1, (y1 + y2) // 2),
    ]:
        assert tuple(picture[y, x]) == COLOURS[0]
    assert (picture[y1 + 10 : y2 - 10, x1 + 10 : x2 - 10] == 120).all()


def test_labels_have_colours_of_their_own_and_equal_ones_share_one():
    three = Boxes(np.array([[2.0, 20, 15, 40], [20, 20, 35, 40], [40, 20, 60, 40]]), ("a", "b", "a"))
    picture = draw(three, GREY).pixels
    seen = [tuple(picture[int((y1 + y2) / 2 * 5), int(x1 * 5)]) for x1, y1, _, y2 in three.xyxy]
    assert seen[0] == seen[2] != seen[1]


def test_tags_that_find_no_place_are_named_in_a_legend_instead():
    crowd = Boxes(np.tile(np.array([[20.0, 20, 24, 24]]), (30, 1)), ("thing",) * 30)
    assert draw(crowd, GREY).size.height > 320 == draw(BOXES, GREY).size.height


def test_a_mask_tints_its_pixels_alone():
    picture = draw(Mask(DISC), GREY).pixels
    tinted = (picture.max(axis=2).astype(int) - picture.min(axis=2)) > 40
    np.testing.assert_array_equal(tinted, np.kron(DISC, np.ones((5, 5), bool)))


def test_depth_takes_the_range_it_is_given():
    near = Depth(np.full((64, 64), 1.0))
    assert (
        draw(near, GREY, value_range=(0, 2)).pixels[:320] != draw(near, GREY, value_range=(1, 2)).pixels[:320]
    ).any()
    invalid = draw(Depth(np.ones((64, 64)), ~DISC), GREY).pixels[:320]
    np.testing.assert_array_equal(invalid.max(axis=2) == 0, np.kron(DISC, np.ones((5, 5), bool)))


def test_a_mask_of_another_size_is_an_error():
    with pytest.raises(ValueError, match="does not fit"):
        draw(Mask(np.zeros((3, 3), bool)), GREY)


def test_a_grid_holds_every_picture_untouched():
    images = [Image(np.full((10 + 5 * i, 20, 3), 10 * i, np.uint8)) for i in range(5)]
    sheet = grid(images, 2).pixels
    for image in images:
        assert (sheet == image.pixels[0, 0]).all(axis=2).sum() == image.pixels.shape[0] * 20
    assert tuple(sheet[0, 0]) == PAPER
    assert grid(images[:1], 4).size.width < 40
    with pytest.raises(ValueError, match="at least one"):
        grid([], 2)


def test_text_wraps_and_keeps_every_word_inside():
    short, long = text_strip([Run("word")], 320), text_strip([Run("word " * 60)], 320)
    assert long.height > 3 * short.height and long.width == 320
    for strip in (
        long,
        text_strip([Run("unbroken" * 40)], 320),
        text_strip([Run("x" * 90, (200, 0, 0))], 320),
    ):
        pixels = np.asarray(strip)
        assert (pixels[:, -5:] == PAPER).all() and (pixels != PAPER).any()
    assert text_strip([Run("one\ntwo")], 320).height > short.height


def test_highlighted_words_stand_on_their_ground():
    pixels = np.asarray(text_strip([Run("plain "), Run("red words", (200, 0, 0)), Run(" plain")], 320))
    assert (pixels == (200, 0, 0)).all(axis=2).sum() > 300
    assert (np.abs(pixels.astype(int) - INK).sum(axis=2) < 30).any()
