"""Average precision of detectors, against the official code and by hand."""

from __future__ import annotations

import contextlib
import io
import math

import numpy as np
import pytest

from unified.errors import UserError
from unified.evaluation.metrics import get_metric
from unified.values.types import Boxes, Keypoints, Texts

CLASSES = ("cat", "dog", "kite")


def run(name, predictions, references, **args):
    return get_metric(name)(predictions, references, **args)


def boxes(rows, labels=None, scores=None):
    scores = None if scores is None else np.array(scores, np.float64)
    return Boxes(np.array(rows, np.float64).reshape(-1, 4), None if labels is None else tuple(labels), scores)


def numbers(seed):
    """Endless pseudo-random integers, the same everywhere."""
    while True:
        seed = (1103515245 * seed + 12345) % 2**31
        yield seed >> 8


def scenes(n=8, seed=7):
    """(references, areas, crowds, predictions) of n images: predictions a few pixels off."""
    draw = numbers(seed)

    def one(count):
        rows, labels = [], []
        for _ in range(count):
            x, y = next(draw) % 300, next(draw) % 300
            side = (10, 20, 60, 90, 120, 200)[next(draw) % 6]
            rows.append([x, y, x + side, y + side // 2 + next(draw) % 20])
            labels.append(CLASSES[next(draw) % 3])
        return rows, labels

    references, areas, crowds, predictions = [], [], [], []
    for _ in range(n):
        rows, labels = one(next(draw) % 4)
        references.append(boxes(rows, labels))
        areas.append([0.6 * (x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in rows])
        crowd_rows, crowd_labels = one(next(draw) % 2)
        crowds.append(boxes(crowd_rows, crowd_labels))
        got, named, scores = [], [], []
        for row, label in zip(rows + crowd_rows, labels + crowd_labels, strict=True):
            for _ in range(1 + next(draw) % 2):
                shift = [next(draw) % 9 - 4 for _ in range(4)]
                got.append([a + b for a, b in zip(row, shift, strict=True)])
                named.append(label if next(draw) % 5 else CLASSES[next(draw) % 3])
                scores.append((next(draw) % 8) / 8)  # with ties
        more, more_labels = one(next(draw) % 3)
        predictions.append(
            boxes(got + more, named + more_labels, scores + [(next(draw) % 8) / 8 for _ in more])
        )
    return references, areas, crowds, predictions


def xywh(row):
    return [row[0], row[1], row[2] - row[0], row[3] - row[1]]


def official_coco(references, areas, crowds, predictions):
    """The 12 figures of pycocotools' COCOeval.summarize on the same boxes as files would hold them."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, found = [], []
    for i in range(len(references)):
        for one, crowd in ((references[i], 0), (crowds[i], 1)):
            for j, (label, row) in enumerate(zip(one.labels, one.xyxy.tolist(), strict=True)):
                area = 1234.0 if crowd else areas[i][j]
                truth.append(
                    {"id": len(truth) + 1, "image_id": i, "category_id": CLASSES.index(label) + 1,
                     "bbox": xywh(row), "area": area, "iscrowd": crowd}
                )  # fmt: skip
        p = predictions[i]
        for label, row, score in zip(p.labels, p.xyxy.tolist(), p.scores.tolist(), strict=True):
            found.append(
                {"image_id": i, "category_id": CLASSES.index(label) + 1, "bbox": xywh(row), "score": score}
            )
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i} for i in range(len(references))],
            "annotations": truth,
            "categories": [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


COCO_ORDER = ("AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_coco_ap_equals_cocoeval_with_crowds_areas_and_ties(seed):
    references, areas, crowds, predictions = scenes(seed=seed)
    official = official_coco(references, areas, crowds, predictions)
    score = run("coco_ap", predictions, references, areas=areas, crowd=crowds)
    assert 0.05 < score.value < 0.95  # the scene is no trivial one
    assert [score.value, *(score.parts[name] for name in COCO_ORDER)] == pytest.approx(list(official))
    assert tuple(score.parts) == COCO_ORDER


def test_coco_areas_matter():
    references, areas, _, predictions = scenes(seed=8)
    tiny = [[100.0] * len(row) for row in areas]
    assert run("coco_ap", predictions, references).parts["APl"] > 0
    assert math.isnan(run("coco_ap", predictions, references, areas=tiny).parts["APl"])
    as_text = [Texts(tuple(str(a) for a in row)) for row in areas]
    assert dict(run("coco_ap", predictions, references, areas=as_text).parts) == pytest.approx(
        dict(run("coco_ap", predictions, references, areas=areas).parts)
    )
    with pytest.raises(TypeError, match="1 areas for 3 references|1 areas for"):
        run("coco_ap", predictions, references, areas=[[1.0]] * len(references))


def test_coco_detections_in_a_crowd_count_neither_way():
    want, crowd = [boxes([[0, 0, 20, 20]], ("a",))], [boxes([[40, 40, 90, 90]], ("a",))]
    got = [boxes([[50, 50, 60, 60], [60, 60, 70, 70], [0, 0, 20, 20]], ("a",) * 3, (0.9, 0.8, 0.7))]
    assert run("coco_ap", got, want).value == pytest.approx(1 / 3)
    assert run("coco_ap", got, want, crowd=crowd).value == pytest.approx(1.0)


def test_coco_parts_by_hand():
    # one box of 20 x 20 found with IoU 0.8, one of 100 x 100 missed
    want = [boxes([[0, 0, 20, 20], [50, 50, 150, 150]], ("a", "a"))]
    got = [boxes([[0, 0, 20, 16]], ("a",), [0.9])]
    score = run("coco_ap", got, want)
    # recall 1/2 at the 7 thresholds 0.50 to 0.80: 51 of 101 recall points have precision 1
    assert score.value == pytest.approx(0.7 * 51 / 101)
    assert score.parts["AP50"] == pytest.approx(51 / 101)
    assert score.parts["APs"] == pytest.approx(0.7) and score.parts["APl"] == 0.0
    assert math.isnan(score.parts["APm"]) and math.isnan(score.parts["ARm"])
    assert score.parts["AR100"] == pytest.approx(0.35) and score.parts["ARs"] == pytest.approx(0.7)
    at_half = run("coco_ap", got, want, iou=0.5)
    assert at_half.value == pytest.approx(51 / 101) and at_half.parts["AP50:95"] == score.value


def test_coco_says_that_scores_are_missing():
    want = [boxes([[0, 0, 20, 20]], ("a",))]
    assert "no scores" in run("coco_ap", want, want).note
    assert run("coco_ap", want, want).value == pytest.approx(1.0)
    nothing = boxes([], (), ())
    empty = run("coco_ap", [nothing], want)
    assert (empty.value, empty.note) == (0.0, "") and empty.parts["AR100"] == 0.0
    assert math.isnan(run("coco_ap", [nothing], [nothing]).value)


# ------------------------------------------------------------------------------------ keypoints

JOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee",
    "left_ankle", "right_ankle",
)  # fmt: skip


def figures(n=6, seed=3):
    draw = numbers(seed)
    references, predictions, scores = [], [], []
    for _ in range(n):
        count = next(draw) % 3
        xy = np.array([[[next(draw) % 120, next(draw) % 160] for _ in JOINTS] for _ in range(count)], float)
        xy = xy.reshape(count, 17, 2) + np.arange(count)[:, None, None] * 100
        visible = np.array([[next(draw) % 3 for _ in JOINTS] for _ in range(count)]).reshape(count, 17)
        if count == 2:
            visible[1] = 0  # a figure without a labelled joint
        area = np.array([(900.0, 5000.0, 12000.0)[next(draw) % 3] for _ in range(count)])
        references.append(Keypoints(xy, visible, JOINTS, area))
        extra = 1 + next(draw) % 2
        jitter = np.array([next(draw) % 15 - 7 for _ in range(count * 34)], float).reshape(count, 17, 2)
        strangers = np.array([next(draw) % 200 for _ in range(extra * 34)], float).reshape(extra, 17, 2)
        got = np.concatenate([xy + jitter, strangers])
        predictions.append(Keypoints(got, np.full(got.shape[:2], 2), JOINTS))
        scores.append([(next(draw) % 8) / 8 for _ in range(len(got))])
    return references, predictions, scores


FIGURE_BOX = [20.0, 30.0, 100.0, 150.0]
CROWD_BOX = [60.0, 60.0, 200.0, 200.0]


def official_keypoints(references, predictions, scores):
    """The 10 figures of COCOeval; every true figure has the one box, every image the one crowd."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, found = [], []
    for i, (reference, prediction) in enumerate(zip(references, predictions, strict=True)):
        for xy, visible, area in zip(reference.xy, reference.visibility, reference.area, strict=True):
            points = np.concatenate([xy, visible[:, None]], axis=1)
            truth.append(
                {"id": len(truth) + 1, "image_id": i, "category_id": 1, "area": float(area), "iscrowd": 0,
                 "bbox": xywh(FIGURE_BOX), "keypoints": points.reshape(-1).tolist(),
                 "num_keypoints": int((visible > 0).sum())}
            )  # fmt: skip
        x1, y1, width, height = xywh(CROWD_BOX)
        truth.append(
            {"id": len(truth) + 1, "image_id": i, "category_id": 1, "area": width * height, "iscrowd": 1,
             "bbox": [x1, y1, width, height], "keypoints": [0] * 51, "num_keypoints": 0}
        )  # fmt: skip
        for xy, score in zip(prediction.xy, scores[i], strict=True):
            points = np.concatenate([xy, np.full((17, 1), 2)], axis=1)
            found.append(
                {"image_id": i, "category_id": 1, "keypoints": points.reshape(-1).tolist(), "score": score}
            )
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i} for i in range(len(references))],
            "annotations": truth,
            "categories": [{"id": 1, "name": "person"}],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


KEYPOINT_ORDER = ("AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")


@pytest.mark.parametrize("seed", [3, 5])
def test_keypoint_ap_equals_cocoeval(seed):
    references, predictions, scores = figures(seed=seed)
    official = official_keypoints(references, predictions, scores)
    own = [boxes([FIGURE_BOX] * len(r)) for r in references]
    crowd = [boxes([CROWD_BOX]) for _ in references]
    score = run("keypoint_ap", predictions, references, scores=scores, boxes=own, crowd=crowd)
    assert score.value != run("keypoint_ap", predictions, references, scores=scores).value
    ours = [score.value, *(score.parts[name] for name in KEYPOINT_ORDER)]
    assert 0.05 < score.value < 1
    assert [-1.0 if math.isnan(x) else x for x in ours] == pytest.approx(list(official))
    assert tuple(score.parts) == KEYPOINT_ORDER


def test_keypoint_ap_perfect_and_empty():
    references, _, _ = figures()
    perfect = run("keypoint_ap", references, references)
    assert perfect.value == pytest.approx(1.0) and "no scores" in perfect.note
    nothing = Keypoints(np.zeros((0, 17, 2)), np.zeros((0, 17), np.int64), JOINTS)
    assert run("keypoint_ap", [nothing] * 6, references).value == 0.0
    assert math.isnan(run("keypoint_ap", [nothing], [nothing]).value)
    shuffled = [Keypoints(r.xy[:, ::-1], r.visibility[:, ::-1], JOINTS[::-1], r.area) for r in references]
    assert run("keypoint_ap", shuffled, references).value == pytest.approx(1.0)  # joints go by name
    with pytest.raises(TypeError, match="lack the joints"):
        run(
            "keypoint_ap",
            [Keypoints(np.zeros((1, 1, 2)), np.ones((1, 1), np.int64), ("nose",))],
            references[:1],
        )


# ----------------------------------------------------------------------------------------- LVIS

NEGATIVE = [
    Texts(("kite",)),
    Texts(("dog", "kite")),
    *[Texts(())] * 4,
    Texts(("cat",)),
    Texts(("cat", "dog")),
]
OPEN_ENDED = [Texts(("cat",)), Texts(()), Texts(("dog", "cat")), Texts(("kite",)), *[Texts(("dog",))] * 4]
LETTERS = {"cat": "r", "dog": "c", "kite": "f"}


def lvis_inputs():
    references, areas, _, predictions = scenes(seed=11)
    frequency = [Texts(tuple(LETTERS[name] for name in r.labels)) for r in references]
    return predictions, references, {
        "negative": NEGATIVE, "not_exhaustive": OPEN_ENDED, "areas": areas, "frequency": frequency,
    }  # fmt: skip


def test_lvis_ap_equals_the_official_script():
    """lvis-dataset/lvis-api, commit 7d7f07d: LVISEval(...).run() on these scenes."""
    predictions, references, args = lvis_inputs()
    score = run("lvis_ap", predictions, references, **args)
    assert score.value == pytest.approx(0.4203520352035203)
    assert dict(score.parts) == pytest.approx(
        {
            "AP50": 0.9064906490649064, "AP75": 0.24422442244224424, "APs": 0.34884488448844875, "APm": 0.9,
            "APl": 1.0, "APr": 0.5, "APc": 0.1900990099009901, "APf": 0.570957095709571, "AR300": 0.45,
            "ARs": 0.3722222222222222, "ARm": 0.9, "ARl": 1.0,
        }
    )  # fmt: skip


def test_lvis_is_federated():
    want = [boxes([[0, 0, 50, 50]], ("cat",)), boxes([[0, 0, 50, 50]], ("dog",))]
    both = [[0, 0, 50, 50], [100, 100, 150, 150]]
    got = [boxes(both, ("cat", "dog"), (0.5, 0.9)), boxes(both, ("dog", "dog"), (0.5, 0.9))]
    # the dog of the first image is neither known to be there nor known not to be: not judged
    assert run("lvis_ap", got, want).value == pytest.approx((1 + 0.5) / 2)
    # known to be absent: the wrong dogs, of 0.9, come before the right one
    assert run("lvis_ap", got, want, negative=[("dog",), ()]).value == pytest.approx((1 + 1 / 3) / 2)
    # not all dogs of the second image are annotated: the second dog there may be one
    assert run("lvis_ap", got, want, not_exhaustive=[(), ("dog",)]).value == pytest.approx(1.0)
    # only the best detection of an image is kept
    assert run("lvis_ap", got, want, max_boxes=1).value == 0.0
    assert math.isnan(run("lvis_ap", [boxes([])], [boxes([])]).value)


def test_bad_arguments_of_detection():
    want = [boxes([[0, 0, 50, 50]], ("cat",))]
    with pytest.raises(UserError, match="iou is above 0 and at most 1, not 50"):
        run("coco_ap", want, want, iou=50)
    for name in ("coco_ap", "lvis_ap"):
        with pytest.raises(UserError, match="max_boxes is a whole number above 0"):
            run(name, want, want, max_boxes=0)
    with pytest.raises(TypeError, match="areas that are no numbers"):
        run("coco_ap", want, want, areas=[Texts(("large",))])
    with pytest.raises(TypeError, match="r, c or f for each of 1 boxes"):
        run("lvis_ap", want, want, frequency=[("often",)])
    with pytest.raises(TypeError, match="2 boxes for 1 reference figures"):
        figure = [Keypoints(np.ones((1, 17, 2)), np.ones((1, 17), np.int64), JOINTS)]
        run("keypoint_ap", figure, figure, boxes=[boxes([[0, 0, 1, 1], [0, 0, 2, 2]])])
