"""Masks and semantic segmentation."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from unified.evaluation.metrics.base import Score, mean_score, metric
from unified.values.types import Mask, Segmentation


@metric("mask_iou", unit="%")
def mask_iou(predictions: Sequence[Mask], references: Sequence[Mask]) -> Score:
    """Mean over examples of intersection over union of the masks (mIoU of referring segmentation). Two
    empty masks agree: 1."""

    def iou(a: np.ndarray, b: np.ndarray) -> float:
        union = np.count_nonzero(a | b)
        return np.count_nonzero(a & b) / union if union else 1.0

    return mean_score([iou(p.array, r.array) for p, r in zip(predictions, references, strict=True)])


@metric("miou", unit="%")
def miou(
    predictions: Sequence[Segmentation], references: Sequence[Segmentation], background: bool = True
) -> Score:
    """Mean over classes of (intersection over the set) / (union over the set), over the classes that occur
    in the references (Pascal VOC). The background is a class, unless `background` is false: then pixels
    whose reference is background are ignored (ADE20K). The score of an example is the same within it."""
    inter: dict[str, int] = defaultdict(int)
    union: dict[str, int] = defaultdict(int)
    present: set[str] = set()
    each = []
    for prediction, reference in zip(predictions, references, strict=True):
        names = list(dict.fromkeys(("", *reference.names, *prediction.names)))
        translate = np.array([names.index(n) for n in ("", *prediction.names)])
        got, want = translate[prediction.classes], reference.classes
        if not background:
            got, want = got[want > 0], want[want > 0]
        seen = np.unique(want).tolist()
        here = []
        for i in {*seen, *np.unique(got).tolist()}:
            both = int(np.count_nonzero((got == i) & (want == i)))
            either = int(np.count_nonzero((got == i) | (want == i)))
            inter[names[i]] += both
            union[names[i]] += either
            if i in seen:
                present.add(names[i])
                here.append(both / either)
        each.append(float(np.mean(here)) if here else math.nan)
    value = float(np.mean([inter[n] / union[n] for n in sorted(present)])) if present else math.nan
    return Score(value, tuple(each), "" if background else "pixels of no class left out")
