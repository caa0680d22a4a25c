"""Masks of referring expressions and answers."""

from __future__ import annotations

import numpy as np
import pytest

from unified.evaluation.metrics import get_metric
from unified.values.types import Mask


def row(*pixels, width=10):
    array = np.zeros((1, width), bool)
    array[0, list(pixels)] = True
    return Mask(array)


def test_referring_segmentation_by_hand():
    want = [row(0, 1, 2, 3), row(0), row(*range(10)), row(5)]
    got = [row(0, 1, 2), row(0, 1), row(*range(9)), row()]
    score = get_metric("referring_segmentation")(got, want)
    assert score.per_example == (0.75, 0.5, 0.9, 0.0)
    assert score.value == pytest.approx((0.75 + 0.5 + 0.9) / 4)
    assert score.parts["overall IoU"] == pytest.approx((3 + 1 + 9 + 0) / (4 + 2 + 10 + 1))
    # 0.5 and 0.9 themselves count
    pr = [score.parts[f"Pr@{t}"] for t in (0.5, 0.6, 0.7, 0.8, 0.9)]
    assert pr == [0.75, 0.5, 0.5, 0.25, 0.25]


def test_empty_masks():
    assert get_metric("referring_segmentation")([row()], [row()]).value == 0.0  # as the script has it
    assert get_metric("referring_segmentation")([row()], [row()]).parts["overall IoU"] == 0.0
    assert get_metric("mask_iou")([row()], [row()]).value == 1.0
    assert get_metric("mask_iou")([row(1)], [row()]).value == 0.0


def test_masks_of_two_sizes_are_an_error():
    with pytest.raises(TypeError, match="10 x 1 pixels against one of 5 x 1"):
        get_metric("mask_iou")([row(1)], [row(1, width=5)])
