"""Points and keypoints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from unified.evaluation.metrics.base import Score, mean_score, metric
from unified.values.types import Boxes, Keypoints, Mask, Points

COCO_SIGMAS = {
    "nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072, "wrist": 0.062,
    "hip": 0.107, "knee": 0.087, "ankle": 0.089,
}  # fmt: skip
"""Per-joint constants of COCO, the same for left and right."""
DEFAULT_SIGMA = 0.1
"""For joints that COCO does not name (a neck, a hand of a drawn figure): about that of a hip, so that an
error of 2 x 0.1 x sqrt(area) scores exp(-1/2)."""


def sigmas(names: Sequence[str]) -> npt.NDArray[np.float64]:
    """(k,) OKS constants by joint name, with or without `left`/`right`."""

    def one(name: str) -> float:
        parts = [p for p in name.lower().replace("-", "_").replace(" ", "_").split("_") if p]
        return COCO_SIGMAS.get("_".join(p for p in parts if p not in ("left", "right")), DEFAULT_SIGMA)

    return np.array([one(n) for n in names])


def _oks_matrix(prediction: Keypoints, reference: Keypoints) -> npt.NDArray[np.float64]:
    """(n, m) object keypoint similarities; columns of references without a labelled joint are nan."""
    order = {name: i for i, name in enumerate(prediction.names)}
    missing = [name for name in reference.names if name not in order]
    if missing and len(prediction):
        raise ValueError(f"predicted keypoints lack the joints {missing}")
    out = np.full((len(prediction), len(reference)), np.nan)
    for j in range(len(reference)):
        labelled = reference.visibility[j] > 0
        if not labelled.any():
            continue
        target = reference.xy[j, labelled]
        if reference.area is not None:
            area = float(reference.area[j])
        else:
            area = float(np.prod(np.ptp(target, axis=0)))
        spread = 2 * (area + np.spacing(1)) * (2 * sigmas(reference.names)[labelled]) ** 2
        for i in range(len(prediction)):
            joints = [order[n] for n in reference.names]
            got = prediction.xy[i, joints][labelled]
            said = prediction.visibility[i, joints][labelled] > 0
            distance = np.sum((got - target) ** 2, axis=-1)
            out[i, j] = float(np.mean(np.where(said, np.exp(-distance / spread), 0.0)))
    return out


@metric("oks", unit="%")
def oks(predictions: Sequence[Keypoints], references: Sequence[Keypoints]) -> Score:
    """Mean object keypoint similarity by COCO's formula (cocodataset.org/#keypoints-eval): the mean over
    the labelled joints (visibility > 0) of exp(-d^2 / (2 s^2 k^2)), s^2 = the figure's area, k = 2 sigma.

    Sigmas are COCO's by joint name, 0.1 for other joints. Without areas, s^2 is the area of the box around
    the labelled joints. A joint that the prediction calls absent scores 0. Several figures are matched one
    to one; unmatched ones, of either side, count 0.
    """
    from scipy.optimize import linear_sum_assignment

    scores = []
    for prediction, reference in zip(predictions, references, strict=True):
        known = (reference.visibility > 0).any(axis=1) if len(reference) else np.zeros(0, bool)
        if not known.any():
            scores.append(np.nan)
            continue
        similarity = _oks_matrix(prediction, reference)[:, known]
        matched = similarity[linear_sum_assignment(similarity, maximize=True)]
        scores.append(float(matched.sum()) / max(similarity.shape))
    return mean_score(scores)


@metric("point_accuracy", unit="%")
def point_accuracy(
    predictions: Sequence[Points], references: Sequence[Points | Boxes | Mask], tolerance: float = 5.0
) -> Score:
    """Share of points that hit. Against Points: matched one to one, within `tolerance` pixels of the
    source image, out of max(predicted, referenced). Against Boxes or a Mask (the pointing game, Zhang et al.
    2016): the first predicted point lies inside one of the boxes, or on the mask."""
    from scipy.optimize import linear_sum_assignment

    def score(prediction: Points, reference: Points | Boxes | Mask) -> float:
        if isinstance(reference, Points):
            n = max(len(prediction), len(reference))
            if n == 0:
                return 1.0
            distance = np.linalg.norm(prediction.xy[:, None] - reference.xy[None], axis=-1)
            near = distance <= tolerance
            return float(near[linear_sum_assignment(near, maximize=True)].sum()) / n
        if not len(prediction):
            return 0.0
        x, y = prediction.xy[0]
        if isinstance(reference, Mask):
            row, column = int(np.floor(y)), int(np.floor(x))
            inside = 0 <= row < reference.size.height and 0 <= column < reference.size.width
            return float(inside and reference.array[row, column])
        x1, y1, x2, y2 = reference.xyxy.T
        return float(np.any((x1 <= x) & (x <= x2) & (y1 <= y) & (y <= y2)))

    return mean_score([score(p, r) for p, r in zip(predictions, references, strict=True)])
