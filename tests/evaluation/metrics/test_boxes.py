"""RefCOCO's accuracy under its three conventions."""

from __future__ import annotations

import numpy as np
import pytest

from unified.errors import UserError
from unified.evaluation.metrics import get_metric
from unified.values.types import Boxes


def boxes(*rows):
    return Boxes(np.array(rows, np.float64).reshape(-1, 4))


# (predicted, true, hit by albef, ofa, unified_io_2): the hits are those of the official functions (below)
PAIRS = [
    ([0, 0, 10, 10], [0, 0, 10, 10], 1, 1, 1),
    ([0, 0, 10, 5], [0, 0, 10, 10], 1, 1, 0),  # exactly a half
    ([0, 0, 10, 5.1], [0, 0, 10, 10], 1, 1, 1),
    ([0, 0, 10, 4.9], [0, 0, 10, 10], 0, 0, 0),
    ([0, 0, 100, 50.5], [0, 0, 100, 100], 1, 1, 1),
    ([10, 20, 110, 220], [40, 20, 140, 220], 1, 1, 1),  # 70 / 130
    ([10, 20, 110, 220], [44, 20, 144, 220], 0, 0, 0),  # 66 / 134
    ([0, 0, 1, 10], [0, 0, 1, 10], 0, 1, 1),  # one pixel wide: ALBEF sees no overlap
    ([0, 0, 0.5, 0.5], [0, 0, 0.5, 1], 0, 0, 0),  # 1e-6 matters beside so small an area
    ([5, 5, 5, 5], [0, 0, 10, 10], 0, 0, 0),
    ([20, 20, 30, 30], [0, 0, 10, 10], 0, 0, 0),
]


def test_refcoco_conventions_as_the_official_functions_have_them():
    """salesforce/ALBEF, commit b9727e4, dataset/utils.py: computeIoU(...) >= 0.5 of (x, y, w, h);
    OFA-Sys/OFA, commit a36b91c, tasks/mm_tasks/refcoco.py: _calculate_ap_score of float32 tensors;
    allenai/unified-io-2, commit 502ac4d, metrics/grit_localization.py: compute_iou(...) > 0.5, as metrics.py
    uses it; each called on these pairs."""
    got, want = [boxes(p) for p, *_ in PAIRS], [boxes(r) for _, r, *_ in PAIRS]
    for i, name in enumerate(("albef", "ofa", "unified_io_2")):
        official = tuple(float(row[2 + i]) for row in PAIRS)
        score = get_metric("refcoco_accuracy")(got, want, convention=name)
        assert score.per_example == official
        assert score.value == pytest.approx(np.mean(official)) == score.parts[name]
        assert name in score.note
    assert set(score.parts) == {"albef", "ofa", "unified_io_2"}


def test_refcoco_takes_the_first_box_and_needs_one_true_box():
    want = [boxes([0, 0, 9, 9])]
    assert get_metric("refcoco_accuracy")([boxes([0, 0, 9, 9], [50, 50, 60, 60])], want).value == 1.0
    assert get_metric("refcoco_accuracy")([boxes([50, 50, 60, 60], [0, 0, 9, 9])], want).value == 0.0
    assert get_metric("refcoco_accuracy")([boxes()], want).value == 0.0
    with pytest.raises(TypeError, match="one true box, this has 2"):
        get_metric("refcoco_accuracy")(want, [boxes([0, 0, 1, 1], [0, 0, 2, 2])])
    with pytest.raises(UserError, match="did you mean 'albef'"):
        get_metric("refcoco_accuracy")(want, want, convention="albeff")
