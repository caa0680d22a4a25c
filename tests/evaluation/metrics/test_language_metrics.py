"""SQuAD and MRPC."""

from __future__ import annotations

import math

import pytest

from unified.evaluation.metrics import get_metric
from unified.values.types import Label, Text, Texts


def run(name, predictions, references, **args):
    return get_metric(name)(predictions, references, **args)


def test_squad_against_the_official_script():
    # evaluate-v1.1.py as huggingface/evaluate holds it (a7dd338, metrics/squad/compute_score.py):
    # exact_match 57.142857142857146, f1 61.42857142857143
    rows = [
        ("The Normans!", ("Normans", "the normans")),
        ("in the 10th century", ("10th century", "tenth century")),
        ("", ("the", "A")),
        ("Rollo of Norway", ("Rollo",)),
        ("café", ("Café",)),
        ("1,000", ("1000",)),
        ("", ("France",)),
    ]
    said, true = [Text(p) for p, _ in rows], [Texts(a) for _, a in rows]
    score = run("squad", said, true)
    assert 100 * score.value == pytest.approx(57.142857142857146)
    assert 100 * score.parts["F1"] == pytest.approx(61.42857142857143)
    assert score.parts["EM"] == score.value
    assert run("exact_match", said, true).value == score.value
    # both empty once normalised: v1.1 says EM 1 and F1 0, v2.0 (and `token_f1`) F1 1
    assert run("token_f1", said, true).value == pytest.approx(score.parts["F1"] + 1 / 7)


def test_squad_by_hand_and_without_answers():
    # "big red dog" and "red dog": 2 of 3 and 2 of 2: F1 0.8
    assert run("squad", [Text("a big red dog")], [Text("red dog")]).parts["F1"] == pytest.approx(0.8)
    score = run("squad", [Text("x"), Text("x")], [Texts(()), Text("x")])
    assert score.value == 1.0 and math.isnan(score.per_example[0])


def test_f1_of_one_class_against_sklearn():
    # sklearn 1.9.1: f1_score([1, 1, 0, 0, 1, 0, 1], [1, 0, 1, 0, 1, 1, 1]) = 0.6666666666666666
    names = ("not equivalent", "equivalent")
    true = [Label(names[i]) for i in (1, 1, 0, 0, 1, 0, 1)]
    said = [Text(names[i]) for i in (1, 0, 1, 0, 1, 1, 1)]
    assert run("f1_binary", said, true, positive="Equivalent").value == pytest.approx(0.6666666666666666)
    # the other class: 1 right, 2 said, 3 true
    assert run("f1_binary", said, true, positive="not equivalent").value == pytest.approx(2 / 5)


def test_f1_of_a_class_that_does_not_occur():
    score = run("f1_binary", [Text("no")], [Text("no")], positive="yes")
    assert score.value == 0.0 and score.note == "no reference is 'yes'"
    assert run("f1_binary", [Text("")], [Text("yes")], positive="yes").value == 0.0
