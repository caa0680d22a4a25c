"""Boxes: one against one (referring expressions), and several matched one to one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from unified.errors import UserError, did_you_mean
from unified.evaluation.metrics.base import Score, mean_score, metric
from unified.values.types import Boxes

Convention = Literal["ofa", "albef", "unified_io_2"]


def iou_matrix(
    a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], pixel: float = 0.0
) -> npt.NDArray[np.float64]:
    """Intersection over union of all pairs of xyxy boxes: (n, 4), (m, 4) -> (n, m). `pixel`: 0 for continuous
    coordinates, 1 where x2 and y2 are the last pixels inside. Boxes of no area have IoU 0 with everything."""
    a, b = np.reshape(a, (-1, 1, 4)), np.reshape(b, (1, -1, 4))
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + pixel
    inter = np.prod(np.clip(sides, 0, None), axis=-1)
    areas = [np.prod(x[..., 2:] - x[..., :2] + pixel, axis=-1) for x in (a, b)]
    union = areas[0] + areas[1] - inter
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
    """Share of examples whose box has IoU >= 0.5 with the reference, in continuous coordinates. With several
    boxes: matched one to one, the share of max(predicted, referenced) boxes at IoU >= threshold. The figure
    of RefCOCO's papers is `refcoco_accuracy`."""
    return mean_score(
        [float(np.mean(_matched(p, r) >= threshold)) for p, r in zip(predictions, references, strict=True)]
    )


@metric("box_iou", unit="%")
def box_iou(predictions: Sequence[Boxes], references: Sequence[Boxes]) -> Score:
    """Mean IoU of box and reference. With several boxes: matched one to one to the largest sum, unmatched
    boxes of either side counting 0."""
    return mean_score([float(_matched(p, r).mean()) for p, r in zip(predictions, references, strict=True)])


def _hit(
    convention: Convention, a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], threshold: float
) -> bool:
    """Whether two xyxy boxes overlap enough by the convention."""
    if convention == "ofa":  # in single precision, where 1e-6 vanishes beside areas of some pixels
        a, b = a.astype(np.float32), b.astype(np.float32)
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    areas = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])
    if convention == "albef":
        inter = np.prod(sides) if (sides > 1).all() else 0.0
        return bool(areas > inter and inter / (areas - inter) >= threshold)
    inter = np.prod(sides) if (sides > 0).all() else a.dtype.type(0)
    iou = inter / (areas - inter + a.dtype.type(1e-6))
    if convention == "ofa":
        return bool((sides > 0).all() and iou >= threshold)
    return bool(iou > threshold)


@metric("refcoco_accuracy", unit="%")
def refcoco_accuracy(
    predictions: Sequence[Boxes],
    references: Sequence[Boxes],
    convention: Convention = "ofa",
    threshold: float = 0.5,
) -> Score:
    """Acc@0.5 of RefCOCO, RefCOCO+ and RefCOCOg: the share of expressions whose first predicted box (none: a
    miss) overlaps the one true box by half. The value is that of `convention`; the parts hold all three:

    - `ofa` (OFA-Sys/OFA tasks/mm_tasks/refcoco.py): IoU >= 0.5, continuous, in single precision, the union
      plus 1e-6.
    - `albef` (salesforce/ALBEF dataset/utils.py: computeIoU): IoU >= 0.5 of x, y, w, h boxes whose last
      pixel is x + w - 1. Its + 1 of the sides undoes that - 1, so areas are w x h as elsewhere, but an
      overlap at most one pixel wide or high counts as none.
    - `unified_io_2` (allenai/unified-io-2 metrics/metrics.py: ref_exp_metric): IoU > 0.5, continuous, the
      union plus 1e-6.
    """
    names: tuple[Convention, ...] = get_args(Convention)
    if convention not in names:
        raise UserError(
            f"metric refcoco_accuracy: there is no convention '{convention}'"
            f"{did_you_mean(convention, names)}; there are: {', '.join(names)}"
        )
    for reference in references:
        if len(reference) != 1:
            raise TypeError(f"an expression has one true box, this has {len(reference)}")
    hits = {
        name: [
            float(len(p) > 0 and _hit(name, p.xyxy[0], r.xyxy[0], threshold))
            for p, r in zip(predictions, references, strict=True)
        ]
        for name in names
    }
    parts: dict[str, float] = {name: float(np.mean(hits[name])) for name in names}
    return mean_score(hits[convention], f"IoU convention: {convention}", parts)
