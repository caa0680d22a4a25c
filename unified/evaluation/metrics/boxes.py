"""Boxes: referring expressions, detection, and phrases grounded in boxes."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from unified.evaluation.metrics.base import Score, mean_score, metric
from unified.evaluation.metrics.text import normalise
from unified.values.types import Boxes, GroundedText


def iou_matrix(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Intersection over union of all pairs of continuous xyxy boxes: (n, 4), (m, 4) -> (n, m). Boxes of
    no area have IoU 0 with everything."""
    a, b = np.reshape(a, (-1, 1, 4)), np.reshape(b, (1, -1, 4))
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    inter = np.prod(np.clip(sides, 0, None), axis=-1)
    union = np.prod(a[..., 2:] - a[..., :2], axis=-1) + np.prod(b[..., 2:] - b[..., :2], axis=-1) - inter
    return np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)


def _matched(prediction: Boxes, reference: Boxes) -> npt.NDArray[np.float64]:
    """IoUs of the best one-to-one assignment, padded with 0 to max(n, m); [1] where both are empty."""
    from scipy.optimize import linear_sum_assignment

    n = max(len(prediction), len(reference))
    if n == 0:
        return np.ones(1)
    iou = iou_matrix(prediction.xyxy, reference.xyxy)
    matched = iou[linear_sum_assignment(iou, maximize=True)]
    return np.pad(matched, (0, n - len(matched)))


@metric("box_accuracy", unit="%")
def box_accuracy(predictions: Sequence[Boxes], references: Sequence[Boxes], threshold: float = 0.5) -> Score:
    """Share of examples whose box has IoU >= 0.5 with the reference: Acc@0.5 of RefCOCO in OFA's
    convention (>=, continuous coordinates, no +1). With several boxes: matched one to one, the share of
    max(predicted, referenced) boxes at IoU >= threshold."""
    return mean_score(
        [float(np.mean(_matched(p, r) >= threshold)) for p, r in zip(predictions, references, strict=True)]
    )


@metric("box_iou", unit="%")
def box_iou(predictions: Sequence[Boxes], references: Sequence[Boxes]) -> Score:
    """Mean IoU of box and reference. With several boxes: matched one to one to the largest sum, unmatched
    boxes of either side counting 0."""
    return mean_score([float(_matched(p, r).mean()) for p, r in zip(predictions, references, strict=True)])


def _named(value: Boxes | GroundedText) -> list[tuple[str, npt.NDArray[np.float64]]]:
    """(normalised name, xyxy) of each box; the name of a grounded phrase is the phrase."""
    if isinstance(value, GroundedText):
        names = [value.text[start:end] for start, end in value.spans]
        return [(normalise(n), b) for n, b in zip(names, value.boxes.xyxy, strict=True)]
    names = list(value.labels) if value.labels is not None else [""] * len(value)
    return [(normalise(n), b) for n, b in zip(names, value.xyxy, strict=True)]


@metric("grounding_f1", unit="%")
def grounding_f1(
    predictions: Sequence[Boxes | GroundedText],
    references: Sequence[Boxes | GroundedText],
    threshold: float = 0.5,
) -> Score:
    """F1 over named boxes of the whole set: a predicted (phrase, box) is right when an unused reference
    of the same phrase (case, punctuation and articles apart) has IoU >= threshold, taken greedily by
    IoU. In the spirit of F1_all of ActivityNet-Entities (Zhou et al. 2019), which averages over classes."""
    hits = n_got = n_want = 0
    each = []
    for prediction, reference in zip(predictions, references, strict=True):
        got, want = _named(prediction), _named(reference)
        iou = iou_matrix(np.array([b for _, b in got]), np.array([b for _, b in want]))
        for i, (name, _) in enumerate(got):
            iou[i, [name != other for other, _ in want]] = 0
        hit = 0
        while iou.size and iou.max() >= threshold:
            best = np.unravel_index(iou.argmax(), iou.shape)
            iou[best[0], :] = iou[:, best[1]] = 0
            hit += 1
        hits, n_got, n_want = hits + hit, n_got + len(got), n_want + len(want)
        each.append(2 * hit / (len(got) + len(want)) if got or want else 1.0)
    return Score(2 * hits / (n_got + n_want) if n_got + n_want else 1.0, tuple(each))


@metric("coco_ap", unit="%")
def coco_ap(
    predictions: Sequence[Boxes], references: Sequence[Boxes], iou: float | None = None, max_boxes: int = 100
) -> Score:
    """COCO average precision (Lin et al. 2014) by pycocotools: mean over classes and, unless `iou` names
    one, over IoU 0.50:0.05:0.95; 101-point interpolation; areas from the boxes. Classes are the labels
    of the references (unlabelled boxes are one class). Boxes without scores all score 1."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def names(boxes: Boxes) -> tuple[str, ...]:
        return boxes.labels if boxes.labels is not None else ("object",) * len(boxes)

    ids = {name: i for i, name in enumerate(sorted({n for r in references for n in names(r)}), start=1)}
    if not ids:
        return Score(math.nan, None, "no reference boxes")
    truth: list[dict[str, Any]] = []
    detections: list[dict[str, Any]] = []
    for image, (prediction, reference) in enumerate(zip(predictions, references, strict=True), start=1):
        for name, (x1, y1, x2, y2) in zip(names(reference), reference.xyxy.tolist(), strict=True):
            box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": 0}
            truth.append(box | {"id": len(truth) + 1, "image_id": image, "category_id": ids[name]})
        scores = prediction.scores if prediction.scores is not None else np.ones(len(prediction))
        for name, box_, score in zip(names(prediction), prediction.xyxy.tolist(), scores, strict=True):
            if name in ids:  # a class without references has no AP
                x1, y1, x2, y2 = box_
                detection = {"image_id": image, "category_id": ids[name], "bbox": [x1, y1, x2 - x1, y2 - y1]}
                detections.append(detection | {"score": float(score)})
    if not detections:
        return Score(0.0)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i} for i in range(1, len(references) + 1)],
            "annotations": truth,
            "categories": [{"id": i, "name": n} for n, i in ids.items()],
        }
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(detections), "bbox")
        run.params.maxDets = [max_boxes]
        run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
        if iou is not None:
            run.params.iouThrs = np.array([iou])
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"]  # (thresholds, recalls, classes, areas, max_dets); -1: no references
    precision = precision[precision > -1]
    return Score(float(precision.mean()) if precision.size else math.nan)
