"""Depth and surface normals by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unified.errors import UserError
from unified.evaluation.metrics import get_metric
from unified.values.types import Depth, Normals


def run(name, predictions, references, **args):
    return get_metric(name)(predictions, references, **args)


def depth(*rows, valid=None):
    return Depth(np.array(rows, float), None if valid is None else np.array(valid))


GOT = [depth([1.0, 2.0], [4.0, 9.0]), depth([2.0, 2.0])]
WANT = [depth([1.0, 2.5], [2.0, 0.0]), depth([2.0, 4.0], valid=[[True, False]])]


def test_depth_by_hand():
    # first image: errors 0, 0.5, 2 (the last pixel is unmeasured); second: 0
    assert run("depth_rmse", GOT, WANT).per_example == pytest.approx((math.sqrt(4.25 / 3), 0))
    assert run("depth_absrel", GOT, WANT).value == pytest.approx((0.2 + 1) / 3 / 2)
    log10 = run("depth_log10", GOT, WANT)
    assert log10.value == pytest.approx((math.log10(1.25) + math.log10(2)) / 3 / 2)
    delta = run("depth_delta1", GOT, WANT)
    # ratios 1, 1.25 (not below 1.25), 2 (above 1.25^3 = 1.953)
    assert delta.value == pytest.approx((1 / 3 + 1) / 2)
    assert dict(delta.parts) == pytest.approx({"delta2": (2 / 3 + 1) / 2, "delta3": (2 / 3 + 1) / 2})


def test_depth_pooled():
    score = run("depth_rmse", GOT, WANT, pooled=True)
    assert score.value == pytest.approx(math.sqrt(4.25 / 4)) and "pooled" in score.note
    assert run("depth_delta1", GOT, WANT, pooled=True).parts["delta2"] == pytest.approx(3 / 4)


def test_depth_range_leaves_out_references_and_clips_predictions():
    score = run("depth_rmse", GOT, WANT, min_depth=0.5, max_depth=2.4)
    # of the first image remain 1 and 2; the prediction 4 is clipped to 2.4
    assert score.per_example == pytest.approx((math.sqrt(0.16 / 2), 0))
    broken = depth([math.nan, math.inf])
    assert run("depth_rmse", [broken], [depth([1.0, 9.0])], max_depth=10).value == pytest.approx(
        math.sqrt((0.999**2 + 1) / 2)
    )
    with pytest.raises(UserError, match="not 0 < 3 < 2"):
        run("depth_rmse", GOT, WANT, min_depth=3, max_depth=2)


def test_eigen_crop_is_that_of_nyu():
    want = np.ones((480, 640))
    got = want.copy()
    got[:45], got[471:], got[:, :41], got[:, 601:] = 5, 5, 5, 5
    assert run("depth_rmse", [Depth(got)], [Depth(want)], crop="eigen").value == 0.0
    for row, column in ((45, 300), (470, 300), (300, 41), (300, 600)):
        inside = got.copy()
        inside[row, column] = 2
        score = run("depth_rmse", [Depth(inside)], [Depth(want)], crop="eigen")
        assert score.value == pytest.approx(math.sqrt(1 / (426 * 560))) and score.note == "crop: eigen"
    with pytest.raises(UserError, match="there are: none, eigen"):
        run("depth_rmse", GOT, WANT, crop="garg")


def test_depth_without_a_measured_pixel_and_of_another_size():
    assert math.isnan(run("depth_log10", [depth([1.0])], [depth([0.0])]).value)
    assert math.isnan(run("depth_rmse", [depth([1.0])], [depth([0.0])], pooled=True).value)
    with pytest.raises(TypeError, match="against"):
        run("depth_rmse", [depth([1.0])], [depth([1.0, 2.0])])


def normals(*degrees):
    """Normals of a row of pixels, turned from (0, 0, -1) by these angles."""
    turned = np.radians(degrees)
    return Normals(np.stack([np.sin(turned), np.zeros(len(degrees)), -np.cos(turned)], axis=-1)[None])


def test_normals_are_pooled_over_pixels():
    want = [normals(0, 0, 0), normals(0)]
    got = [normals(10, 20, 28), normals(60)]
    error = run("normals_error", got, want)
    assert error.value == pytest.approx((10 + 20 + 28 + 60) / 4, abs=1e-4)  # not (19.33 + 60) / 2
    assert error.parts["median"] == pytest.approx(24, abs=1e-4)
    assert error.parts["RMSE"] == pytest.approx(math.sqrt((100 + 400 + 784 + 3600) / 4), abs=1e-4)
    assert error.per_example == pytest.approx((58 / 3, 60), abs=1e-4)
    share = run("normals_within", got, want)
    assert share.value == 0.25 and dict(share.parts) == {"22.5°": 0.5, "30°": 0.75}
    assert run("normals_angle", got, want).value == pytest.approx((58 / 3 + 60) / 2)


def test_normals_without_pixels():
    none = Normals(np.zeros((1, 2, 3)))
    assert math.isnan(run("normals_error", [none], [none]).value)
    assert math.isnan(run("normals_within", [none], [none]).value)
    assert run("normals_error", [none], [normals(0, 0)]).value == pytest.approx(90)  # of no length: 90 off
