"""Which rows are evaluated, what counts as their true answer, and which metrics judge them."""

from __future__ import annotations

import json

import numpy as np
import PIL.Image
import pytest
from ruamel.yaml import YAML

from unified.errors import UserError
from unified.evaluation.cases import read_cases
from unified.evaluation.scoring import judges_of
from unified.specs.load import load_task
from unified.values.types import Boxes, Label, Number, Text, Texts

SIZES = {"image_size": 32, "target_size": 16, "seed": 0}


def write_task(folder, rows, target, fields=None, **more):
    """A task over JSON lines whose images are 20 x 10 pixels."""
    PIL.Image.fromarray(np.zeros((10, 20, 3), np.uint8)).save(folder / "i.png")
    lines = [json.dumps({"image": "i.png", **row}) for row in rows]
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
    spec = {
        "task": "t", "source": {"type": "jsonl", "splits": {"validation": "rows.jsonl"}},
        "fields": {"image": "image", **(fields or {})},
        "input": {"images": ["image"], "prompt": ["What ?"]}, "target": target, **more,
    }  # fmt: skip
    path = folder / "t.yaml"
    YAML(typ="safe", pure=True).dump(spec, path)
    return load_task(path)


def answers(task, **more):
    return [c.target for c in read_cases(task, "validation", limit=None, **{**SIZES, **more}).cases]


def test_true_answers_of_fields(tmp_path):
    task = write_task(tmp_path, [{"answer": "a"}], {"field": "answer"}, {"answer": {"type": "text"}})
    assert answers(task) == [Text("a")]
    task = write_task(tmp_path, [{"a": ["x", "y"]}], {"field": "a"}, {"a": {"type": "texts"}})
    assert answers(task) == [Texts(("x", "y"))]  # all of them, though one is trained on


def test_true_answers_of_templates(tmp_path):
    fields = {"a": {"type": "text"}, "box": {"type": "boxes"}}
    row = {"a": "red", "box": [2, 1, 12, 9]}
    target = {"template": "it is {{ a }}"}
    assert answers(write_task(tmp_path, [row], target, fields)) == [Text("it is red")]
    target = {"template": "{{ a }}", "modality": "label"}
    assert answers(write_task(tmp_path, [row], target, fields)) == [Label("red")]
    target = {"template": "{{ box }}", "modality": "boxes"}
    (box,) = answers(write_task(tmp_path, [row], target, fields))
    np.testing.assert_allclose(box.xyxy, [[2, 1, 12, 9]])  # in pixels of the source
    target = {"template": "a [{{ a }}] {{ box }} one", "modality": "grounded_text"}
    (grounded,) = answers(write_task(tmp_path, [row], target, fields))
    assert grounded.text == "a red one" and grounded.spans == ((2, 5),)
    np.testing.assert_allclose(grounded.boxes.xyxy, [[2, 1, 12, 9]])


def test_rows_of_a_template_that_are_no_number_are_left_out(tmp_path):
    target = {"template": "{{ a }}", "modality": "number"}
    task = write_task(tmp_path, [{"a": "3.5"}, {"a": "many"}], target, {"a": {"type": "text"}})
    read = read_cases(task, "validation", limit=None, **SIZES)
    assert [c.target for c in read.cases] == [Number(3.5)]
    assert read.skipped[0][1] == "target 'many' is not a number" and "2" in read.skipped[0][0]


def test_limit_spreads_over_the_split_and_repeats(tmp_path):
    task = write_task(tmp_path, [{"a": str(i)} for i in range(10)], {"field": "a"}, {"a": {"type": "text"}})
    few = [c.target.text for c in read_cases(task, "validation", limit=4, **SIZES).cases]
    assert few == ["0", "2", "5", "7"]
    assert len(read_cases(task, "validation", limit=99, **SIZES).cases) == 10


def test_bad_rows_are_counted_and_a_split_of_them_is_an_error(tmp_path):
    rows = [{"a": "x"}, {"a": "y", "image": "absent.png"}, {"b": "z"}]
    task = write_task(tmp_path, rows, {"field": "a"}, {"a": {"type": "text"}})
    read = read_cases(task, "validation", limit=None, **SIZES)
    assert len(read.cases) == 1 and len(read.skipped) == 2
    task = write_task(tmp_path, rows[1:], {"field": "a"}, {"a": {"type": "text"}})
    with pytest.raises(UserError, match="no row of split 'validation' can be used; the first"):
        read_cases(task, "validation", limit=None, **SIZES)


def labels(task):
    cases = read_cases(task, "validation", limit=None, **SIZES).cases
    return [judge.label for judge in judges_of(task, cases)]


def test_default_and_named_metrics(tmp_path):
    plain = {"box": {"type": "boxes"}}
    row = [{"box": [[0, 0, 5, 5]], "names": ["cube"], "a": "x", "all": ["x", "y"]}]
    assert labels(write_task(tmp_path, row, {"field": "box"}, plain)) == ["box_accuracy", "box_iou"]
    named = {"box": {"type": "boxes", "labels": "names"}}
    assert labels(write_task(tmp_path, row, {"field": "box"}, named)) == ["coco_ap"]
    metrics = [{"name": "box_accuracy", "args": {"threshold": 0.7}}, "box_iou"]
    task = write_task(tmp_path, row, {"field": "box"}, plain, metrics=metrics)
    assert labels(task) == ["box_accuracy(threshold=0.7)", "box_iou"]


def test_references_from_another_field(tmp_path):
    row = [{"a": "x", "all": ["z", "y"]}]
    fields = {"a": {"type": "text"}, "all": {"type": "texts"}}
    metrics = [{"name": "exact_match", "references": "all"}]
    task = write_task(tmp_path, row, {"field": "a"}, fields, metrics=metrics)
    cases = read_cases(task, "validation", limit=None, **SIZES).cases
    (judge,) = judges_of(task, cases)
    assert judge([Text("y")], cases).value == 1.0 and judge([Text("x")], cases).value == 0.0


def test_wrong_arguments_are_a_mistake_of_the_spec(tmp_path):
    task = write_task(tmp_path, [{"box": [[0, 0, 5, 5]]}], {"field": "box"}, {"box": {"type": "boxes"}},
                      metrics=[{"name": "box_accuracy", "args": {"treshold": 1}}])  # fmt: skip
    cases = read_cases(task, "validation", limit=None, **SIZES).cases
    (judge,) = judges_of(task, cases)
    with pytest.raises(UserError, match="t: metrics: 'box_accuracy"):
        judge([Boxes(np.zeros((0, 4)))], cases)


def test_goodness_is_larger_where_the_error_is_smaller(tmp_path):
    task = write_task(tmp_path, [{"n": 2}], {"field": "n"}, {"n": {"type": "number"}})
    cases = read_cases(task, "validation", limit=None, **SIZES).cases
    judge = judges_of(task, cases)[0]
    assert judge.goodness([Number(2.5)], cases) > judge.goodness([Number(4.0)], cases)


def test_metrics_of_specs_and_of_code_are_the_same():
    from unified.evaluation.metrics import metric_names
    from unified.specs.vocabulary import METRICS

    assert sorted(METRICS) == metric_names()
