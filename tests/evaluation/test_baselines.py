"""Trivial predictors: the constants they fit, and that the headline metric chooses among them."""

from __future__ import annotations

import numpy as np
import pytest

from unified.evaluation.baselines import copy_input, fit_baseline
from unified.evaluation.cases import Case
from unified.evaluation.metrics import get_metric
from unified.specs.example import Example
from unified.values.geometry import Geometry
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
    Size,
    Text,
    Texts,
)


def example(size=(8, 8), options=None, dense=False):
    image = Image(np.zeros((size[1], size[0], 3), np.uint8))
    return Example(
        "t", "k", (image,), ("p",), (), {}, options=options,
        geometries=(Geometry.resize_pad(image.size, 16),),
        target_geometry=Geometry.resize_pad(image.size, 16) if dense else None,
    )  # fmt: skip


def fit(modality, targets, metric, examples=None, **args):
    examples = examples or [example(dense=hasattr(t, "size") and not isinstance(t, Boxes)) for t in targets]
    cases = [Case(e, t) for e, t in zip(examples, targets, strict=True)]
    m = get_metric(metric)

    def goodness(predictions, cases):
        value = m(predictions, [c.target for c in cases], **args).value
        return value if m.higher_is_better else -value

    return fit_baseline(modality, cases, goodness)


def boxes(*rows, labels=None):
    return Boxes(np.array(rows, np.float64).reshape(-1, 4), labels)


def test_majority_answer():
    assert fit("label", [Label("a"), Label("b"), Label("b")], "accuracy").predict(example()) == Label("b")
    baseline = fit("text", [Text("yes"), Text("no"), Text("no")], "accuracy")
    assert baseline.predict(example()) == Text("no") and baseline.name == '"no"'


def test_majority_of_all_references():
    targets = [Texts(("a cat", "cat")), Texts(("cat", "cat")), Texts(("a dog",))]
    assert fit("text", targets, "exact_match").predict(example()) == Text("cat")


def test_best_constant_caption_is_chosen_by_cider():
    targets = [
        Texts(("red cube near blue cone",)), Texts(("red cube near green cone",)), Texts(("yellow ball",)),
        Texts(("red cube near blue ball",)),
    ]  # fmt: skip
    baseline = fit("text", targets, "cider", tokenizer="plain")
    scores = {
        t.items[0]: get_metric("cider")([Text(t.items[0])] * 4, targets, tokenizer="plain").value
        for t in targets
    }
    assert baseline.predict(example()) == Text(max(scores, key=scores.get))


def test_options_of_a_row_by_place():
    options = [("a", "b", "c"), ("d", "e", "f"), ("g", "h", "i")]
    examples = [example(options=o) for o in options]
    baseline = fit("text", [Text("b"), Text("e"), Text("g")], "accuracy", examples)
    assert baseline.name == "option 2"
    assert baseline.predict(example(options=("x", "y"))) == Text("y")
    assert baseline.predict(example(options=("x",))) == Text("x")


def test_closed_choices_take_the_commonest():
    examples = [example(options=("yes", "no"))] * 3
    baseline = fit("label", [Label("no"), Label("no"), Label("yes")], "accuracy", examples)
    assert baseline.predict(examples[0]) == Label("no")


def test_number_takes_mean_or_median_by_the_metric():
    targets = [Number(0.0), Number(0.0), Number(9.0)]
    assert fit("number", targets, "mae").predict(example()).value == 0.0  # the median is best for MAE


def test_mean_box_is_relative_to_the_frame():
    examples = [example((10, 10)), example((20, 40))]
    targets = [boxes([1, 1, 5, 5]), boxes([6, 12, 14, 28])]  # relative: .1 .1 .5 .5 and .3 .3 .7 .7
    baseline = fit("boxes", targets, "box_iou", examples)
    assert baseline.name == "the mean box"
    np.testing.assert_allclose(baseline.predict(example((100, 50))).xyxy, [[20, 10, 60, 30]])


def test_whole_image_where_it_is_better():
    targets = [boxes([0, 0, 8, 7]), boxes([0, 1, 8, 8])]
    np.testing.assert_allclose(fit("boxes", targets, "box_iou").predict(example()).xyxy, [[0, 0, 8, 8]])


