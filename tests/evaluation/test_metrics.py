"""Every metric against values computed by hand."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest

from unified.errors import UserError
from unified.evaluation.metrics import get_metric, metric_names
from unified.evaluation.metrics.base import ranks_of, relevance
from unified.evaluation.metrics.vqa import normalise_answer, strip_punctuation
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


def run(name, predictions, references, **args):
    return get_metric(name)(predictions, references, **args)


def boxes(*rows, labels=None, scores=None):
    return Boxes(
        np.array(rows, np.float64).reshape(-1, 4), labels, None if scores is None else np.array(scores)
    )


# -------------------------------------------------------------------------------- registry


def test_every_metric_has_a_definition_and_shows_its_unit():
    assert len(metric_names()) >= 24
    for name in metric_names():
        m = get_metric(name)
        assert m.function.__doc__ and len(m.function.__doc__) >= 40, name
    assert get_metric("accuracy").show(0.5) == "50.0 %"
    assert get_metric("depth_rmse").show(0.25) == "0.250 m"
    assert get_metric("accuracy").show(math.nan) == "–"


def test_direction():
    assert get_metric("accuracy").better(0.6, 0.5) and not get_metric("accuracy").better(0.5, 0.5)
    assert get_metric("depth_rmse").better(0.5, 0.6)
    assert get_metric("mae").better(1.0, math.nan) and not get_metric("mae").better(math.nan, 1.0)


def test_unknown_metric_suggests():
    with pytest.raises(UserError, match="did you mean 'accuracy'"):
        get_metric("acuracy")


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="1 predictions for 2 references"):
        run("accuracy", [Text("a")], [Text("a"), Text("b")])


def test_no_examples_is_nan():
    assert math.isnan(run("accuracy", [], []).value)


# ------------------------------------------------------------------------------------ text


def test_accuracy():
    score = run(
        "accuracy", [Label("Red "), Text("blue"), Label("a cube")], [Label("red"), Text("red"), Text("cube")]
    )
    assert score.per_example == (1.0, 0.0, 0.0)
    assert score.value == pytest.approx(1 / 3)
    assert run("accuracy", [Text("b")], [Texts(("a", "b"))]).value == 1.0


def test_exact_match_and_f1():
    got = [Text("The Eiffel Tower!"), Text("tower in Paris")]
    want = [Texts(("Eiffel tower", "x")), Texts(("the Eiffel tower in Paris",))]
    assert run("exact_match", got, want).per_example == (1.0, 0.0)
    # second: 3 words of 4 reference words (article gone): P = 1, R = 3/4, F1 = 6/7
    assert run("token_f1", got, want).per_example == pytest.approx((1.0, 6 / 7))
    assert run("token_f1", [Text("")], [Text("a")]).value == 1.0  # both empty once normalised
    assert run("token_f1", [Text("red")], [Text("blue")]).value == 0.0


# ------------------------------------------------------------------------------------- vqa


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("The two dogs.", "2 dogs"),
        ("dont know", "don't know"),
        ("none", "0"),
        ("1,000", "1000"),  # a comma between digits: marks vanish
        ("red/blue", "red blue"),  # else they become spaces
        ("red, blue", "red blue"),  # unless they touch a space
        ("3.5", "3.5"),
        ("u.s.", "us"),
        ("couldnt've", "couldn't've"),
        ("an\nanswer", "answer"),
    ],
)
def test_vqa_normalisation(raw, normal):
    assert normalise_answer(raw) == normal


def test_vqa_ground_truth_only_loses_punctuation():
    assert strip_punctuation("The two, dogs.") == "The two dogs"


def test_vqa_leave_one_out():
    # 2 of 10 agree. Leaving out one of the two: 1/3; leaving out another (8 of them): 2/3.
    answers = Texts(("red", "red", *"abcdefgh"))
    assert run("vqa_accuracy", [Text("red")], [answers]).value == pytest.approx((2 * 1 / 3 + 8 * 2 / 3) / 10)
    # 3 of 10: 3 x 2/3 + 7 x 1 = 9 of 10. 4 of 10: all ones.
    assert run(
        "vqa_accuracy", [Text("red")], [Texts(("red",) * 3 + tuple("abcdefg"))]
    ).value == pytest.approx(0.9)
    assert run("vqa_accuracy", [Text("Red!")], [Texts(("red",) * 4 + tuple("abcdef"))]).value == 1.0
    # equal answers are left as they are, so a capital never matches the lower-cased prediction
    assert run("vqa_accuracy", [Text("Red")], [Texts(("Red",) * 10)]).value == 0.0
    assert run("vqa_accuracy", [Text("the red")], [Text("red")]).value == 1.0  # one answer counts as ten


# -------------------------------------------------------------------------------- captions


def test_bleu_by_hand():
    got, want = [Text("the red cube is here")], [Texts(("The red cube stands here.",))]
    # unigrams 4/5, bigrams 2/4 (the red, red cube), no brevity penalty
    assert run("bleu", got, want, n=1, tokenizer="plain").value == pytest.approx(0.8, abs=1e-6)
    assert run("bleu", got, want, n=2, tokenizer="plain").value == pytest.approx(
        math.sqrt(0.8 * 0.5), abs=1e-6
    )


def test_bleu_brevity_penalty():
    score = run("bleu", [Text("red cube")], [Text("red cube here now")], n=1, tokenizer="plain")
    assert score.value == pytest.approx(math.exp(1 - 4 / 2), abs=1e-6)


def test_rouge_by_hand():
    # longest common subsequence "a b d": P = 3/3, R = 3/4, beta 1.2
    score = run("rouge", [Text("a b d")], [Text("a b c d")], tokenizer="plain")
    p, r, beta = 1.0, 0.75, 1.2
    assert score.value == pytest.approx((1 + beta**2) * p * r / (r + beta**2 * p))


def test_cider_by_hand():
    got = [Text("red cube"), Text("blue cone")]
    want = [Text("red cube"), Text("green ball")]
    score = run("cider", got, want, tokenizer="plain")
    # Example 0 equals its reference: cosine 1 for n = 1, 2, nothing for n = 3, 4: 10 x 2/4. Example 1: 0.
    assert score.per_example == pytest.approx((5.0, 0.0))
    assert score.value == pytest.approx(2.5)
    assert score.note == "tokenizer: plain"


def test_cider_document_frequency_comes_from_the_references():
    # "a" is in every reference, so its idf is 0: sharing it is worth nothing.
    score = run("cider", [Text("a"), Text("x")], [Text("a b"), Text("a c")], tokenizer="plain")
    assert score.per_example == pytest.approx((0.0, 0.0))


@pytest.mark.skipif(shutil.which("java") is None, reason="the PTB tokenizer needs Java")
def test_captions_use_ptb_where_java_is():
    score = run("cider", [Text("red cube"), Text("blue cone")], [Text("A red\ncube."), Text("green ball")])
    assert score.note == "tokenizer: ptb"
    assert score.per_example[0] > 0 and score.per_example[1] == 0


def test_ptb_without_java_is_an_error(monkeypatch):
    monkeypatch.setattr("unified.evaluation.metrics.captions.has_java", lambda: False)
    with pytest.raises(UserError, match="needs Java"):
        run("cider", [Text("a")], [Text("a")], tokenizer="ptb")
    assert run("bleu", [Text("a")], [Text("a")], n=1).note == "tokenizer: plain"


# ----------------------------------------------------------------------------------- boxes


def test_box_iou_and_accuracy():
    got = [boxes([0, 0, 10, 10]), boxes([0, 0, 10, 10]), boxes([0, 0, 10, 10]), boxes()]
    want = [boxes([0, 0, 10, 10]), boxes([5, 0, 15, 10]), boxes([0, 0, 10, 20]), boxes([0, 0, 1, 1])]
    assert run("box_iou", got, want).per_example == pytest.approx((1, 1 / 3, 0.5, 0))
    assert run("box_accuracy", got, want).per_example == (1, 0, 1, 0)  # 0.5 counts
    assert run("box_accuracy", got, want, threshold=0.3).value == 0.75


def test_several_boxes_match_one_to_one():
    got = boxes([20, 20, 30, 30], [0, 0, 10, 10])
    want = boxes([0, 0, 10, 10], [20, 20, 30, 40], [50, 50, 60, 60])
    assert run("box_iou", [got], [want]).value == pytest.approx((1 + 0.5 + 0) / 3)
    assert run("box_accuracy", [got], [want]).value == pytest.approx(2 / 3)


def test_box_without_area():
    assert run("box_iou", [boxes([1, 1, 1, 1])], [boxes([1, 1, 1, 1])]).value == 0.0


def test_grounding_f1():
    want = [GroundedText("a red cube by a cone", ((0, 10), (14, 20)), boxes([0, 0, 4, 4], [8, 8, 12, 12]))]
    swapped = [GroundedText("A cone, the red cube", ((0, 6), (8, 20)), boxes([0, 0, 4, 4], [0, 0, 4, 4]))]
    assert run("grounding_f1", want, want).value == 1.0
    # "cone" stands at the wrong place, "red cube" at the right one: 1 hit of 2 and 2
    assert run("grounding_f1", swapped, want).value == pytest.approx(0.5)
    # micro-average: 1 hit of (2 + 0) got and (2 + 2) wanted; one reference cannot be used twice
    nothing = [GroundedText("", (), boxes())]
    assert run("grounding_f1", swapped + nothing, want + want).value == pytest.approx(2 * 1 / (2 + 4))
    twice = [boxes([0, 0, 4, 4], [0, 0, 4, 4], labels=("cube", "cube"))]
    assert run("grounding_f1", twice, [boxes([0, 0, 4, 4], labels=("cube",))]).value == pytest.approx(2 / 3)


def test_coco_ap():
    want = [boxes([0, 0, 10, 10], labels=("cube",)), boxes([0, 0, 10, 10], labels=("cone",))]
    assert run("coco_ap", want, want).value == pytest.approx(1.0)
    # IoU 0.8 passes 7 of the 10 thresholds (0.50 ... 0.80)
    got = [boxes([0, 0, 10, 8], labels=("cube",)), boxes([0, 0, 10, 10], labels=("cone",))]
    assert run("coco_ap", got, want).value == pytest.approx((0.7 + 1) / 2)
    assert run("coco_ap", got, want, iou=0.5).value == pytest.approx(1.0)
    # a false positive above the true one: precision 1/2 at every recall
    got = [boxes([50, 50, 60, 60], [0, 0, 10, 10], labels=("cube",) * 2, scores=[0.9, 0.8]), want[1]]
    assert run("coco_ap", got, want).value == pytest.approx((0.5 + 1) / 2)
    wrong = [boxes([0, 0, 10, 10], labels=("cone",)), boxes([0, 0, 10, 10], labels=("sphere",))]
    assert run("coco_ap", wrong, want).value == 0.0


def test_coco_ap_without_labels_and_without_boxes():
    assert run("coco_ap", [boxes([0, 0, 5, 5])], [boxes([0, 0, 5, 5])]).value == pytest.approx(1.0)
    assert run("coco_ap", [boxes()], [boxes([0, 0, 5, 5])]).value == 0.0
    assert math.isnan(run("coco_ap", [boxes()], [boxes()]).value)


# ---------------------------------------------------------------------------------- points


def figure(xy, visibility, names, area=None):
    xy = np.array(xy, np.float64)[None]
    return Keypoints(xy, np.array([visibility]), names, None if area is None else np.array([float(area)]))


def test_oks_by_hand():
    names = ("nose", "left_hip", "tail")
    want = figure([[0, 0], [10, 0], [0, 10]], [2, 1, 2], names, area=400)
    got = figure([[1, 0], [10, 5], [0, 14]], [2, 2, 2], names)
    k = 2 * np.array([0.026, 0.107, 0.1])  # nose, hip, the default
    expected = np.exp(-np.array([1.0, 25.0, 16.0]) / (2 * 400 * k**2)).mean()
    assert run("oks", [got], [want]).value == pytest.approx(expected)
    assert run("oks", [want], [want]).value == 1.0


def test_oks_counts_labelled_joints_only():
    names = ("nose", "tail")
    want = figure([[0, 0], [0, 0]], [2, 0], names, area=100)
    assert run("oks", [figure([[0, 0], [90, 90]], [2, 2], names)], [want]).value == 1.0
    assert run("oks", [figure([[0, 0], [0, 0]], [0, 2], names)], [want]).value == 0.0  # called absent
    unlabelled = figure([[0, 0], [0, 0]], [0, 0], names, area=100)
    score = run("oks", [want, want], [want, unlabelled])
    assert score.value == 1.0 and "1 examples without a reference" in score.note


def test_oks_several_figures():
    names = ("a",)
    two = Keypoints(np.array([[[0.0, 0]], [[50, 50]]]), np.full((2, 1), 2), names, np.array([100.0, 100]))
    turned = Keypoints(two.xy[::-1], two.visibility, names, two.area)
    one = Keypoints(two.xy[:1], two.visibility[:1], names)
    none = Keypoints(np.zeros((0, 1, 2)), np.zeros((0, 1), np.int64), names)
    assert run("oks", [turned, one, none], [two, two, two]).per_example == pytest.approx((1, 0.5, 0))


def test_oks_area_of_joints_where_none_is_given():
    names = ("a", "b")
    want = figure([[0, 0], [10, 20]], [2, 2], names)
    got = figure([[0, 0], [10, 24]], [2, 2], names)
    expected = (1 + math.exp(-16 / (2 * 200 * 0.04))) / 2
    assert run("oks", [got], [want]).value == pytest.approx(expected)


def test_point_accuracy():
    p = Points(np.array([[3.0, 4.0]]))
    assert run("point_accuracy", [p], [boxes([0, 0, 3, 5])]).value == 1.0
    assert run("point_accuracy", [p], [boxes([4, 0, 5, 5])]).value == 0.0
    assert run("point_accuracy", [p], [Points(np.array([[0.0, 0.0]]))]).value == 1.0  # 5 px off
    assert run("point_accuracy", [p], [Points(np.array([[0.0, 0.0]]))], tolerance=4.9).value == 0.0
    mask = np.zeros((6, 6), bool)
    mask[4, 3] = True
    assert run("point_accuracy", [p], [Mask(mask)]).value == 1.0
    assert run("point_accuracy", [p], [Mask(mask.T)]).value == 0.0
    assert run("point_accuracy", [Points(np.zeros((0, 2)))], [boxes([0, 0, 9, 9])]).value == 0.0
    two = Points(np.array([[0.0, 0.0], [50.0, 50.0]]))
    assert run("point_accuracy", [two], [p]).value == 0.5  # one hit of two


# ----------------------------------------------------------------------------------- dense


def test_mask_iou():
    a, b, empty = np.zeros((4, 4), bool), np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    a[:2], b[1:3] = True, True
    score = run("mask_iou", [Mask(a), Mask(empty), Mask(a)], [Mask(b), Mask(empty), Mask(empty)])
    assert score.per_example == pytest.approx((1 / 3, 1, 0))


def test_miou():
    want = Segmentation(np.array([[0, 0, 1, 1], [0, 0, 2, 2]]), ("cube", "cone"))
    got = Segmentation(np.array([[0, 1, 1, 1], [0, 0, 0, 2]]), ("cube", "cone"))
    # background 3/5, cube 2/3, cone 1/2
    assert run("miou", [got], [want]).value == pytest.approx((3 / 5 + 2 / 3 + 1 / 2) / 3)
    # on the four object pixels: cube 2/2, cone 1/2
    assert run("miou", [got], [want], background=False).value == pytest.approx((1 + 0.5) / 2)
    # classes are compared by name, whatever their numbers
    renamed = Segmentation(np.array([[0, 2, 2, 2], [0, 0, 0, 1]]), ("cone", "cube"))
    assert run("miou", [renamed], [want]).value == pytest.approx((3 / 5 + 2 / 3 + 1 / 2) / 3)


def test_miou_accumulates_over_the_set():
    a = Segmentation(np.array([[1, 1, 1, 1]]), ("cube",))
    b = Segmentation(np.array([[1, 0, 0, 0]]), ("cube",))
    none = Segmentation(np.array([[0, 0, 0, 0]]), ("cube",))
    # over both images, cube: 4 of 5 pixels; background: 3 of 4
    score = run("miou", [a, none], [a, b])
    assert score.value == pytest.approx((4 / 5 + 3 / 4) / 2)
    # a class that this reference cannot name still costs where another reference has it
    cone, ball = (Segmentation(np.array([[1, 1]]), (name,)) for name in ("cone", "ball"))
    assert run("miou", [cone, ball], [cone, cone]).value == pytest.approx(1 / 2)
    assert run("miou", [cone, cone], [cone, ball]).value == pytest.approx((1 / 2 + 0) / 2)
    # a class that is only predicted is no class of the set, but its pixels are lost to others
    score = run("miou", [a], [none])
    assert score.value == 0.0


def test_depth():
    want = Depth(np.array([[1.0, 2.0], [4.0, 0.0]]), np.array([[True, True], [True, False]]))
    got = Depth(np.array([[1.0, 2.2], [6.0, 9.0]]))
    assert run("depth_rmse", [got], [want]).value == pytest.approx(math.sqrt((0.04 + 4) / 3))
    assert run("depth_absrel", [got], [want]).value == pytest.approx((0.1 + 0.5) / 3)
    assert run("depth_delta1", [got], [want]).value == pytest.approx(2 / 3)
    unmeasured = Depth(np.zeros((2, 2)))
    assert math.isnan(run("depth_rmse", [got], [unmeasured]).value)


def test_normals():
    want = Normals(np.array([[[0, 0, -1.0], [0, 0, -1]], [[0, 0, -1], [0, 0, 0]]]))
    tilted = np.array([0, math.sin(math.radians(29)), -math.cos(math.radians(29))])
    got = Normals(np.array([[[0, 0, -1.0], tilted], [[1, 0, 0], [1, 0, 0]]]))
    assert run("normals_angle", [got], [want]).value == pytest.approx((0 + 29 + 90) / 3)
    assert run("normals_within_30", [got], [want]).value == pytest.approx(2 / 3)


def test_psnr_and_ssim():
    rng = np.random.default_rng(0)
    a = rng.integers(10, 200, (16, 16, 3)).astype(np.uint8)
    assert run("psnr", [Image(a + 5)], [Image(a)]).value == pytest.approx(10 * math.log10(255**2 / 25))
    assert run("psnr", [Image(a)], [Image(a)]).value == 100.0
    assert run("ssim", [Image(a)], [Image(a)]).value == pytest.approx(1.0)
    assert run("ssim", [Image(255 - a)], [Image(a)]).value < 0
    # two flat pictures: only the luminance term is left
    c1, x, y = (0.01 * 255) ** 2, 100, 120
    flat = [Image(np.full((8, 8, 3), v, np.uint8)) for v in (x, y)]
    assert run("ssim", flat[:1], flat[1:]).value == pytest.approx((2 * x * y + c1) / (x**2 + y**2 + c1))


# --------------------------------------------------------------------------------- numbers


def test_numbers():
    got, want = [Number(1.0), Number(2.0), Number(3.0)], [Number(2.0), Number(2.0), Number(5.0)]
    assert run("mae", got, want).value == pytest.approx(1.0)
    # covariance (−1)(−1) + 0 + 1·2 = 3; variances 2 and 6
    assert run("pearson", got, want).value == pytest.approx(3 / math.sqrt(12))
    assert run("pearson", [Number(1.0)] * 3, want).value == 0.0
    score = run("mae", [Number(math.nan)], [Number(2.0)])
    assert score.value == 2.0 and "1 unreadable" in score.note


def test_relevance_of_a_rank_reference() -> None:
    assert relevance(Number(2), 4).tolist() == [0, 0, 1, 0]
    assert relevance(Texts(("0.5", "0", "1")), 3).tolist() == [0.5, 0, 1]
    with pytest.raises(TypeError, match="the right option is 4, of options 0 to 3"):
        relevance(4, 4)
    with pytest.raises(TypeError, match="3 relevances for 4 options"):
        relevance([1, 0, 0], 4)


def test_tied_options_share_the_mean_of_their_ranks() -> None:
    assert ranks_of([1.0, 3.0, 3.0, 0.0, -np.inf]).tolist() == [3, 1.5, 1.5, 4, 5]
