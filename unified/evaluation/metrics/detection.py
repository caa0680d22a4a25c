"""Average precision of detectors: COCO's for boxes and keypoints, and LVIS's."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from unified.errors import UserError
from unified.evaluation.metrics.base import Sample, Score, metric
from unified.evaluation.metrics.points import sigmas
from unified.values.types import Boxes, Keypoints, Number, Texts

Floats = npt.NDArray[np.float64]
Row = dict[str, Any]
THRESHOLDS = np.linspace(0.5, 0.95, 10)
AREAS = {"all": (0.0, 1e10), "s": (0.0, 32.0**2), "m": (32.0**2, 96.0**2), "l": (96.0**2, 1e10)}
"""Square pixels of the figure, both ends included."""
UNNAMED = "object"


def _names(boxes: Boxes) -> tuple[str, ...]:
    return boxes.labels if boxes.labels is not None else (UNNAMED,) * len(boxes)


def _floats(value: Any, n: int, what: str) -> Floats:
    """(n,) numbers from an array, a sequence, a Number or Texts of numerals."""
    if isinstance(value, Number):
        value = [value.value]
    if isinstance(value, Texts):
        value = value.items
    try:
        array = np.asarray(value, np.float64).reshape(-1)
    except ValueError as error:
        raise TypeError(f"{what} that are no numbers: {error}") from error
    if len(array) != n:
        raise TypeError(f"{len(array)} {what} for {n} references")
    return array


def _check_most(number: int, name: str, argument: str) -> None:
    if not isinstance(number, int) or number < 1:
        raise UserError(f"metric {name}: {argument} is a whole number above 0, not {number}")


def _box_rows(boxes: Boxes) -> list[Row]:
    rows = []
    for name, (x1, y1, x2, y2) in zip(_names(boxes), boxes.xyxy.tolist(), strict=True):
        width, height = x2 - x1, y2 - y1
        rows.append({"class": name, "bbox": [x1, y1, width, height], "area": width * height, "iscrowd": 0})
    return rows


def _scored(rows: list[Row], scores: Floats | None) -> list[Row]:
    """Detections; those without scores all score 1."""
    given = np.ones(len(rows)) if scores is None else scores
    return [row | {"score": float(score)} for row, score in zip(rows, given, strict=True)]


def _coco(images: Sequence[Sequence[Row]], ids: Mapping[str, int]) -> Any:
    from pycocotools.coco import COCO

    rows = [
        row | {"image_id": i, "category_id": ids[row["class"]]}
        for i, some in enumerate(images)
        for row in some
    ]
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i} for i in range(len(images))],
        "annotations": [row | {"id": i} for i, row in enumerate(rows, start=1)],
        "categories": [{"id": i, "name": n} for n, i in ids.items()],
    }
    coco.createIndex()
    return coco


def _evaluate(
    truth: Sequence[Sequence[Row]],
    detections: Sequence[Sequence[Row]],
    kind: str,
    max_boxes: Sequence[int],
    areas: Iterable[str],
    *,
    thresholds: Floats = THRESHOLDS,
    oks_sigmas: Floats | None = None,
    adjust: Callable[[list[Row | None], Mapping[str, int]], None] | None = None,
) -> Any:
    """A COCOeval that has accumulated. `adjust` may change the outcomes of single images before that."""
    from pycocotools.cocoeval import COCOeval

    ids = {n: i for i, n in enumerate(sorted({r["class"] for some in truth for r in some}), start=1)}
    # a class without references has no AP
    known = [[d for d in some if d["class"] in ids] for some in detections]
    with contextlib.redirect_stdout(io.StringIO()):
        run = COCOeval(_coco(truth, ids), _coco(known, ids), kind)
        run.params.maxDets = list(max_boxes)
        run.params.areaRng = [list(AREAS[name]) for name in areas]
        run.params.areaRngLbl = list(areas)
        run.params.iouThrs = thresholds
        if oks_sigmas is not None:
            run.params.kpt_oks_sigmas = oks_sigmas
        run.evaluate()
        if adjust is not None:
            adjust(run.evalImgs, ids)
        run.accumulate()
    run.class_ids = ids
    return run


def _mean(values: npt.NDArray[np.float64]) -> float:
    """The mean of what exists: COCOeval puts -1 where a class has no reference."""
    values = values[values > -1]
    return float(values.mean()) if values.size else math.nan


def _precision(run: Any, *, iou: float | None = None, area: str = "all", classes: Any = slice(None)) -> float:
    values = run.eval["precision"][:, :, classes, run.params.areaRngLbl.index(area), -1]
    return _mean(values if iou is None else values[np.isclose(run.params.iouThrs, iou)])


def _recall(run: Any, *, iou: float | None = None, area: str = "all", boxes: int = -1) -> float:
    values = run.eval["recall"][:, :, run.params.areaRngLbl.index(area), boxes]
    return _mean(values if iou is None else values[np.isclose(run.params.iouThrs, iou)])


def _truth(
    references: Sequence[Boxes], areas: Sequence[Any] | None, crowd: Sequence[Boxes] | None
) -> list[list[Row]]:
    truth = [_box_rows(r) for r in references]
    for i, rows in enumerate(truth):
        if areas is not None:
            for row, area in zip(rows, _floats(areas[i], len(rows), "areas"), strict=True):
                row["area"] = float(area)
        if crowd is not None:
            rows += [row | {"iscrowd": 1} for row in _box_rows(crowd[i])]
    return truth


def _resampled(run: Any) -> Sample:
    """The precision of a run of one area over some of its images: what was found on each is accumulated
    anew, not looked for again."""
    images = len(run.params.imgIds)
    outcomes = np.empty(len(run.evalImgs), object)
    outcomes[:] = run.evalImgs
    by_class = outcomes.reshape(-1, images)

    def sample(rows: npt.NDArray[np.int64]) -> float:
        run.evalImgs = by_class[:, rows].ravel().tolist()
        with contextlib.redirect_stdout(io.StringIO()):
            run.accumulate()
        return _precision(run)

    return sample


def _resample_coco(
    predictions: Sequence[Boxes],
    references: Sequence[Boxes],
    iou: float | None = None,
    max_boxes: int = 100,
    areas: Sequence[Any] | None = None,
    crowd: Sequence[Boxes] | None = None,
) -> Sample:
    truth = _truth(references, areas, crowd)
    found = [_scored(_box_rows(p), p.scores) for p in predictions]
    thresholds = THRESHOLDS if iou is None else np.array([iou])
    return _resampled(_evaluate(truth, found, "bbox", [max_boxes], ["all"], thresholds=thresholds))


@metric("coco_ap", unit="%", resampler=_resample_coco)
def coco_ap(
    predictions: Sequence[Boxes],
    references: Sequence[Boxes],
    iou: float | None = None,
    max_boxes: int = 100,
    areas: Sequence[Any] | None = None,
    crowd: Sequence[Boxes] | None = None,
) -> Score:
    """COCO average precision of boxes (Lin et al. 2014) by pycocotools' COCOeval: mean over classes and,
    unless `iou` names one, over IoU 0.50:0.05:0.95; 101-point interpolation; at most `max_boxes` a class
    and image. The parts are COCO's other eleven figures: AP50, AP75, APs, APm, APl (area up to 32^2, 96^2,
    above), AR1, AR10, AR100, ARs, ARm, ARl; nan where no reference is of that size.

    Classes are the labels of the references (unlabelled boxes are one class). Boxes without scores all score
    1, in the order given. `areas`: the areas of the reference boxes (COCO's `area` is that of the mask;
    without them, the boxes'). `crowd`: labelled regions of crowds (`iscrowd: 1`), in which detections that
    match nothing else count neither way.
    """
    _check_most(max_boxes, "coco_ap", "max_boxes")
    if iou is not None and not 0 < iou <= 1:
        raise UserError(f"metric coco_ap: iou is above 0 and at most 1, not {iou}")
    truth = _truth(references, areas, crowd)
    if not any(truth):
        return Score(math.nan, None, "no reference boxes")
    found = [_scored(_box_rows(p), p.scores) for p in predictions]
    most = sorted({k for k in (1, 10) if k < max_boxes} | {max_boxes})
    run = _evaluate(truth, found, "bbox", most, AREAS)
    parts = {"AP50": _precision(run, iou=0.5), "AP75": _precision(run, iou=0.75)}
    parts |= {f"AP{size}": _precision(run, area=size) for size in "sml"}
    parts |= {f"AR{k}": _recall(run, boxes=i) for i, k in enumerate(most)}
    parts |= {f"AR{size}": _recall(run, area=size) for size in "sml"}
    value = _precision(run)
    if iou is not None:
        one = _evaluate(truth, found, "bbox", most, ["all"], thresholds=np.array([iou]))
        value, parts = _precision(one), {"AP50:95": value, **parts}
    return Score(value, None, _no_scores(predictions), parts)


def _no_scores(predictions: Sequence[Boxes]) -> str:
    bare = [p.scores is None for p in predictions if len(p)]
    return "predicted boxes carry no scores" if bare and all(bare) else ""


# ------------------------------------------------------------------------------------ keypoints


def _figure_rows(figures: Keypoints, names: Sequence[str]) -> list[Row]:
    order = {name: i for i, name in enumerate(figures.names)}
    missing = [name for name in names if name not in order]
    if missing and len(figures):
        raise TypeError(f"predicted keypoints lack the joints {missing}")
    rows = []
    for i in range(len(figures)):
        joints = [order[name] for name in names]
        xy, visible = figures.xy[i, joints], figures.visibility[i, joints]
        shown = xy[visible > 0] if (visible > 0).any() else xy
        (x1, y1), (x2, y2) = shown.min(axis=0).tolist(), shown.max(axis=0).tolist()
        rows.append(
            {
                "class": "figure",
                "keypoints": np.concatenate([xy, visible[:, None]], axis=1).reshape(-1).tolist(),
                "num_keypoints": int(np.count_nonzero(visible)),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": float(figures.area[i]) if figures.area is not None else (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
            }
        )
    return rows


@metric("keypoint_ap", unit="%")
def keypoint_ap(
    predictions: Sequence[Keypoints],
    references: Sequence[Keypoints],
    max_figures: int = 20,
    scores: Sequence[Any] | None = None,
    boxes: Sequence[Boxes] | None = None,
    crowd: Sequence[Boxes] | None = None,
) -> Score:
    """OKS-AP of COCO keypoints by pycocotools' COCOeval: mean average precision over OKS 0.50:0.05:0.95, at
    most 20 figures an image. The parts are its other nine figures: AP50, AP75, APm, APl, AR, AR50, AR75, ARm,
    ARl.

    Sigmas are COCO's by joint name (0.1 for joints that COCO lacks). Areas: the references' own, else those
    of the boxes around their labelled joints. Reference figures without a labelled joint are ignored:
    predictions near their `boxes` (one a reference figure; by default around their joints) count neither way,
    nor do those near `crowd` regions. Joints that the prediction calls absent count like others. Figures
    without `scores` all score 1, in the order given.
    """
    _check_most(max_figures, "keypoint_ap", "max_figures")
    joints = next((r.names for r in references if len(r)), None)
    if joints is None:
        return Score(math.nan, None, "no reference figures")
    truth = [_figure_rows(r, joints) for r in references]
    for i, rows in enumerate(truth):
        if boxes is not None:
            if len(boxes[i]) != len(rows):
                raise TypeError(f"{len(boxes[i])} boxes for {len(rows)} reference figures")
            for row, box in zip(rows, _box_rows(boxes[i]), strict=True):
                row["bbox"] = box["bbox"]
        for box in _box_rows(crowd[i]) if crowd is not None else []:
            hidden = {"class": "figure", "keypoints": [0.0] * 3 * len(joints), "num_keypoints": 0}
            rows.append(box | hidden | {"iscrowd": 1})
    found = []
    for i, prediction in enumerate(predictions):
        rows = _figure_rows(prediction, joints)
        for row in rows:  # as COCO.loadRes does, by all joints
            xy = np.reshape(row["keypoints"], (-1, 3))[:, :2]
            row["area"] = float(np.prod(np.ptp(xy, axis=0)))
        given = None if scores is None else _floats(scores[i], len(rows), "scores")
        found.append(_scored(rows, given))
    run = _evaluate(truth, found, "keypoints", [max_figures], ("all", "m", "l"), oks_sigmas=sigmas(joints))
    parts = {"AP50": _precision(run, iou=0.5), "AP75": _precision(run, iou=0.75)}
    parts |= {f"AP{size}": _precision(run, area=size) for size in "ml"}
    parts |= {"AR": _recall(run), "AR50": _recall(run, iou=0.5), "AR75": _recall(run, iou=0.75)}
    parts |= {f"AR{size}": _recall(run, area=size) for size in "ml"}
    note = "" if scores is not None else "predicted figures carry no scores"
    return Score(_precision(run), None, note, parts)


# ----------------------------------------------------------------------------------------- LVIS


def _items(value: Any) -> tuple[str, ...]:
    return value.items if isinstance(value, Texts) else tuple(value)


@metric("lvis_ap", unit="%")
def lvis_ap(
    predictions: Sequence[Boxes],
    references: Sequence[Boxes],
    negative: Sequence[Texts] | None = None,
    not_exhaustive: Sequence[Texts] | None = None,
    frequency: Sequence[Texts] | None = None,
    areas: Sequence[Any] | None = None,
    max_boxes: int = 300,
) -> Score:
    """LVIS average precision of boxes (Gupta et al. 2019), as lvis-dataset/lvis-api lvis/eval.py computes it:
    COCO's, but federated. Only the classes are judged that an image is known to hold (its references) or to
    lack (`negative`, the names of `neg_category_ids`); in a class that is `not_exhaustive` there, unmatched
    detections count neither way; an image keeps its 300 best detections over all classes.

    `frequency`: r, c or f for each reference box (rare, common, frequent: its class's `frequency`), for the
    parts APr, APc, APf. `areas`: of the reference boxes (LVIS's are the masks'). Further parts: AP50, AP75,
    APs, APm, APl, AR300, ARs, ARm, ARl. Matching and interpolation are pycocotools'.
    """
    _check_most(max_boxes, "lvis_ap", "max_boxes")
    truth = _truth(references, areas, None)
    if not any(truth):
        return Score(math.nan, None, "no reference boxes")
    found = []
    for i, prediction in enumerate(predictions):
        rows = _scored(_box_rows(prediction), prediction.scores)
        rows = sorted(rows, key=lambda row: -row["score"])[:max_boxes]
        judged = set(_names(references[i])) | set(_items(negative[i]) if negative is not None else ())
        found.append([row for row in rows if row["class"] in judged])
    open_ended = [set(_items(n)) for n in not_exhaustive] if not_exhaustive is not None else []

    def adjust(outcomes: list[Row | None], ids: Mapping[str, int]) -> None:
        name_of = {i: name for name, i in ids.items()}
        for one in outcomes if open_ended else []:
            if one is not None and name_of[one["category_id"]] in open_ended[one["image_id"]]:
                one["dtIgnore"] = one["dtIgnore"].astype(bool) | (one["dtMatches"] == 0)

    run = _evaluate(truth, found, "bbox", [max_boxes], AREAS, adjust=adjust)
    parts = {"AP50": _precision(run, iou=0.5), "AP75": _precision(run, iou=0.75)}
    parts |= {f"AP{size}": _precision(run, area=size) for size in "sml"}
    if frequency is not None:
        of_class: dict[str, str] = {}
        for reference, letters in zip(references, frequency, strict=True):
            named, given = _names(reference), _items(letters)
            if len(named) != len(given) or not {*given} <= {*"rcf"}:
                raise TypeError(f"frequency is r, c or f for each of {len(named)} boxes, not {list(given)}")
            of_class |= zip(named, given, strict=True)
        order = sorted(run.class_ids, key=run.class_ids.__getitem__)
        for letter in "rcf":
            chosen = [i for i, name in enumerate(order) if of_class.get(name) == letter]
            parts[f"AP{letter}"] = _precision(run, classes=chosen)
    parts |= {f"AR{max_boxes}": _recall(run)}
    parts |= {f"AR{size}": _recall(run, area=size) for size in "sml"}
    return Score(_precision(run), None, _no_scores(predictions), parts)
