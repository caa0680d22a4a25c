"""Pictures by pixels and by features, by hand and as the official formulae give them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unified.errors import UserError
from unified.evaluation.metrics import get_metric
from unified.evaluation.metrics.image_features import (
    cosines,
    frechet_distance,
    inception_score,
    register_features,
)
from unified.values.types import Image, Text, Texts


def run(name, predictions, references, **args):
    return get_metric(name)(predictions, references, **args)


def flat(*colour, size=(4, 6)):
    return Image(np.full((*size, 3), colour, np.uint8))


def colour(pictures):
    """An extractor for tests: the mean colour."""
    return np.stack([p.reshape(-1, 3).mean(axis=0) for p in pictures])


def words(texts):
    """Its counterpart for texts: how often red, green and blue are named."""
    return np.array([[t.count(c) for c in ("red", "green", "blue")] for t in texts], float)


HERE = f"{__name__}:colour"

# ------------------------------------------------------------------------------------- pixels


def test_l1_and_l2():
    got, want = [flat(255, 0, 0), flat(10, 10, 10)], [flat(0, 0, 0), flat(10, 10, 61)]
    assert run("image_l1", got, want).per_example == pytest.approx((1 / 3, 0.2 / 3))
    assert run("image_l2", got, want).per_example == pytest.approx((1 / 3, 0.04 / 3))  # no root
    assert run("image_l1", got, got).value == 0.0


def test_l1_resizes_the_prediction_but_psnr_and_ssim_do_not():
    assert run("image_l1", [flat(9, 9, 9, size=(8, 8))], [flat(9, 9, 9)]).value == 0.0
    for name in ("psnr", "ssim"):
        with pytest.raises(TypeError, match="8 x 8 pixels against one of 6 x 4"):
            run(name, [flat(9, 9, 9, size=(8, 8))], [flat(9, 9, 9)])


# ----------------------------------------------------------------------------------- formulae


def features(n, d, seed):
    """(n, d) numbers in 0 to 1, the same everywhere."""
    values = [(math.sin(12.9898 * (i + 1) + 78.233 * seed) * 43758.5453) % 1 for i in range(n * d)]
    return np.round(np.reshape(values, (n, d)), 4)


A, B = features(12, 4, 1), features(9, 4, 2) * 1.5 + 0.2
OFFICIAL_FID = (0.978219244317825, 1.7023448086584572)
OFFICIAL_IS = (1.0712495436029175, 0.027705757976716865)


def test_frechet_distance_as_pytorch_fid_computes_it():
    """mseitzer/pytorch-fid, commit b9c1811, fid_score.py: calculate_frechet_distance of the means and
    np.cov of these features; the last, singular pair holds fewer rows than columns."""
    assert frechet_distance(A, B) == pytest.approx(OFFICIAL_FID[0], rel=1e-6)
    assert frechet_distance(A, A) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(A[:3], B[:3]) == pytest.approx(OFFICIAL_FID[1], rel=1e-6)


def test_frechet_distance_by_hand():
    # variances 2 and 8 about 1 and 5: (1 - 5)^2 + 2 + 8 - 2 sqrt(16)
    assert frechet_distance(np.array([[0.0], [2]]), np.array([[3.0], [7]])) == pytest.approx(16 + 10 - 8)


def test_inception_score():
    """openai/improved-gan, commit 4f5d1ec, inception_score/model.py: the lines after `preds` of
    get_inception_score on these probabilities, 3 splits."""
    p = (A + 0.05) / (A + 0.05).sum(axis=1, keepdims=True)
    assert inception_score(p, 3) == pytest.approx(OFFICIAL_IS)
    assert inception_score(np.eye(4), 1) == pytest.approx((4.0, 0.0))  # sure and varied; zeros are no trouble
    assert inception_score(np.full((4, 4), 0.25), 2) == pytest.approx((1.0, 0.0))


def test_cosines():
    a = np.array([[1.0, 0], [1, 1], [0, 0]])
    assert cosines(a, np.array([[1.0, 1], [-2, -2], [1, 0]])) == pytest.approx([math.sqrt(0.5), -1, 0])
    with pytest.raises(UserError, match="cannot be compared"):
        cosines(a, np.ones((3, 4)))


# ------------------------------------------------------------------------------------ metrics

RED, GREEN, DARK = flat(200, 0, 0), flat(0, 200, 0), flat(100, 0, 0)


def test_fid():
    score = run("fid", [RED, DARK, GREEN], [RED, DARK, GREEN], features=HERE)
    assert score.value == pytest.approx(0, abs=1e-4) and score.per_example is None
    assert "not full rank" in score.note and "colour" in score.note
    got = run("fid", [RED, DARK], [flat(250, 0, 0), flat(150, 0, 0)], features=colour)
    assert got.value == pytest.approx(50**2, rel=1e-4)
    assert math.isnan(run("fid", [RED], [RED], features=HERE).value)


def test_clip_score_and_cosine():
    score = run("clip_score", [RED, GREEN], [Text("red red"), Texts(("red", "green"))],
                features=colour, text_features=words)  # fmt: skip
    assert score.per_example == pytest.approx((2.5, 2.5 * 0.5)) and score.parts["cosine"] == pytest.approx(
        0.75
    )
    against = run("clip_score", [RED], [Text("red")], features=colour, text_features=lambda t: -words(t))
    assert against.value == 0.0 and against.parts["cosine"] == pytest.approx(-1)
    assert run("image_cosine", [RED, RED], [DARK, GREEN], features=HERE).per_example == pytest.approx((1, 0))


def test_inception_score_wants_probabilities():
    sure = {"features": lambda pictures: np.eye(3)[[p.mean(axis=(0, 1)).argmax() for p in pictures]]}
    assert run("inception_score", [RED, GREEN], [RED, RED], splits=1, **sure).value == pytest.approx(2)
    with pytest.raises(UserError, match="rows that sum to 1"):
        run("inception_score", [RED], [RED], features=HERE)
    with pytest.raises(UserError, match="10 splits of 2 pictures"):
        run("inception_score", [RED, GREEN], [RED, RED], **sure)


def test_extractors_are_named_or_registered():
    register_features("test_colour", colour)
    assert run("image_cosine", [RED], [DARK], features="test_colour").value == pytest.approx(1)
    for features, message in (
        (None, "no feature extractor is given"),
        ("nowhere", "neither module:function nor registered .*test_colour"),
        ("no_such_module:f", "cannot import"),
        (f"{__name__}:nothing", "cannot import"),
        ("math:pi", "is no function"),
        (lambda pictures: np.zeros(3), r"gave shape \(3,\) for 1 inputs"),
    ):
        with pytest.raises(UserError, match=message):
            run("image_cosine", [RED], [RED], features=features)
    with pytest.raises(UserError, match="text_features"):
        run("clip_score", [RED], [Text("red")], features=colour)
