"""The result files of every format that a spec can state."""

from __future__ import annotations

import json

import numpy as np
import PIL.Image
import pytest
from test_cases import SIZES, write_task

from unified.errors import UserError
from unified.evaluation.cases import read_cases
from unified.evaluation.predictor import Prediction
from unified.evaluation.submission import Submission, wants_scores, with_submission
from unified.values.types import Boxes, Keypoints, Label, Mask, Number, Segmentation, Text

FIELDS = {"id": {"type": "number"}, "name": {}}


def task_of(folder, submission, target=None, fields=None, rows=None, **more):
    rows = rows or [
        {"id": 7, "name": "a/x.jpg", "answer": "yes"},
        {"id": 8, "name": "b/y.jpg", "answer": "no"},
    ]
    fields = {**FIELDS, **(fields or {"answer": {}})}
    return write_task(
        folder, rows, target or {"field": "answer"}, fields=fields, submission=submission, **more
    )


def written(folder, task, predictions, split="test", into=None):
    examples = read_cases(task, "validation", limit=None, unanswered=True, **SIZES).examples
    return (into or Submission(folder / "out", split)).add(task, examples, predictions)


def test_json_rows_are_of_numbers_and_text(tmp_path):
    row = {"question_id": "id", "image": "name", "answer": "$answer", "sure": "$score"}
    task = task_of(tmp_path, {"file": "{task}_{split}.json", "row": row})
    assert wants_scores(task)
    path = written(tmp_path, task, [Prediction(Text("ja"), score=-0.5), Prediction(Number(2.5), score=-1.0)])
    assert path == tmp_path / "out/t_test.json"
    assert json.loads(path.read_text()) == [
        {"question_id": 7, "image": "a/x.jpg", "answer": "ja", "sure": -0.5},
        {"question_id": 8, "image": "b/y.jpg", "answer": 2.5, "sure": -1.0},
    ]
    assert '"question_id": 7,' in path.read_text(), "whole numbers have no point"


def test_two_tasks_share_a_mapping(tmp_path):
    spec = {"file": "a.json", "format": "json_map", "key": "id"}
    options = {"choices": ["yes", "no"], "decode": "rank"}
    free = task_of(tmp_path, {**spec, "row": {"direct_answer": "$answer"}})
    closed = task_of(tmp_path, {**spec, "row": {"choice": "$choice"}}, options=options)
    into = Submission(tmp_path, "test")
    written(tmp_path, free, [Prediction(Text("ja")), Prediction(Text("nein"))], into=into)
    path = written(tmp_path, closed, [Prediction(Label("no")), Prediction(Label("yes"))], into=into)
    assert json.loads(path.read_text()) == {
        "7": {"direct_answer": "ja", "choice": 1}, "8": {"direct_answer": "nein", "choice": 0},
    }  # fmt: skip
    with pytest.raises(UserError, match="two rows have the key '7'"):
        written(tmp_path, free, [Prediction(Text("ja"))] * 2, into=into)
    bare = task_of(tmp_path, {**spec, "row": {"value": "$answer"}})
    path = written(tmp_path, bare, [Prediction(Text("ja")), Prediction(Text("nein"))])
    assert json.loads(path.read_text()) == {"7": "ja", "8": "nein"}


def test_two_tasks_cannot_write_the_same_list(tmp_path):
    task = task_of(tmp_path, {"file": "a.json", "row": {"a": "$answer"}})
    into = Submission(tmp_path, "test")
    written(tmp_path, task, [Prediction(Text("ja"))] * 2, into=into)
    with pytest.raises(UserError, match=r"a.json: would be written by 't' and 't'; .* put \{task\} in"):
        written(tmp_path, task, [Prediction(Text("ja"))] * 2, into=into)


def test_lines(tmp_path):
    spec = {"file": "{split}.csv", "format": "csv", "row": {"identifier": "name", "label": "$answer"}}
    codes = {"label": {"yes": "True", "no": "False"}}
    task = task_of(tmp_path, {**spec, "codes": codes})
    answers = [Prediction(Text("no")), Prediction(Text("yes"))]
    assert written(tmp_path, task, answers).read_text() == "a/x.jpg,False\nb/y.jpg,True\n"
    task = task_of(tmp_path, {**spec, "header": True})
    answers = [Prediction(Text('so, "no"')), Prediction(Text("yes"))]
    wanted = 'identifier,label\na/x.jpg,"so, ""no"""\nb/y.jpg,yes\n'
    assert written(tmp_path, task, answers).read_text() == wanted


def test_a_row_for_each_box(tmp_path):
    row = {"image_id": "id", "category_id": "$label", "bbox": "$box", "corners": "$xyxy", "score": "$score"}
    task = task_of(
        tmp_path, {"file": "a.json", "row": row, "codes": {"category_id": {"cat": 17, "dog": 18}}},
        {"field": "boxes"}, {"boxes": {"type": "boxes", "labels": "labels"}},
        [{"id": 1, "name": "x", "boxes": [[0, 0, 5, 5]], "labels": ["cat"]}] * 2,
    )  # fmt: skip
    found = Boxes(np.array([[1, 2, 4, 8.0], [0, 0, 2, 2], [3, 3, 4, 4]]), ("dog", "cow", "cat"),
                  np.array([0.5, 0.9, 0.25]))  # fmt: skip
    path = written(tmp_path, task, [Prediction(found), Prediction(Boxes(np.zeros((0, 4)), ()))])
    assert json.loads(path.read_text()) == [
        {"image_id": 1, "category_id": 18, "bbox": [1, 2, 3, 6], "corners": [1, 2, 4, 8], "score": 0.5},
        {"image_id": 1, "category_id": 17, "bbox": [3, 3, 1, 1], "corners": [3, 3, 4, 4], "score": 0.25},
    ], "a cow is no category, and nothing found is no row"


