"""Dense values as images, and back up to 8-bit rounding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from value_strategies import rngs

from unified.values.dense import from_image, palette, to_image
from unified.values.types import Depth, Image, Mask, Normals, Segmentation


@given(rngs, st.integers(1, 255))
def test_masks_and_segmentations_come_back_exactly(rng, classes):
    mask = Mask(rng.random((9, 7)) < 0.5)
    np.testing.assert_array_equal(from_image(to_image(mask), "mask").array, mask.array)
    names = tuple(f"class {i}" for i in range(classes))
    segmentation = Segmentation(rng.integers(0, classes + 1, (9, 7)), names)
    back = from_image(to_image(segmentation), "segmentation", names=names)
    np.testing.assert_array_equal(back.classes, segmentation.classes)
    assert back.names == names


@given(rngs, st.floats(-5, 5), st.floats(0.1, 100))
def test_depth_comes_back_to_half_a_level(rng, low, span):
    value_range = (low, low + span)
    depth = Depth(low + rng.random((9, 7)) * span)
    image = to_image(depth, value_range=value_range)
    assert (image.pixels == image.pixels[..., :1]).all()
    back = from_image(image, "depth", value_range=value_range)
    assert np.abs(back.metres - depth.metres).max() <= span / 255 / 2 * 1.0001


@given(rngs)
def test_normals_come_back_to_a_degree(rng):
    vectors = rng.normal(size=(9, 7, 3))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    back = from_image(to_image(Normals(vectors)), "normals").vectors
    np.testing.assert_allclose(np.linalg.norm(back, axis=-1), 1, rtol=1e-12)
    # Each component is off by at most half a level, 1/255.
    degrees = np.rad2deg(np.arccos(np.clip((back * vectors).sum(-1), -1, 1)))
    assert degrees.max() < np.rad2deg(np.sqrt(3) / 255) * 1.01


@given(rngs)
def test_an_image_decodes_and_encodes_to_itself_where_it_can(rng):
    """Grey levels survive depth -> image exactly: the two are inverse on the 256 levels."""
    grey = np.repeat(rng.integers(0, 256, (5, 6, 1), dtype=np.uint8), 3, axis=2)
    again = to_image(from_image(Image(grey), "depth", value_range=(0.3, 7.7)), value_range=(0.3, 7.7))
    np.testing.assert_array_equal(again.pixels, grey)
    picture = Image(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    assert to_image(picture) is picture and from_image(picture, "image") is picture


def test_depth_is_linear_clipped_and_black_where_invalid():
    depth = Depth(np.array([[0.0, 1.0, 2.0, 3.0, 9.0, np.nan]]), np.array([[True] * 5 + [False]]))
    assert to_image(depth, value_range=(1.0, 3.0)).pixels[0, :, 0].tolist() == [0, 0, 128, 255, 255, 0]
    hidden = Depth(np.full((1, 2), 3.0), np.array([[True, False]]))
    assert to_image(hidden, value_range=(1.0, 3.0)).pixels[0, :, 0].tolist() == [255, 0]


def test_a_wall_that_faces_the_camera():
    wall = Normals(np.broadcast_to([0.0, 0.0, -1.0], (1, 1, 3)))
    assert to_image(wall).pixels[0, 0].tolist() == [128, 128, 0]
    assert to_image(Normals(wall.vectors, np.zeros((1, 1), bool))).pixels.max() == 0


def test_masks_decode_by_the_middle_grey():
    pixels = np.array([[[127] * 3, [128] * 3, [255, 255, 0], [255, 0, 0]]], np.uint8)
    assert from_image(Image(pixels), "mask").array.tolist() == [[False, True, True, False]]


@pytest.mark.parametrize("classes", [1, 3, 20, 80, 255])
def test_segmentation_takes_the_nearest_colour(classes):
    rng = np.random.default_rng(classes)
    pixels = rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)
    colours = palette(classes).astype(int)
    decoded = from_image(Image(pixels), "segmentation", names=["x"] * classes).classes
    distances = ((pixels[:, :, None].astype(int) - colours) ** 2).sum(-1)
    np.testing.assert_array_equal(
        np.take_along_axis(distances, decoded[..., None], -1)[..., 0], distances.min(-1)
    )


def test_palette_is_well_separated_and_its_colours_do_not_depend_on_the_number_of_classes():
    full = palette(255).astype(int)
    assert full.shape == (256, 3) and full[0].tolist() == [0, 0, 0]
    distance = np.sqrt(((full[:, None] - full) ** 2).sum(-1))
    np.fill_diagonal(distance, np.inf)
    for classes, least in [(7, 250), (20, 110), (80, 55), (255, 35)]:
        assert distance[: classes + 1, : classes + 1].min() > least
        np.testing.assert_array_equal(palette(classes), full[: classes + 1])
    with pytest.raises(ValueError, match="255"):
        palette(256)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: to_image(Depth(np.ones((2, 2)))), "value_range"),
        (lambda: to_image(Depth(np.ones((2, 2))), value_range=(3, 1)), "value_range"),
        (lambda: from_image(Image(np.zeros((2, 2, 3), np.uint8)), "depth"), "value_range"),
        (lambda: from_image(Image(np.zeros((2, 2, 3), np.uint8)), "segmentation"), "names"),
        (lambda: from_image(Image(np.zeros((2, 2, 3), np.uint8)), "boxes"), "boxes"),
        (lambda: to_image(Segmentation(np.full((2, 2), 3), ("a", "b"))), "classes outside"),
    ],
)
def test_what_is_missing_is_said(call, message):
    with pytest.raises(ValueError, match=message):
        call()
