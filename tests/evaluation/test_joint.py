"""Evaluations of several tasks: figures over two of them, parts, files for servers, rows without answers."""

from __future__ import annotations

import json

import pytest
from test_cases import write_task

from unified.errors import UserError
from unified.evaluation.evaluator import evaluate, run_eval
from unified.evaluation.model_folder import load_model_folder
from unified.evaluation.predictor import Prediction, Predictor
from unified.evaluation.results import Results
from unified.values.types import Text

FIELDS = {"answer": {}, "annot": {}, "kind": {}}


@pytest.fixture(scope="module")
def loaded(run):
    return load_model_folder(run, "cpu")


@pytest.fixture
def says(monkeypatch):
    """Makes the model say what `answers` holds for a task."""
    answers = {}

    def predict(self, task, examples, **_):
        return [Prediction(Text(word)) for word in answers[task.name][: len(examples)]]

    monkeypatch.setattr(Predictor, "predict", predict)
    return answers


def task_of(folder, name, truth, metrics=("accuracy",), keys="abcd", **more):
    (folder / name).mkdir()
    rows = [{"answer": t, "annot": k, "kind": "xy"[i % 2]} for i, (t, k) in enumerate(zip(truth, keys))]  # noqa: B905
    task = write_task(
        folder / name, [{k: v for k, v in row.items() if v} for row in rows], {"field": "answer"},
        fields=FIELDS, metrics=list(metrics), **more,
    )  # fmt: skip
    return type(task).of(task.spec.model_copy(update={"task": name}), task.path)


JOINT = {"name": "accuracy", "jointly": {"task": "reason", "key": "annot"}}
LABEL = "accuracy(jointly=reason)"


def test_a_row_counts_when_both_tasks_have_it_right(loaded, says, tmp_path):
    answer = task_of(tmp_path, "answer", "pqrs", ["accuracy", JOINT])
    reason = task_of(tmp_path, "reason", "spqr", keys="dabc")  # in another order
    says |= {"answer": list("pqrX"), "reason": list("sXqX")}  # right: a, b, c; and d, b
    for order in ([answer, reason], [reason, answer]):
        found = evaluate(loaded.model, loaded.processor, order)
        mine = found.tasks["answer"]
        assert mine.metrics == {"accuracy": 0.75, LABEL: 0.25}
        assert mine.ceiling == {"accuracy": 1.0, LABEL: 1.0} and LABEL not in mine.notes
    assert f"  {LABEL}" in found.table()


def test_a_figure_over_two_tasks_is_missing_without_the_other(loaded, says, tmp_path):
    says |= {"answer": list("pqrX")}
    answer = task_of(tmp_path, "answer", "pqrs", ["accuracy", JOINT])
    found = evaluate(loaded.model, loaded.processor, [answer], out=tmp_path / "out").tasks["answer"]
    assert found.metrics[LABEL] is None and found.metrics["accuracy"] == 0.75
    assert found.notes[LABEL] == (
        "missing: it needs 'reason' evaluated in the same call, --tasks reason,answer"
    )
    assert Results.load(tmp_path / "out").tasks["answer"].notes == found.notes


def test_rows_without_a_partner_are_left_out(loaded, says, tmp_path):
    says |= {"answer": list("pqrs"), "reason": list("spqr")}
    answer = task_of(tmp_path, "answer", "pqrs", ["accuracy", JOINT])
    reason = task_of(tmp_path, "reason", "spqr", keys="daef")
    found = evaluate(loaded.model, loaded.processor, [answer, reason]).tasks["answer"]
    assert found.metrics[LABEL] == 1.0 and found.notes[LABEL] == "2 rows without a partner left out"


def test_the_other_task_must_have_key_and_metric(loaded, tmp_path):
    answer = task_of(tmp_path, "answer", "pqrs", ["accuracy", JOINT])
    reason = task_of(tmp_path, "reason", "spqr", ["exact_match"])
    with pytest.raises(UserError, match="task 'reason' does not name the metric 'accuracy'"):
        evaluate(loaded.model, loaded.processor, [answer, reason])


def test_parts_stand_under_their_metric(loaded, says, tmp_path):
    says |= {"t1": list("pqXX")}
    task = task_of(tmp_path, "t1", "pqrs", [{"name": "accuracy", "by": "kind"}])
    found = evaluate(loaded.model, loaded.processor, [task], out=tmp_path / "out")
    mine = found.tasks["t1"]
    assert mine.metrics == {"accuracy": 0.5, "accuracy: x": 0.5, "accuracy: y": 0.5}
    assert mine.ceiling == {"accuracy": 1, "accuracy: x": 1, "accuracy: y": 1}
    assert json.loads((tmp_path / "out/results.json").read_text())["tasks"]["t1"]["metrics"] == mine.metrics
    lines = [line.split() for line in found.table().splitlines()]
    assert ["x", "50.0", "%", "–", "100.0", "%"] in lines
    from unified.evaluation.report import write_report

    assert "accuracy: x" in write_report(tmp_path / "out").read_text()


def test_a_submission_of_rows_of_which_some_have_no_answer(loaded, says, tmp_path):
    says |= {"t1": list("pqrs")}
    submission = {"file": "{task}_{split}.json", "row": {"id": "annot", "a": "$answer"}}
    task = task_of(tmp_path, "t1", ["p", None, "r", None], submission=submission)
    plain = task_of(tmp_path, "t2", "pqrs")
    says["t2"] = list("pqrs")
    out = tmp_path / "out"
    found = evaluate(loaded.model, loaded.processor, [task, plain], out=out, submission=tmp_path / "sub")
    mine = found.tasks["t1"]
    assert (mine.n, mine.unanswered, mine.metrics) == (2, 2, {"accuracy": 1.0})
    assert mine.submission == str(tmp_path / "sub/t1_validation.json")
    rows = json.loads((tmp_path / "sub/t1_validation.json").read_text())
    assert rows == [{"id": k, "a": a} for k, a in zip("abcd", "pqrs", strict=True)]
    predictions = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    told = [(p["reference"] is None, p["scores"]) for p in predictions if p["task"] == "t1"]
    assert told == [(False, {"accuracy": 1.0}), (True, {})] * 2
    assert found.tasks["t2"].submission is None


def test_a_split_without_any_answer_is_written_and_not_scored(run, says, tmp_path, capsys):
    says |= {"t1": list("pqrs")}
    submission = {"file": "{task}_{split}.json", "row": {"id": "annot", "a": "$answer"}}
    task = task_of(tmp_path, "t1", [None] * 4, submission=submission)
    path = task.path.with_name("t1.yaml")
    path.write_text(task.path.read_text().replace("task: t\n", "task: t1\n"))
    found = run_eval(run, str(path), out=tmp_path / "out", submission=tmp_path / "sub", device="cpu", limit=3)
    mine = found.tasks["t1"]
    assert (mine.n, mine.unanswered, mine.metrics, mine.ceiling) == (0, 3, {"accuracy": None}, None)
    said = capsys.readouterr().out
    assert "0 rows and 3 without an answer, not scored" in said
    assert "t1_validation.json, of at most 3 rows: a server wants all" in said
    assert Results.load(tmp_path / "out").tasks["t1"].unanswered == 3
    from unified.evaluation.report import write_report

    assert "3 rows have no true answer and were not scored" in write_report(tmp_path / "out").read_text()
    with pytest.raises(UserError, match="no row of split 'validation' can be used.*--submission"):
        run_eval(run, str(path), out=tmp_path / "out", device="cpu")
