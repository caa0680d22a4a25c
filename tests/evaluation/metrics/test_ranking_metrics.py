"""VisDial's figures, retrieval both ways, top-k."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unified.errors import UserError
from unified.evaluation.metrics import get_metric
from unified.evaluation.metrics.ranking import retrieval_recalls
from unified.values.types import Number, Texts


def run(name, predictions, references, **args):
    return get_metric(name)(predictions, references, **args)


# Four rounds of six options; the right ones are ranked 6, 2, 1 and 6.
ROUNDS = [
    np.array(row)
    for row in (
        [0.1, 0.9, 0.3, 0.2, 0.5, 0.4],
        [0.6, 0.5, 0.4, 0.3, 0.2, 0.1],
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        [0.3, 0.1, 0.9, 0.7, 0.8, 0.2],
    )
]
RIGHT = [Number(float(i)) for i in (0, 1, 5, 1)]


def test_visdial_sparse_against_the_official_script():
    # SparseGTMetrics of batra-mlp-lab/visdial-challenge-starter-pytorch 5844f3d: r@1 0.25, r@5 0.5, r@10 1,
    # mean 3.75, mrr 0.4583333432674408
    for k, value in ((1, 0.25), (5, 0.5), (10, 1.0)):
        assert run("recall_at_k", ROUNDS, RIGHT, k=k).value == value
    assert run("mean_rank", ROUNDS, RIGHT).per_example == (6, 2, 1, 6)
    assert run("mean_rank", ROUNDS, RIGHT).value == 3.75
    assert run("mrr", ROUNDS, RIGHT).value == pytest.approx((1 / 6 + 1 / 2 + 1 + 1 / 6) / 4)
    assert run("mrr", ROUNDS, RIGHT).value == pytest.approx(0.4583333432674408)


def test_visdial_ndcg_against_the_official_script():
    # NDCG of the same file: 0.4723990559577942; alone 0.42388901114463806 and 0.5209090709686279
    dense = [np.array([0, 0.5, 0, 1, 0, 0.2]), Texts(("1", "0", "0", "0", "0.5", "0.5"))]
    score = run("visdial_ndcg", [ROUNDS[0], ROUNDS[2]], dense)
    assert score.value == pytest.approx(0.4723990559577942, abs=1e-6)
    assert score.per_example == pytest.approx((0.42388901114463806, 0.5209090709686279), abs=1e-6)


def test_ndcg_by_hand():
    # two options matter: ranks 1 and 3 (not among the first two)
    gains = np.array([1.0, 0.5, 0.0])
    best = 1 + 0.5 / math.log2(3)
    assert run("visdial_ndcg", [np.array([3.0, 1.0, 2.0])], [gains]).value == pytest.approx(1 / best)
    assert run("visdial_ndcg", [np.array([3.0, 2.0, 1.0])], [gains]).value == pytest.approx(1.0)
    # all tied: each place earns the mean, 0.5
    tied = run("visdial_ndcg", [np.zeros(3)], [gains]).value
    assert tied == pytest.approx((0.5 + 0.5 / math.log2(3)) / best)
    # a round without relevances has no score
    score = run("visdial_ndcg", [np.zeros(3), np.array([3.0, 2, 1])], [np.zeros(3), gains])
    assert score.value == 1.0 and math.isnan(score.per_example[0])


def test_ties_share_the_mean_of_their_ranks():
    constant = [np.ones(100)]
    assert run("mean_rank", constant, [Number(7.0)]).value == 50.5
    assert run("mrr", constant, [Number(7.0)]).value == pytest.approx(1 / 50.5)
    assert run("recall_at_k", constant, [Number(7.0)], k=10).value == 0.0
    assert run("recall_at_k", constant, [Number(7.0)], k=51).value == 1.0
    assert run("mean_rank", [np.array([2, 1, 1, 0])], [Number(1.0)]).value == 2.5
    assert run("mean_rank", [np.array([2, 1, 1, 0])], [np.array([0, 1, 1, 0])]).value == 2.0


def test_the_best_of_several_right_options_counts():
    assert run("mean_rank", [np.array([0.1, 0.2, 0.3])], [np.array([1, 1, 0])]).value == 2.0


def test_top_k_of_classes_and_bad_arguments():
    scores = [np.array([0.1, 0.7, 0.2]), np.array([0.5, 0.3, 0.2])]
    classes = [Number(1.0), Number(1.0)]
    assert run("recall_at_k", scores, classes).value == 0.5
    assert run("recall_at_k", scores, classes, k=2).value == 1.0
    assert run("recall_at_k", [np.array([0.3])], [Number(0.0)]).value == 1.0  # one option
    with pytest.raises(UserError, match="k must be a whole number from 1, not 0"):
        run("recall_at_k", scores, classes, k=0)
    with pytest.raises(TypeError, match="none of them nan"):
        run("mrr", [np.array([math.nan, 1])], [Number(0.0)])
    with pytest.raises(TypeError, match="the right option is 3"):
        run("mrr", [np.array([0.0, 1.0])], [Number(3.0)])


# -------------------------------------------------------------------------------- retrieval

# Seven images with two texts each, the scores a permutation of 0..97.
SCORES = np.array([
    [58, 97, 78, 42, 47, 73, 31, 69, 66, 89, 15, 30, 94, 6],
    [59, 67, 35, 96, 19, 38, 9, 39, 27, 88, 33, 34, 17, 28],
    [87, 64, 55, 51, 32, 62, 21, 4, 29, 24, 7, 65, 49, 76],
    [23, 5, 26, 1, 70, 60, 68, 84, 80, 72, 13, 41, 83, 53],
    [3, 52, 79, 56, 86, 14, 18, 8, 74, 43, 92, 46, 77, 11],
    [71, 22, 37, 0, 85, 25, 20, 2, 57, 63, 61, 40, 54, 93],
    [45, 75, 16, 50, 48, 90, 82, 12, 44, 81, 91, 10, 36, 95],
])  # fmt: skip
TEXT_SCORES = np.array([
    [36, 32, 2, 69, 59, 44, 74], [61, 75, 24, 88, 63, 83, 14], [65, 30, 62, 25, 95, 33, 53],
    [40, 68, 11, 0, 27, 38, 43], [47, 71, 96, 37, 13, 76, 52], [41, 64, 48, 86, 8, 18, 46],
    [20, 92, 87, 82, 85, 90, 79], [3, 57, 19, 17, 91, 97, 10], [54, 80, 28, 67, 35, 56, 60],
    [66, 4, 93, 34, 23, 26, 21], [9, 5, 50, 22, 6, 58, 12], [45, 16, 77, 89, 15, 29, 81],
    [94, 7, 39, 78, 51, 73, 49], [72, 1, 42, 84, 55, 31, 70],
])  # fmt: skip
OWNER = [i // 2 for i in range(14)]


def test_retrieval_against_albef():
    # itm_eval of Retrieval.py, salesforce/ALBEF b9727e4, on SCORES and its transpose, then with TEXT_SCORES
    one = retrieval_recalls(SCORES, OWNER)
    assert {k: 100 * v for k, v in one.items()} == pytest.approx(
        {
            "TR R@1": 57.142857142857146, "TR R@5": 100, "TR R@10": 100, "TR mean": 85.71428571428571,
            "IR R@1": 28.571428571428573, "IR R@5": 78.57142857142857, "IR R@10": 100,
            "IR mean": 69.04761904761905, "mean": 77.38095238095238,
        }
    )  # fmt: skip
    two = retrieval_recalls(SCORES, OWNER, TEXT_SCORES)
    assert 100 * two["IR R@1"] == pytest.approx(21.428571428571427)
    assert 100 * two["IR R@5"] == pytest.approx(85.71428571428571)
    assert 100 * two["mean"] == pytest.approx(77.38095238095238)


def test_retrieval_of_a_task():
    references = [np.array([owner == image for owner in OWNER], np.int8) for image in range(7)]
    score = run("retrieval", list(SCORES), references)
    assert 100 * score.value == pytest.approx(77.38095238095238)
    assert score.parts["IR R@1"] == pytest.approx(4 / 14) and "mean" not in score.parts
    assert sum(score.per_example) == 4
    perfect = run("retrieval", [r.astype(float) for r in references], references)
    assert perfect.value == 1.0
    constant = run("retrieval", [np.zeros(14)] * 7, references)
    # TR: the first of two right ones in any order of 14 is at (14 + 1) / (2 + 1) = 5; IR: rank 4 of 7
    assert constant.parts["TR R@1"] == 0.0 and constant.parts["TR R@5"] == 1.0
    assert constant.parts["IR R@1"] == 0.0 and constant.parts["IR R@5"] == 1.0


def test_retrieval_of_one_image_and_bad_inputs():
    assert run("retrieval", [np.array([0.2])], [Number(0.0)]).value == 1.0
    with pytest.raises(UserError, match="different options"):
        run("retrieval", [np.zeros(2), np.zeros(3)], [Number(0.0)] * 2)
    with pytest.raises(UserError, match="1 of 2 options belong to no example"):
        run("retrieval", [np.zeros(2)], [Number(0.0)])
    with pytest.raises(UserError, match="3 owners of texts for scores of shape"):
        retrieval_recalls(np.zeros((2, 2)), [0, 1, 1])
    with pytest.raises(UserError, match="text scores of shape"):
        retrieval_recalls(np.zeros((2, 3)), [0, 1, 1], np.zeros((2, 3)))