def test_labelled_boxes():
    targets = [boxes([0, 0, 4, 4], [4, 4, 8, 8], labels=("cube", "cone"))] * 3
    got = fit("boxes", targets, "coco_ap").predict(example())
    assert set(got.labels) == {"cube", "cone"}
    assert get_metric("coco_ap")([got], targets[:1]).value == pytest.approx(1.0)


def test_points_and_keypoints():
    points = [Points(np.array([[2.0, 4.0]])), Points(np.array([[4.0, 6.0]]))]
    np.testing.assert_allclose(fit("points", points, "point_accuracy").predict(example((16, 8))).xy, [[6, 5]])
    figures = [
        Keypoints(np.array([[[2.0, 2], [9, 9]]]), np.array([[2, 0]]), ("head", "foot")),
        Keypoints(np.array([[[4.0, 4], [6, 6]]]), np.array([[1, 2]]), ("head", "foot")),
    ]
    got = fit("keypoints", figures, "oks").predict(example())
    np.testing.assert_allclose(got.xy, [[[3, 3], [6, 6]]])  # an absent joint does not count
    assert got.visibility.all() and got.names == ("head", "foot")


def test_grounded_text():
    common = GroundedText("a cube", ((0, 6),), boxes([2, 2, 6, 6]))
    other = GroundedText("a cone", ((0, 6),), boxes([0, 0, 1, 1]))
    got = fit("grounded_text", [other, common, common], "grounding_f1").predict(example((16, 16)))
    assert got.text == "a cube"
    np.testing.assert_allclose(got.boxes.xyxy, [[4, 4, 12, 12]])


def test_mask_threshold_is_chosen_by_the_metric():
    arrays = [np.zeros((8, 8), bool) for _ in range(4)]
    for i, a in enumerate(arrays):
        a[:4, : 4 + i] = True
    got = fit("mask", [Mask(a) for a in arrays], "mask_iou").predict(example(dense=True))
    assert not got.array[4:].any() and got.array[:4, :4].all() and not got.array[:, 7].any()


def test_segmentation():
    a = Segmentation(np.array([[1, 1], [0, 0]]), ("sky",))
    b = Segmentation(np.array([[1, 0], [0, 0]]), ("sky",))
    e = example((2, 2), dense=True)
    got = fit("segmentation", [a, a, b], "miou", [e] * 3).predict(e)
    np.testing.assert_array_equal(got.classes, a.classes)
    assert got.names == ("sky",)


def test_mean_depth_ignores_what_was_not_measured():
    a = Depth(np.array([[1.0, 5.0]]), np.array([[True, False]]))
    b = Depth(np.array([[3.0, 2.0]]))
    e = example((2, 1), dense=True)
    got = fit("depth", [a, b], "depth_rmse", [e, e])
    np.testing.assert_allclose(got.predict(e).metres, [[2.0, 2.0]])
    assert got.predict(example((6, 4), dense=True)).metres.shape == (4, 6)


def test_mean_normals_have_unit_length():
    up, front = np.array([0, -1.0, 0]), np.array([0, 0, -1.0])
    e = example((1, 1), dense=True)
    got = fit("normals", [Normals(v.reshape(1, 1, 3)) for v in (up, front)], "normals_angle", [e, e]).predict(
        e
    )
    np.testing.assert_allclose(got.vectors[0, 0], [0, -(0.5**0.5), -(0.5**0.5)])


def test_mean_image_and_copy():
    e = example((2, 2), dense=True)
    targets = [Image(np.full((2, 2, 3), v, np.uint8)) for v in (10, 30)]
    got = fit("image", targets, "psnr", [e, e]).predict(e)
    assert (got.pixels == 20).all()
    cases = [Case(e, t) for t in targets]
    assert copy_input(cases).predict(e) is e.images[0]
    bigger = Case(example((4, 4), dense=True), targets[0])
    assert copy_input([bigger]) is None


def test_images_of_different_sizes_share_a_grid():
    targets = [Mask(np.ones((4, 6), bool)), Mask(np.ones((8, 8), bool))]
    examples = [example((6, 4), dense=True), example((8, 8), dense=True)]
    got = fit("mask", targets, "mask_iou", examples).predict(example((30, 20), dense=True))
    assert got.size == Size(30, 20) and got.array.all()


def test_no_rows_is_a_bug():
    with pytest.raises(ValueError, match="training rows"):
        fit_baseline("text", [], lambda p, c: 0.0)
