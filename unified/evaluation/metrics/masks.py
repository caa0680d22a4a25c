"""Masks and semantic segmentation."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from unified.evaluation.metrics.base import Score, mean_score, metric
from unified.values.types import Mask, Segmentation


def _areas(prediction: Mask, reference: Mask) -> tuple[int, int]:
    """(pixels of the intersection, of the union)."""
    a, b = prediction.array, reference.array
    if a.shape != b.shape:
        sizes = [f"{x.shape[1]} x {x.shape[0]}" for x in (a, b)]
        raise TypeError(f"a mask of {sizes[0]} pixels against one of {sizes[1]}")
    return int(np.count_nonzero(a & b)), int(np.count_nonzero(a | b))


@metric("mask_iou", unit="%")
def mask_iou(predictions: Sequence[Mask], references: Sequence[Mask]) -> Score:
    """Mean over examples of intersection over union of the masks (the figure of VizWiz answer grounding: Chen
    et al. 2022). Two empty masks agree: 1. For referring expressions see `referring_segmentation`."""
    scores = []
    for prediction, reference in zip(predictions, references, strict=True):
        both, either = _areas(prediction, reference)
        scores.append(both / either if either else 1.0)
    return mean_score(scores)


PRECISIONS = (0.5, 0.6, 0.7, 0.8, 0.9)


@metric("referring_segmentation", unit="%")
def referring_segmentation(predictions: Sequence[Mask], references: Sequence[Mask]) -> Score:
    """Mean IoU of referring expression segmentation; the parts are the overall IoU (sum of intersections over
    sum of unions, which large objects rule; older papers call it IoU) and Pr@0.5 to Pr@0.9, the shares of
    expressions with at least that IoU. As yz93/LAVT-RIS test.py computes them; two empty masks have IoU 0
    there."""
    areas = [_areas(p, r) for p, r in zip(predictions, references, strict=True)]
    iou = np.array([both / either if either else 0.0 for both, either in areas])
    union = sum(either for _, either in areas)
    parts = {"overall IoU": sum(both for both, _ in areas) / union if union else 0.0}
    parts |= {f"Pr@{threshold}": float(np.mean(iou >= threshold)) for threshold in PRECISIONS}
    return mean_score(iou, "", parts)


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
