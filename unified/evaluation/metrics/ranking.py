"""Rankings of options: VisDial's figures, retrieval, top-k classification.

A prediction is an array of scores, the higher the better, one an option. With several right options the
best placed counts. Ties: the rank is its mean over all orders of the tied options, which for one right option
is the mean of their ranks, so that equal scores for all earn no recall; the official scripts sort, and leave
the order of ties to the sort."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from unified.errors import UserError
from unified.evaluation.metrics.base import Score, mean_score, metric, relevance


def best_rank(scores: npt.NDArray[Any], right: npt.NDArray[Any]) -> float:
    """Rank (1 is first) of the best of the options where `right` is not 0; nan where there is none."""
    places = np.flatnonzero(right)
    if not len(places):
        return math.nan
    best = scores[places].max()
    tied, tied_right = (scores == best).sum(), (scores[places] == best).sum()
    return float((scores > best).sum() + (tied + 1) / (tied_right + 1))


def _ranks(predictions: Sequence[Any], references: Sequence[Any]) -> list[float]:
    arrays = [_finite(p) for p in predictions]
    return [best_rank(p, relevance(r, len(p))) for p, r in zip(arrays, references, strict=True)]


def _finite(scores: Any) -> npt.NDArray[Any]:
    array = np.asarray(scores)
    if array.ndim != 1 or np.isnan(array).any():
        raise TypeError("a ranking is one number an option, none of them nan")
    return array


def _at_least_one(name: str, k: int) -> None:
    if not isinstance(k, int) or k < 1:
        raise UserError(f"{name}: k must be a whole number from 1, not {k!r}")


@metric("recall_at_k", unit="%", ranks=True)
def recall_at_k(predictions: Sequence[Any], references: Sequence[Any], k: int = 1) -> Score:
    """Share of examples of which a right option is among the first k. R@1, 5, 10 of VisDial (metrics.py of
    batra-mlp-lab/visdial-challenge-starter-pytorch 5844f3d: over all rounds of all dialogues) and of
    retrieval in one direction; top-k accuracy of classification. Ties: the mean rank counts."""
    _at_least_one("recall_at_k", k)
    return mean_score([math.nan if math.isnan(r) else float(r <= k) for r in _ranks(predictions, references)])


@metric("mrr", unit="", ranks=True)
def mrr(predictions: Sequence[Any], references: Sequence[Any]) -> Score:
    """Mean reciprocal rank of the right option; VisDial's, over all rounds (metrics.py of
    batra-mlp-lab/visdial-challenge-starter-pytorch 5844f3d). Ties: the mean rank counts."""
    return mean_score([1 / r for r in _ranks(predictions, references)])


@metric("mean_rank", unit="", higher_is_better=False, ranks=True)
def mean_rank(predictions: Sequence[Any], references: Sequence[Any]) -> Score:
    """Mean rank of the right option, 1 at best; VisDial's, over all rounds (metrics.py of
    batra-mlp-lab/visdial-challenge-starter-pytorch 5844f3d). Ties: the mean rank counts."""
    return mean_score(_ranks(predictions, references))


def _ndcg(scores: npt.NDArray[Any], gains: npt.NDArray[np.float64]) -> float:
    k = int((gains != 0).sum())
    if not k:
        return math.nan
    _, group = np.unique(-scores, return_inverse=True)  # tied options are one group, the best first
    shared = np.bincount(group, gains) / np.bincount(group)
    discount = np.log2(np.arange(k) + 2)
    got = shared[np.sort(group)][:k] / discount
    best = np.sort(gains)[::-1][:k] / discount
    return float(got.sum() / best.sum())


@metric("visdial_ndcg", unit="%", ranks=True)
def visdial_ndcg(predictions: Sequence[Any], references: Sequence[Any]) -> Score:
    """VisDial's NDCG over the rounds with dense annotations (one a dialogue): the sum over the first K
    options of relevance / log2(rank + 1), as a share of the largest there could be; K is the number of
    options of relevance above 0. metrics.py of batra-mlp-lab/visdial-challenge-starter-pytorch 5844f3d.

    A reference is a round's relevances, one an option; a round without any has no score (there, nan). Tied
    options share the mean of their relevances, the mean over all orders of them."""
    scores = [_finite(p) for p in predictions]
    return mean_score([_ndcg(p, relevance(r, len(p))) for p, r in zip(scores, references, strict=True)])


def retrieval_recalls(
    scores: npt.NDArray[Any], owner: Sequence[int], text_scores: npt.NDArray[Any] | None = None
) -> dict[str, float]:
    """Recalls of image-text retrieval: TR R@1, R@5, R@10 (the rank of the best of an image's texts among all
    texts), IR R@1, R@5, R@10 (the rank of a text's image among all images), the mean of each three, and the
    mean of the six. itm_eval of salesforce/ALBEF b9727e4; there times 100.

    `scores`: (images, texts), the higher the better. `owner`: (texts,) the image that each text is of.
    `text_scores`: (texts, images) where a model scores the other direction by itself; else the transpose.
    """
    owner_of = np.asarray(owner)
    if scores.ndim != 2 or owner_of.shape != (scores.shape[1],):
        raise UserError(f"retrieval: {owner_of.size} owners of texts for scores of shape {scores.shape}")
    other = scores.T if text_scores is None else text_scores
    if other.shape != scores.shape[::-1]:
        raise UserError(
            f"retrieval: text scores of shape {other.shape} beside scores of shape {scores.shape}"
        )
    ranks = {
        "TR": np.array([best_rank(row, owner_of == image) for image, row in enumerate(scores)]),
        "IR": np.array(
            [best_rank(row, np.arange(len(row)) == own) for row, own in zip(other, owner_of, strict=True)]
        ),
    }
    out = {}
    for name, rank in ranks.items():
        known = rank[~np.isnan(rank)]
        for k in (1, 5, 10):
            out[f"{name} R@{k}"] = float(np.mean(known <= k)) if len(known) else math.nan
        out[f"{name} mean"] = float(np.mean([out[f"{name} R@{k}"] for k in (1, 5, 10)]))
    out["mean"] = (out["TR mean"] + out["IR mean"]) / 2
    return out


@metric("retrieval", unit="%", ranks=True)
def retrieval(predictions: Sequence[Any], references: Sequence[Any]) -> Score:
    """Image-text retrieval both ways, of a task whose examples are images and whose options are all texts of
    all examples (`options: {pool: ...}`), so that the predictions are the rows of one score matrix: the mean
    of TR R@1, R@5, R@10 and IR R@1, R@5, R@10, which are the parts. TR: is the best of an image's texts among
    the first k texts; IR: is a text's image among the first k images. itm_eval of salesforce/ALBEF b9727e4.
    Ties: the mean rank counts. Each example's own score is TR R@1."""
    rows = [_finite(p) for p in predictions]
    if len({len(row) for row in rows}) > 1:
        raise UserError(
            "retrieval: the examples have different options; give them one pool, `options: {pool: ...}`"
        )
    scores = np.stack(rows)
    right = np.array([relevance(r, scores.shape[1]) != 0 for r in references])
    if (right.sum(axis=0) != 1).any():
        lost = int((right.sum(axis=0) != 1).sum())
        raise UserError(
            f"retrieval: {lost} of {scores.shape[1]} options belong to no example, or to several; score all "
            "examples whose texts are in the pool"
        )
    parts = retrieval_recalls(scores, right.argmax(axis=0))
    first = [best_rank(row, own) <= 1 for row, own in zip(scores, right, strict=True)]
    return Score(parts.pop("mean"), tuple(map(float, first)), "", parts)
