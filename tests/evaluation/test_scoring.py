"""Rankings, parts, values of other fields, pooled options: what a metric is given, and what is made of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from test_cases import SIZES, write_task

from unified.errors import UserError
from unified.evaluation.cases import answer_fields, read_cases
from unified.evaluation.metrics import Score
from unified.evaluation.metrics.base import Metric
from unified.evaluation.model_folder import load_model_folder
from unified.evaluation.predictor import Predictor
from unified.evaluation.scoring import Judge, judges_of, right_scores
from unified.specs.load import LoadedTask
from unified.specs.schema import MetricSpec
from unified.values.types import Text, Texts

CHOICE = {
    "answer": {"type": "label"},
    "choices": {"type": "texts"},
    "place": {"type": "number", "default": -1},
}


def read(task, **more):
    return read_cases(task, "validation", limit=None, **{**SIZES, **more})


def judge_of(task, cases, name):
    return next(j for j in judges_of(task, cases) if j.spec.name == name)


def choice_task(folder, rows, metrics, **fields):
    return write_task(
        folder, rows, {"field": "answer"}, fields={**CHOICE, **fields},
        options={"field": "choices", "decode": "rank"}, metrics=metrics,
    )  # fmt: skip


ROWS = [
    {"answer": "b", "choices": ["a", "b", "c"], "gains": ["0", "1", "0.5"], "kind": "x"},
    {"answer": "a", "choices": ["a", "d"], "gains": [], "kind": "y"},
    {"answer": "c", "choices": ["a", "b", "c"], "gains": ["0", "0", "1"], "kind": "x"},
]


def test_a_ranking_is_judged_by_the_right_option(tmp_path):
    task = choice_task(tmp_path, ROWS, ["mrr", "accuracy"])
    cases = read(task).cases
    judge = judge_of(task, cases, "mrr")
    scores = [np.array(s) for s in ([0.3, 0.2, 0.1], [2.0, 1.0], [1.0, 1.0, 1.0])]
    found = judge([Text("?")] * 3, cases, scores)
    assert found.per_example == pytest.approx((1 / 2, 1, 1 / 2))  # second; first; the mean rank of three
    answered = judge([Text("b"), Text("d"), Text("a")], cases)  # the others are equally bad
    assert answered.per_example == pytest.approx((1, 1 / 2, 1 / 2.5))
    assert judge([Text("b")] * 3, cases, right_scores(judge, cases)).value == 1
    assert right_scores(judge_of(task, cases, "accuracy"), cases) is None


def test_references_of_a_ranking_are_places_or_relevances(tmp_path):
    metrics = [
        {"name": "mrr", "references": "place"},
        {"name": "visdial_ndcg", "references": "gains"},
    ]
    rows = [{**row, "place": i} for i, row in enumerate(ROWS)]
    task = choice_task(tmp_path, rows, metrics, gains={"type": "texts"})
    cases = read(task).cases
    by_place, by_gain = judges_of(task, cases)
    scores = [np.arange(len(c.example.options), 0, -1) for c in cases]  # in the order given
    assert by_place([Text("?")] * 3, cases, scores).per_example == pytest.approx((1, 1 / 2, 1 / 3))
    found = by_gain([Text("?")] * 3, cases, scores)
    assert math.isnan(found.per_example[1]) and "1 examples without a reference left out" in found.note
    first = (1 / math.log2(3)) / (1 + 0.5 / math.log2(3))  # k is 2: 0 then 1, at best 1 then 0.5
    assert found.per_example[0] == pytest.approx(first) and found.per_example[2] == 0
    rows[1]["place"] = 2
    task = choice_task(tmp_path, rows, metrics[:1])
    cases = read(task).cases
    with pytest.raises(
        UserError, match=r"t: metrics: 'mrr': rows.jsonl:2: the right option is 2, of options 0 to 1"
    ):
        judges_of(task, cases)[0]([Text("?")] * 3, cases)


def test_by_gives_the_score_of_each_group(tmp_path):
    task = choice_task(tmp_path, ROWS, [{"name": "accuracy", "by": "kind"}], kind={})
    cases = read(task).cases
    score = judges_of(task, cases)[0]([Text("b"), Text("a"), Text("b")], cases)
    assert score.value == pytest.approx(2 / 3)
    assert score.parts == {"x": 0.5, "y": 1.0}


def test_a_metric_is_given_the_values_of_other_fields(tmp_path):
    task = choice_task(tmp_path, ROWS, [{"name": "accuracy"}], kind={})
    cases = read(task).cases

    def same(predictions, references, kinds, factor=1):
        assert [k.text for k in kinds] == ["x", "y", "x"]
        return Score(float(factor), None, "", {"n": len(kinds)})

    spec = MetricSpec(name="accuracy", fields={"kinds": "kind"}, args={"factor": 3})
    score = Judge("accuracy", Metric("accuracy", "", True, same), spec)([Text("a")] * 3, cases)
    assert score.value == 3 and score.parts == {"n": 3}
    with pytest.raises(UserError, match="'accuracy' needs the field 'no', which rows.jsonl:1 does not have"):
        wrong = MetricSpec(name="accuracy", fields={"kinds": "no"})
        Judge("accuracy", Metric("accuracy", "", True, same), wrong)([Text("a")] * 3, cases)


# ------------------------------------------------------------------------------------------ pools

POOLED = [{"captions": ["red", "a cube"]}, {"captions": ["blue"]}, {"captions": ["red", "green", "a cone"]}]


def pool_task(folder, rows=POOLED, **more):
    return write_task(
        folder, rows, {"field": "captions"}, fields={"captions": {"type": "texts"}},
        options={"pool": "captions", "decode": "rank"}, metrics=["retrieval", "mrr"], **more,
    )  # fmt: skip


def test_pooled_options_are_the_strings_of_all_rows(tmp_path):
    task = pool_task(tmp_path)
    cases = read(task).cases
    options = ("red", "a cube", "blue", "red", "green", "a cone")
    assert all(case.example.options is cases[0].example.options for case in cases)
    assert cases[0].example.options == options
    assert [case.own for case in cases] == [range(0, 2), range(2, 3), range(3, 6)]
    retrieval = judge_of(task, cases, "retrieval")
    assert retrieval.relevance(cases[0]).tolist() == [1, 1, 0, 0, 0, 0], "its own red, not the other's"
    perfect = retrieval([Text("red")] * 3, cases, right_scores(retrieval, cases))
    assert perfect.value == 1 and set(perfect.parts) >= {"TR R@1", "IR R@1"}
    # Images prefer each their last text, and the matrix's columns say which image a text prefers.
    matrix = np.array([[1, 2, 0, 0, 0, 0], [0, 0, 1, 9, 9, 0], [0, 0, 0, 1, 1, 2.0]])
    found = retrieval([Text("?")] * 3, cases, list(matrix))
    assert found.parts["TR R@1"] == pytest.approx(2 / 3)  # row 1 prefers the texts of image 2
    assert found.parts["IR R@1"] == pytest.approx(4 / 6)  # texts 3 and 4 prefer image 1


def test_training_has_no_pool(tmp_path):
    from unified.specs.build import build_example

    task = pool_task(tmp_path)
    values = read(task).cases[0].example.values
    built = build_example(task, values, key="k", rng=np.random.default_rng(0), training=True,
                          image_size=32, target_size=16)  # fmt: skip
    assert built.options == ("red", "a cube"), "the row's own, and nobody else's"
    assert isinstance(built.target, tuple) and built.target[0] in built.options


def test_a_pool_is_ranked_with_the_memory_of_each_image(run, tmp_path, monkeypatch):
    """Chunks, lengths and batches change nothing: each score is the model's own for that text."""
    loaded = load_model_folder(run, "cpu")
    rows = [{"captions": [f"a cube {i} " + "and a cone " * (i % 3), "red"]} for i in range(5)]
    task = pool_task(tmp_path, rows)
    sizes = {"image_size": loaded.processor.image_size, "target_size": loaded.processor.target_size}
    examples = [c.example for c in read(task, **sizes).cases]
    encoded = []
    encode = loaded.model.encode
    monkeypatch.setattr(loaded.model, "encode", lambda **inputs: encoded.append(1) or encode(**inputs))
    monkeypatch.setattr("unified.evaluation.predictor.CHUNK", 3)
    predictions = Predictor(loaded.model, loaded.processor, batch_size=2).predict(task, examples)
    assert len(encoded) == 3, "two, two and one, whatever the number of texts"
    for example, prediction in zip(examples, predictions, strict=True):
        assert prediction.option_scores.shape == (10,)
        alone = Predictor(loaded.model, loaded.processor).rank(task, example, example.options)
        np.testing.assert_allclose(prediction.option_scores, alone, atol=1e-4)
        assert prediction.value.text == example.options[int(np.argmax(alone))].strip()
        assert prediction.score == pytest.approx(max(alone), abs=1e-4)


