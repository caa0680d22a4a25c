"""Geometry moves all values of an example together, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from value_strategies import NAMES, geometries, random_boxes, random_keypoints, random_points, rngs, sizes

from unified.values.geometry import Geometry, Rect, mirror_order
from unified.values.types import (
    Boxes,
    Depth,
    GroundedText,
    Image,
    Keypoints,
    Label,
    Mask,
    Normals,
    Points,
    Segmentation,
    Size,
    Text,
)


def assert_same(a: Geometry, b: Geometry) -> None:
    assert (a.source, a.target) == (b.source, b.target)
    for name in ("scale_x", "scale_y", "shift_x", "shift_y", "content"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-9, atol=1e-6, err_msg=name)


# --- algebra ----------------------------------------------------------------------------------------


@given(st.data())
def test_composition_is_associative(data):
    a = data.draw(geometries(depth=2))
    b = data.draw(geometries(source=a.target, depth=2))
    c = data.draw(geometries(source=b.target, depth=2))
    assert_same(a.then(b).then(c), a.then(b.then(c)))


@given(geometries())
def test_identity_is_neutral(geometry):
    assert_same(Geometry.identity(geometry.source).then(geometry), geometry)
    assert_same(geometry.then(Geometry.identity(geometry.target)), geometry)


@given(geometries(), rngs)
def test_composition_maps_as_one_after_the_other(first, rng):
    second = Geometry.flip(first.target).then(Geometry.resize_pad(first.target, 50))
    xy = rng.random((7, 2)) * 100 - 20
    np.testing.assert_allclose(
        first.then(second).map_xy(xy), second.map_xy(first.map_xy(xy)), rtol=1e-9, atol=1e-7
    )


@given(geometries())
def test_inverse_of_the_inverse(geometry):
    assert_same(geometry.inverse().inverse(), geometry)


@given(geometries(lossless=True))
def test_inverse_shows_the_whole_source_when_nothing_was_cropped(geometry):
    round_trip = geometry.then(geometry.inverse())
    assert_same(round_trip, Geometry.identity(geometry.source))


def test_composing_frames_that_do_not_meet_is_an_error():
    with pytest.raises(ValueError, match="cannot compose"):
        Geometry.flip(Size(4, 4)).then(Geometry.flip(Size(5, 4)))


@pytest.mark.parametrize(
    ("size", "side", "inner"),
    [
        ((640, 480), 384, (384, 288)),
        ((480, 640), 384, (288, 384)),
        ((640, 427), 384, (384, 256)),  # 256.2 is truncated
        ((500, 333), 256, (256, 170)),  # 170.496
        ((1000, 1), 64, (64, 1)),  # never less than a pixel
        ((384, 384), 384, (384, 384)),
        ((20, 10), 64, (64, 32)),
        ((49, 49), 64, (63, 63)),  # 49 * (64 / 49) < 64 in floats: as Unified-IO has it
    ],
)
def test_resize_pad_sizes_are_those_of_unified_io(size, side, inner):
    geometry = Geometry.resize_pad(Size(*size), side)
    assert geometry.target == (side, side)
    assert geometry.content == (0, 0, *inner)
    mask = geometry.valid_mask()
    assert mask.shape == (side, side)
    assert mask[: inner[1], : inner[0]].all() and mask.sum() == inner[0] * inner[1]


def test_a_crop_hides_what_a_later_padding_would_show_again():
    source = Size(100, 100)
    geometry = Geometry.crop(source, (20, 0, 70, 20)).then(Geometry.resize_pad(Size(50, 20), 50))
    assert geometry.content == (0, 0, 50, 20)
    white = Image(np.full((100, 100, 3), 255, np.uint8))
    pixels = geometry.apply(white).pixels
    assert (pixels[:20] == 255).all() and (pixels[20:] == 0).all()
    assert not geometry.valid_mask()[20:].any()
    assert len(geometry.apply(Boxes(np.array([[30.0, 40, 60, 60]])))) == 0


def test_a_crop_may_reach_beyond_the_source_but_not_miss_it():
    geometry = Geometry.crop(Size(4, 4), (-2, 1, 3, 6))
    assert geometry.target == (5, 5)
    assert geometry.content == Rect(2, 0, 5, 3)
    out = geometry.apply(Image(np.arange(48, dtype=np.uint8).reshape(4, 4, 3) + 1)).pixels
    assert (out[:3, 2:] == np.arange(48).reshape(4, 4, 3)[1:, :3] + 1).all()
    assert out[3:].max() == 0 and out[:, :2].max() == 0
    with pytest.raises(ValueError, match="shows nothing"):
        Geometry.crop(Size(4, 4), (4, 0, 8, 4))
    with pytest.raises(ValueError, match="shows nothing"):
        Geometry.crop(Size(4, 4), (2, 2, 2, 3))


# --- boxes and points -------------------------------------------------------------------------------


@given(geometries(lossless=True), rngs)
def test_boxes_and_points_come_back(geometry, rng):
    boxes, points = random_boxes(rng, geometry.source, 5), random_points(rng, geometry.source, 5)
    back = geometry.inverse()
    moved, dropped = geometry.apply_counted(boxes)
    assert dropped == 0 and (moved.xyxy[:, :2] < moved.xyxy[:, 2:]).all()
    again = back.apply(moved)
    np.testing.assert_allclose(again.xyxy, boxes.xyxy, atol=1e-6)
    assert again.labels == boxes.labels and (again.scores == boxes.scores).all()
    np.testing.assert_allclose(back.apply(geometry.apply(points)).xy, points.xy, atol=1e-6)


@given(geometries(), rngs)
def test_boxes_are_clipped_dropped_and_counted_together(geometry, rng):
    boxes = random_boxes(rng, geometry.source, 12)
    moved, dropped = geometry.apply_counted(boxes)
    assert len(moved) + dropped == 12 == len(boxes)
    assert len(moved.labels) == len(moved.scores) == len(moved)
    x1, y1, x2, y2 = geometry.content
    for box, label, score in zip(moved.xyxy, moved.labels, moved.scores, strict=True):
        assert x1 <= box[0] < box[2] <= x2 and y1 <= box[1] < box[3] <= y2
        i = int(label[1:])
        assert score == boxes.scores[i]
        # Independently: what is left is the mapped box cut to the content.
        corners = geometry.map_xy(boxes.xyxy[i].reshape(2, 2))
        low, high = corners.min(axis=0), corners.max(axis=0)
        np.testing.assert_allclose(box, [*np.maximum(low, [x1, y1]), *np.minimum(high, [x2, y2])])
    kept = {int(label[1:]) for label in moved.labels}
    for i in set(range(12)) - kept:
        corners = geometry.map_xy(boxes.xyxy[i].reshape(2, 2))
        low, high = corners.min(axis=0), corners.max(axis=0)
        assert (np.minimum(high, [x2, y2]) - np.maximum(low, [x1, y1])).min() <= 1e-6


def test_a_box_that_leaves_the_crop_goes_with_its_label_and_score():
    boxes = Boxes(
        np.array([[0.0, 0, 10, 10], [30, 30, 60, 60], [50, 5, 60, 10]]),
        ("out", "cut", "edge"),
        np.arange(3.0),
    )
    moved, dropped = Geometry.crop(Size(100, 100), (20, 20, 50, 50)).apply_counted(boxes)
    assert dropped == 2
    assert moved.labels == ("cut",) and moved.scores.tolist() == [1.0]
    assert moved.xyxy.tolist() == [[10, 10, 30, 30]]


def test_flip_of_a_box_is_continuous_not_off_by_one():
    flipped = Geometry.flip(Size(8, 8)).apply(Boxes(np.array([[1.0, 1, 4, 4]])))
    assert flipped.xyxy.tolist() == [[4, 1, 7, 4]]
    mask = np.zeros((8, 8), bool)
    mask[1:4, 1:4] = True
    ys, xs = np.nonzero(Geometry.flip(Size(8, 8)).apply(Mask(mask)).array)
    assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (4, 1, 7, 4)


def test_a_box_predicted_in_the_padding_is_clipped_to_the_source():
    back = Geometry.resize_pad(Size(100, 50), 64).inverse()
    moved, dropped = back.apply_counted(Boxes(np.array([[32.0, 16, 64, 60], [0, 40, 64, 64]]), ("a", "b")))
    np.testing.assert_allclose(moved.xyxy, [[50, 25, 100, 50]])
    assert moved.labels == ("a",) and dropped == 1


def test_a_composition_that_shows_nothing_keeps_nothing():
    size = Size(10, 10)
    geometry = Geometry.crop(size, (0, 0, 5, 5)).then(Geometry.crop(Size(5, 5), (-5, -5, 3, 3)))
    geometry = geometry.then(Geometry.crop(Size(8, 8), (0, 0, 5, 5)))
    assert geometry.content == (0, 0, 0, 0) and not geometry.valid_mask().any()
    assert geometry.inverse().content == (0, 0, 0, 0)
    corner = np.array([[-5.0, -5.0]])  # lands on the empty content
    assert geometry.apply_counted(Points(corner))[1] == 1
    assert geometry.apply_counted(Boxes(np.array([[0.0, 0, 10, 10]])))[1] == 1
    assert not geometry.apply(Image(np.full((10, 10, 3), 255, np.uint8))).pixels.any()


def test_points_outside_are_dropped_with_their_labels():
    geometry = Geometry.crop(Size(10, 10), (5, 5, 10, 10))
    points, dropped = geometry.apply_counted(Points(np.array([[1.0, 1], [5, 5], [7, 9]]), ("a", "b", "c")))
    assert points.labels == ("b", "c") and points.xy.tolist() == [[0, 0], [2, 4]] and dropped == 1


def test_a_grounded_text_loses_boxes_and_spans_but_no_words():
    text = GroundedText(
        "a cat and two dogs",
        ((0, 5), (10, 18), (10, 18)),
        Boxes(np.array([[0.0, 0, 4, 4], [1, 1, 3, 3], [6, 6, 8, 8]])),
    )
    moved, dropped = Geometry.crop(Size(10, 10), (4, 4, 10, 10)).apply_counted(text)
    assert moved.text == text.text and moved.spans == ((10, 18),) and dropped == 2
    assert moved.boxes.xyxy.tolist() == [[2, 2, 4, 4]]


def test_values_without_a_frame_stay():
    geometry = Geometry.flip(Size(4, 4))
    for value in (Text("left of"), Label("cat")):
        assert geometry.apply_counted(value) == (value, 0)


def test_no_boxes_stay_no_boxes():
    empty = Geometry.flip(Size(4, 4)).apply(Boxes(np.zeros((0, 4)), ()))
    assert empty.xyxy.shape == (0, 4) and empty.labels == ()


# --- keypoints --------------------------------------------------------------------------------------


@given(geometries(lossless=True), rngs)
def test_keypoints_come_back(geometry, rng):
    figures = random_keypoints(rng, geometry.source, 2)
    back = geometry.inverse().apply(geometry.apply(figures))
    np.testing.assert_allclose(back.xy, figures.xy, atol=1e-6)
    assert (back.visibility == figures.visibility).all() and back.names == figures.names
    np.testing.assert_allclose(back.area, figures.area)


@given(sizes, rngs)
def test_flip_swaps_left_and_right_joints(size, rng):
    figures = random_keypoints(rng, size, 2)
    flipped = Geometry.flip(size).apply(figures)
    at = {name: i for i, name in enumerate(NAMES)}
    for old, new in [
        ("nose", "nose"), ("left_eye", "right_eye"), ("right_eye", "left_eye"), ("knee left", "knee right"),
        ("l_hip", "r_hip"), ("r_hip", "l_hip"), ("tail_left", "tail_left"),
    ]:  # fmt: skip
        np.testing.assert_allclose(
            flipped.xy[:, at[new], 0], size.width - figures.xy[:, at[old], 0], atol=1e-9
        )
        assert (flipped.xy[:, at[new], 1] == figures.xy[:, at[old], 1]).all()
        assert (flipped.visibility[:, at[new]] == figures.visibility[:, at[old]]).all()
    again = Geometry.flip(size).apply(flipped)
    np.testing.assert_allclose(again.xy, figures.xy, atol=1e-9)
    assert (again.visibility == figures.visibility).all()


def test_joints_outside_become_invisible_and_are_clipped_and_counted():
    figures = Keypoints(
        np.array([[[1.0, 1], [6, 6], [9, 2], [0, 0]]]),
        np.array([[2, 1, 2, 0]]),
        ("a", "b", "c", "d"),
        np.array([8.0]),
    )
    moved, lost = Geometry.crop(Size(10, 10), (4, 4, 8, 8)).apply_counted(figures)
    assert moved.visibility.tolist() == [[0, 1, 0, 0]]
    assert moved.xy.tolist() == [[[0, 0], [2, 2], [4, 0], [0, 0]]]
    assert lost == 2  # the fourth was never seen
    assert Geometry.resize_pad(Size(10, 10), 20).apply(figures).area.tolist() == [32.0]


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (("left_x", "right_x"), [1, 0]),
        (("x_left", "x_right", "x"), [1, 0, 2]),
        (("l_x", "r_x"), [1, 0]),
        (("x-l", "x-r"), [1, 0]),
        (("LeftKnee", "RightKnee", "Head"), [1, 0, 2]),
        (("lKnee", "rKnee"), [1, 0]),
        (("L_eye", "R_eye", "neck"), [1, 0, 2]),
        (("lefteye", "righteye"), [1, 0]),
        (("bright_left", "bright_right"), [1, 0]),
        (("LEFT WRIST", "RIGHT WRIST"), [1, 0]),
        (("left_x", "right_y"), [0, 1]),  # they differ in more than the side
        (("lower", "rower", "tail"), [0, 1, 2]),  # letters within words are no sides
        (("ball", "barl"), [0, 1]),
    ],
)
def test_mirror_order(names, order):
    assert mirror_order(names) == order


# --- dense values -----------------------------------------------------------------------------------


def random_dense(rng, size):
    shape = (size.height, size.width)
    vectors = rng.normal(size=(*shape, 3))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (
        Image(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)),
        Mask(rng.random(shape) < 0.5),
        Segmentation(rng.integers(0, 4, shape), ("a", "b", "c")),
        Depth(rng.random(shape) * 5, rng.random(shape) < 0.8),
        Normals(vectors, rng.random(shape) < 0.8),
    )


def arrays(value):
    return [v for v in vars(value).values() if isinstance(v, np.ndarray)]


@given(sizes, rngs)
def test_flip_twice_is_the_identity_on_every_dense_value(size, rng):
    flip = Geometry.flip(size)
    for value in random_dense(rng, size):
        once = flip.apply(value)
        for a, b in zip(arrays(flip.apply(once)), arrays(value), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        if not isinstance(value, Normals):
            np.testing.assert_array_equal(arrays(once)[0], arrays(value)[0][:, ::-1])


@given(sizes, st.integers(1, 4), rngs)
def test_dense_values_survive_enlarging_and_coming_back(size, factor, rng):
    """Nearest-pixel values exactly; validity too."""
    geometry = Geometry.resize_pad(size, max(size) * factor)
    assume(geometry.content.x2 >= size.width and geometry.content.y2 >= size.height)
    for value in random_dense(rng, size)[1:]:
        back = geometry.inverse().apply(geometry.apply(value))
        for a, b in zip(arrays(back), arrays(value), strict=True):
            np.testing.assert_array_equal(a, b)


@given(geometries(), rngs)
def test_boxes_and_masks_move_alike(geometry, rng):
    """A mask of whole source pixels covers the target pixels whose centre lies in its moved box."""
    width, height = geometry.source
    x1, y1 = int(rng.integers(0, width)), int(rng.integers(0, height))
    x2, y2 = int(rng.integers(x1 + 1, width + 1)), int(rng.integers(y1 + 1, height + 1))
    mask = np.zeros((height, width), bool)
    mask[y1:y2, x1:x2] = True
    moved = geometry.apply(Mask(mask)).array
    boxes = geometry.apply(Boxes(np.array([[x1, y1, x2, y2]], np.float64))).xyxy
    inside, border = np.zeros_like(moved), np.zeros_like(moved)
    for bx1, by1, bx2, by2 in boxes:
        x, y = np.arange(moved.shape[1]) + 0.5, np.arange(moved.shape[0])[:, None] + 0.5
        inside |= (x > bx1) & (x < bx2) & (y > by1) & (y < by2)
        # Centres on an edge may fall on either side.
        border |= (np.minimum(abs(x - bx1), abs(x - bx2)) < 1e-6) | (
            np.minimum(abs(y - by1), abs(y - by2)) < 1e-6
        )
    np.testing.assert_array_equal(moved[~border], inside[~border])


@given(geometries(), rngs)
def test_padding_is_black_background_and_invalid(geometry, rng):
    outside = ~geometry.valid_mask()
    for value in random_dense(rng, geometry.source):
        moved = geometry.apply(value)
        assert moved.size == geometry.target
        for array in arrays(moved):
            assert not array[outside].any()
    unmasked = Depth(np.ones((geometry.source.height, geometry.source.width)))
    moved = geometry.apply(unmasked)
    if outside.any():
        np.testing.assert_array_equal(moved.valid, ~outside)
    else:
        assert moved.valid is None


def test_a_flip_mirrors_the_direction_of_normals():
    slope = np.zeros((2, 2, 3))
    slope[..., 0], slope[..., 2] = 0.6, -0.8
    flipped = Geometry.flip(Size(2, 2)).apply(Normals(slope)).vectors
    np.testing.assert_allclose(flipped, np.broadcast_to([-0.6, 0.0, -0.8], (2, 2, 3)))


def test_a_dense_prediction_is_cropped_to_the_content_and_resized_to_the_source():
    geometry = Geometry.resize_pad(Size(6, 3), 4)  # content 4 x 2
    predicted = np.zeros((4, 4), bool)
    predicted[:2, :2] = True
    predicted[2:] = True  # nonsense in the padding
    back = geometry.inverse().apply(Mask(predicted))
    assert back.size == (6, 3)
    np.testing.assert_array_equal(back.array, np.arange(6) < 3 * np.ones((3, 1)))
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[:2] = 200
    assert (geometry.inverse().apply(Image(picture)).pixels == 200).all()  # no padding bleeds in


def test_a_value_of_another_size_is_an_error():
    with pytest.raises(ValueError, match="does not fit"):
        Geometry.flip(Size(4, 4)).apply(Mask(np.zeros((4, 5), bool)))