def test_coco_reads_the_boxes_that_are_written(tmp_path):
    """pycocotools takes the file as a detection result: the perfect answer has AP 1."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = {
        "images": [{"id": 1, "width": 20, "height": 10}], "categories": [{"id": 17, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 17, "bbox": [1, 2, 3, 6], "area": 18,
                         "iscrowd": 0}],
    }  # fmt: skip
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    row = {"image_id": "id", "category_id": "$label", "bbox": "$box", "score": "$score"}
    task = task_of(
        tmp_path, {"file": "a.json", "row": row, "codes": {"category_id": {"cat": 17}}},
        {"field": "boxes"}, {"boxes": {"type": "boxes", "labels": "labels"}},
        [{"id": 1, "name": "x", "boxes": [[1, 2, 4, 8]], "labels": ["cat"]}],
    )  # fmt: skip
    path = written(tmp_path, task, [Prediction(Boxes(np.array([[1, 2, 4, 8.0]]), ("cat",)))])
    coco = COCO(str(tmp_path / "truth.json"))
    scored = COCOeval(coco, coco.loadRes(str(path)), "bbox")
    scored.evaluate(), scored.accumulate(), scored.summarize()
    assert scored.stats[0] == pytest.approx(1.0)


def test_rankings(tmp_path):
    row = {"image_id": "id", "ranks": "$ranks", "scores": "$scores", "choice": "$choice"}
    task = task_of(
        tmp_path,
        {"file": "a.json", "row": row},
        options={"choices": ["yes", "no", "maybe"], "decode": "rank"},
    )
    scores = np.array([-2.0, -1.0, -2.0], np.float32)
    path = written(tmp_path, task, [Prediction(Text("no"), option_scores=scores)] * 2)
    first = json.loads(path.read_text())[0]
    assert first == {"image_id": 7, "ranks": [2, 1, 3], "scores": [-2, -1, -2], "choice": 1}


def test_keypoints_and_masks_in_rows(tmp_path):
    joints = Keypoints(np.array([[[1, 2], [3, 4.5]]]), np.array([[2, 0]]), ("head", "foot"))
    task = task_of(
        tmp_path, {"file": "a.json", "row": {"id": "id", "keypoints": "$keypoints", "score": "$score"}},
        {"field": "k"}, {"k": {"type": "keypoints", "names": ["head", "foot"]}},
        [{"id": 1, "name": "x", "k": [1, 2, 2, 3, 4, 2]}],
    )  # fmt: skip
    path = written(tmp_path, task, [Prediction(joints)])
    assert json.loads(path.read_text()) == [{"id": 1, "keypoints": [1, 2, 2, 3, 4.5, 0], "score": 1.0}]
    from pycocotools import mask as coco

    array = np.zeros((10, 20), bool)
    array[2:5, 3:9] = True
    task = task_of(
        tmp_path, {"file": "a.json", "row": {"segmentation": "$mask"}}, {"field": "m"},
        {"m": {"type": "mask", "format": "bool"}}, [{"id": 1, "name": "x", "m": array.tolist()}],
    )  # fmt: skip
    (row,) = json.loads(written(tmp_path, task, [Prediction(Mask(array))]).read_text())
    assert np.array_equal(coco.decode(row["segmentation"]).astype(bool), array)


def test_pictures(tmp_path):
    value, kind = Mask(np.arange(200).reshape(10, 20) % 3 == 0), {"type": "mask", "format": "bool"}
    names = ["folder/VizWiz_1.jpg", "y"]
    rows = [{"id": i, "name": n, "m": value.array.tolist()} for i, n in enumerate(names)]
    spec = {"file": "masks_{split}", "format": "png", "key": "name"}
    task = task_of(tmp_path, spec, {"field": "m"}, {"m": kind}, rows)
    path = written(tmp_path, task, [Prediction(value)] * 2)
    assert path.name == "masks_test" and sorted(p.name for p in path.iterdir()) == ["VizWiz_1.png", "y.png"]
    with PIL.Image.open(path / "y.png") as picture:
        assert picture.mode == "L" and picture.size == (20, 10)
        assert np.array_equal(np.array(picture), value.array * 255)
    classes = Prediction(Segmentation(np.full((10, 20), 2), ("a", "b")))
    written(tmp_path, task, [classes] * 2)
    with PIL.Image.open(path / "y.png") as picture:
        assert set(np.array(picture).ravel()) == {2}
    twice = task_of(tmp_path, spec, {"field": "m"}, {"m": kind}, [{**row, "name": "y.jpg"} for row in rows])
    with pytest.raises(UserError, match="two rows are named 'y.png'"):
        written(tmp_path, twice, [Prediction(value)] * 2)


def test_what_cannot_be_told_is_said(tmp_path):
    task = task_of(tmp_path, {"file": "a.json", "row": {"a": "$answer"}})
    with pytest.raises(UserError, match=r"submission: '\$answer' cannot be told of a boxes \(rows.jsonl:1\)"):
        written(tmp_path, task, [Prediction(Boxes(np.zeros((1, 4))))] * 2)
    with pytest.raises(UserError, match="--submission: none of these tasks states a `submission`: t"):
        with_submission([write_task(tmp_path, [], {"field": "answer"}, fields={"answer": {}})])