# --------------------------------------------------------------------------------- without answers


def test_rows_without_answers_can_be_asked_for_a_submission(tmp_path):
    rows = [{"q": "a", "answer": "x", "kind": "k"}, {"q": "b"}, {"q": "c", "answer": None, "kind": "k"}]
    fields = {"q": {}, "answer": {}, "kind": {}, "id": {"path": "q"}}
    task = write_task(
        tmp_path, rows, {"field": "answer"}, fields=fields, metrics=[{"name": "accuracy", "by": "kind"}],
        submission={"file": "a.json", "row": {"id": "id", "a": "$answer"}},
    )  # fmt: skip
    assert answer_fields(task.spec) == {"answer", "kind"}
    found = read(task, unanswered=True)
    assert len(found.examples) == 3 and not found.skipped
    assert found.places == [0] and len(found.cases) == 1
    assert [e.target for e in found.examples] == [("x",), (), ()]
    strict = read(task)
    assert len(strict.examples) == 1 and len(strict.skipped) == 2
    asked = LoadedTask.of(
        task.spec.model_copy(
            update={"input": task.spec.input.model_copy(update={"eval_prompt": "{{ kind }} ?"})}
        ),
        task.path,
    )
    assert answer_fields(asked.spec) == {"answer"}, "what the prompt needs no row may lack"


def test_hidden_answers_may_be_an_empty_list_and_values_of_a_metric_too(tmp_path):
    """nocaps hides its captions as []; that no question of GQA follows from another is [] as well."""
    rows = [{"q": "a", "captions": ["x"], "entailed": []}, {"q": "b", "captions": [], "entailed": ["k"]}]
    fields = {"q": {}, "id": {"path": "q"}}
    fields |= {name: {"type": "texts", "path": name} for name in ("captions", "entailed")}
    task = write_task(
        tmp_path, rows, {"field": "captions"}, fields=fields,
        metrics=[{"name": "exact_match", "fields": {"entailed": "entailed"}}],
        submission={"file": "a.json", "row": {"id": "id", "a": "$answer"}},
    )  # fmt: skip
    found = read(task, unanswered=True)
    assert [e.values["entailed"] for e in found.examples] == [Texts(()), Texts(("k",))]
    assert found.places == [0]
