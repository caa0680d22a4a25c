"""Pictures by the features of a network: FID, Inception score, CLIP score, and cosine similarities.

The networks are no part of this project. `features` names a function that computes them, as
`module:function`, or is one; it takes a list of (height, width, 3) uint8 arrays and returns (n, d) numbers.
`register_features(name, function)` gives it a short name."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from unified.errors import UserError
from unified.evaluation.metrics.base import Score, mean_score, metric, strings
from unified.values.types import Image, Value

Floats = npt.NDArray[np.float64]
Extractor: TypeAlias = Callable[[list[Any]], Any]
_REGISTERED: dict[str, Extractor] = {}
BATCH = 64
"""Inputs that an extractor gets at a time."""


def register_features(name: str, function: Extractor) -> None:
    """Makes `features: name` mean this function, in this process."""
    _REGISTERED[name] = function


def find_features(features: str | Extractor | None, what: str) -> Extractor:
    """The function that `features` names; UserError where it names none."""
    if features is None:
        raise UserError(
            f"{what}: no feature extractor is given. Networks are not shipped; write a function from a list "
            "of (height, width, 3) uint8 arrays to (n, d) features and name it: "
            "args: {features: my_module:function}"
        )
    if callable(features):
        return features
    if features in _REGISTERED:
        return _REGISTERED[features]
    module, colon, name = features.partition(":")
    if not colon:
        known = ", ".join(sorted(_REGISTERED)) or "none"
        raise UserError(
            f"{what}: '{features}' is neither module:function nor registered (registered: {known})"
        )
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"{what}: cannot import '{features}': {error}") from error
    if not callable(found):
        raise UserError(f"{what}: '{features}' is no function")
    return found


def extract(function: Extractor, inputs: Sequence[Any], what: str) -> Floats:
    """(n, d) features of n inputs."""
    batches = []
    for start in range(0, len(inputs), BATCH):
        batch = list(inputs[start : start + BATCH])
        array = np.asarray(function(batch), np.float64)
        if array.ndim != 2 or len(array) != len(batch):
            raise UserError(
                f"{what}: the extractor gave shape {array.shape} for {len(batch)} inputs, not (n, d)"
            )
        batches.append(array)
    return np.concatenate(batches)


def _pictures(images: Sequence[Image]) -> list[Any]:
    return [image.pixels for image in images]


# ----------------------------------------------------------------------------- formulae on arrays


def frechet_distance(a: Floats, b: Floats) -> float:
    """|mean a - mean b|^2 + tr(A + B - 2 (A B)^(1/2)) of the Gaussians of two sets of features (n, d), (m,
    d); covariances with n - 1 (Heusel et al. 2017; mseitzer/pytorch-fid fid_score.py). The last trace is
    the sum of the roots of the eigenvalues of A^(1/2) B A^(1/2), which exist for singular covariances
    too."""
    difference = float(np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2))
    first, second = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(np.clip(values, 0, None))
    shared = np.linalg.eigvalsh(root.T @ second @ root)
    traces = float(np.trace(first) + np.trace(second))
    return difference + traces - 2 * float(np.sqrt(np.clip(shared, 0, None)).sum())


def inception_score(probabilities: Floats, splits: int = 10) -> tuple[float, float]:
    """(mean, standard deviation) over equal parts of the set of exp(mean KL(p(y|x) || p(y))) (Salimans et
    al. 2016; openai/improved-gan inception_score/model.py). (n, classes) probabilities."""
    n = len(probabilities)
    scores = []
    for i in range(splits):
        part = probabilities[i * n // splits : (i + 1) * n // splits]
        marginal = part.mean(axis=0, keepdims=True)
        ratio = np.divide(part, marginal, out=np.ones_like(part), where=part > 0)
        scores.append(math.exp(float(np.mean(np.sum(part * np.log(ratio), axis=1)))))
    return float(np.mean(scores)), float(np.std(scores))


def cosines(a: Floats, b: Floats) -> Floats:
    """(n,) cosines of the rows of two (n, d) arrays; 0 for rows of zeros."""
    if a.shape != b.shape:
        raise UserError(f"features of shapes {a.shape} and {b.shape} cannot be compared")
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.divide(np.sum(a * b, axis=1), lengths, out=np.zeros(len(a)), where=lengths > 0)


# --------------------------------------------------------------------------------------- metrics


@metric("fid", unit="", higher_is_better=False)
def fid(
    predictions: Sequence[Image], references: Sequence[Image], features: str | Extractor | None = None
) -> Score:
    """Frechet distance between the features of predicted and true pictures (Heusel et al. 2017), as
    `frechet_distance`. The published FID takes the 2048 pooled features of Inception-v3 in its weights of
    2015 at 299 x 299; numbers of other extractors, resizings or set sizes do not compare."""
    function = find_features(features, "metric fid")
    if min(len(predictions), len(references)) < 2:
        return Score(math.nan, None, "FID needs two pictures at least")
    got = extract(function, _pictures(predictions), "metric fid")
    want = extract(function, _pictures(references), "metric fid")
    note = f"features: {_name(features)}, {got.shape[1]} of {len(got)} pictures"
    if len(got) <= got.shape[1]:
        note += "; fewer pictures than features, so the covariance has not full rank"
    return Score(frechet_distance(got, want), None, note)


def _name(features: str | Extractor | None) -> str:
    return features if isinstance(features, str) else getattr(features, "__name__", "given")


@metric("inception_score", unit="")
def inception(
    predictions: Sequence[Image],
    references: Sequence[Image],
    features: str | Extractor | None = None,
    splits: int = 10,
) -> Score:
    """Inception score (Salimans et al. 2016) as `inception_score`, of predicted pictures alone; `features`
    gives the probabilities of classes, each row summing to 1. The part `deviation` is over the ten
    splits."""
    function = find_features(features, "metric inception_score")
    probabilities = extract(function, _pictures(predictions), "metric inception_score")
    if not np.allclose(probabilities.sum(axis=1), 1, atol=1e-3) or (probabilities < 0).any():
        raise UserError("metric inception_score: the extractor must give probabilities, rows that sum to 1")
    if not 1 <= splits <= len(probabilities):
        raise UserError(f"metric inception_score: {splits} splits of {len(probabilities)} pictures")
    value, deviation = inception_score(probabilities, splits)
    return Score(value, None, f"features: {_name(features)}, {splits} splits", {"deviation": deviation})


@metric("image_cosine", unit="")
def image_cosine(
    predictions: Sequence[Image], references: Sequence[Image], features: str | Extractor | None = None
) -> Score:
    """Mean cosine of the features of predicted and true picture: CLIP-I with CLIP's image features
    (ViT-B/32), the DINO score with DINO's (ViT-S/16), as in MagicBrush (OSU-NLP-Group/MagicBrush
    evaluation/image_eval.py)."""
    function = find_features(features, "metric image_cosine")
    got = extract(function, _pictures(predictions), "metric image_cosine")
    want = extract(function, _pictures(references), "metric image_cosine")
    return mean_score(cosines(got, want), f"features: {_name(features)}")


@metric("clip_score", unit="")
def clip_score(
    predictions: Sequence[Image],
    references: Sequence[Value],
    features: str | Extractor | None = None,
    text_features: str | Extractor | None = None,
    weight: float = 2.5,
) -> Score:
    """CLIP score (Hessel et al. 2021, jmhessel/clipscore): weight x max(cosine, 0) of picture and text,
    weight 2.5, averaged over pictures; the part `cosine` is the plain mean cosine, MagicBrush's CLIP-T.
    `features` are the picture's, `text_features` takes a list of strings; several texts count by their
    mean. Hessel et al. put "A photo depicts " before the text: that is the extractor's."""
    function = find_features(features, "metric clip_score")
    reader = find_features(text_features, "metric clip_score (text_features)")
    texts = [strings(r) for r in references]
    pictures = extract(function, _pictures(predictions), "metric clip_score")
    owner = np.repeat(np.arange(len(texts)), [len(t) for t in texts])
    cosine = cosines(pictures[owner], extract(reader, [s for t in texts for s in t], "metric clip_score"))
    each = [float(np.mean(weight * np.clip(cosine[owner == i], 0, None))) for i in range(len(texts))]
    plain = [float(np.mean(cosine[owner == i])) for i in range(len(texts))]
    return mean_score(each, f"features: {_name(features)}", {"cosine": float(np.mean(plain))})
