"""MOSI, MOSEI and SIMS against MMSA's metricsTop.py and by hand."""

from __future__ import annotations

import math

import pytest

from unified.errors import UserError
from unified.evaluation.metrics import get_metric
from unified.values.types import Number, Text


def run(name, predictions, references, **args):
    return get_metric(name)(predictions, references, **args)


def numbers(*values):
    return [Number(v) for v in values]


# metricsTop.py of thuiar/MMSA (a94e65d), regression; it rounds to four decimals.
SAID = numbers(-2.6, -0.4, 0.0, 0.5, 1.5, 3.4, -0.1, 0.2, 2.5, -3.9)
TRUE = numbers(-3.0, -0.2, 0.0, -0.5, 1.4, 2.8, 0.0, -0.6, 2.4, -1.6)


def test_mosi_against_the_official_script():
    acc2, f1 = run("mosi_acc2", SAID, TRUE), run("mosi_f1", SAID, TRUE)
    assert acc2.parts == pytest.approx({"Has0": 0.7, "Non0": 0.75}) and acc2.value == pytest.approx(0.7)
    assert f1.parts == pytest.approx({"Has0": 0.697, "Non0": 0.75}, abs=5e-5) and f1.value == f1.parts["Has0"]
    assert run("mosi_acc5", SAID, TRUE).value == pytest.approx(0.8)
    assert run("mosi_acc7", SAID, TRUE).value == pytest.approx(0.7)
    assert run("mae", SAID, TRUE).value == pytest.approx(0.56)
    assert run("pearson", SAID, TRUE).value == pytest.approx(0.9131, abs=5e-5)


def test_sims_against_the_official_script():
    said = numbers(-0.7, -0.1, 0.0, 0.1, 0.3, 1.2, -0.8, 0.05, 0.71, -0.65)
    true = numbers(-0.8, -0.1, 0.1, -0.1, 0.2, 1.0, -0.7, 0.0, 0.7, -0.8)
    for classes, value in ((2, 0.7), (3, 0.9), (5, 0.7)):
        assert run("sims_accuracy", said, true, classes=classes).value == pytest.approx(value)
    assert run("sims_f1", said, true).value == pytest.approx(0.703, abs=5e-5)
    assert run("mae", said, true, clip=1).value == pytest.approx(0.081)
    assert run("pearson", said, true, clip=1.0).value == pytest.approx(0.9866, abs=5e-5)


def test_rounding_goes_to_the_even_number():
    # 0.5 -> 0, 1.5 -> 2, 2.5 -> 2 for seven classes; cut to 2 for five
    score = run("mosi_acc7", numbers(0.5, 1.5, 2.5, 9.0), numbers(0.0, 2.0, 3.0, 3.0))
    assert score.per_example == (1.0, 1.0, 0.0, 1.0)
    assert run("mosi_acc5", numbers(2.5), numbers(3.0)).value == 1.0


def test_zero_is_not_negative_in_mosi_and_negative_in_sims():
    score = run("mosi_acc2", numbers(0.0, 0.0), numbers(0.0, 1.0))
    assert score.parts == {"Has0": 1.0, "Non0": 0.0}
    assert run("sims_accuracy", numbers(0.0), numbers(-1.0)).value == 1.0


def test_without_examples_that_are_not_zero():
    assert math.isnan(run("mosi_acc2", numbers(1.0), numbers(0.0)).parts["Non0"])
    assert math.isnan(run("mosi_f1", numbers(1.0), numbers(0.0)).parts["Non0"])


def test_weighted_f1_by_hand():
    # not negative: 2 true, 1 said and right: F1 2/3. Negative: 1 true, 2 said, 1 right: F1 2/3.
    assert run("mosi_f1", numbers(1, -1, -1), numbers(1, 1, -1)).value == pytest.approx(2 / 3)
    # a class that is only predicted has no weight: two right of three: F1 = 2 x 2 / (2 + 3)
    assert run("mosi_f1", numbers(1, 1, -1), numbers(1, 1, 1)).value == pytest.approx(0.8)


def test_unreadable_answers_count_as_zero():
    score = run("mosi_acc7", [Text("very positive"), Text("1.2")], numbers(0.0, 1.0))
    assert score.value == 1.0 and score.note == "1 unreadable predictions counted as 0"


def test_bad_arguments():
    with pytest.raises(UserError, match="classes must be 2, 3 or 5, not 7"):
        run("sims_accuracy", numbers(0.0), numbers(0.0), classes=7)
    with pytest.raises(UserError, match="clip must be a number above 0"):
        run("mae", numbers(0.0), numbers(0.0), clip=-1)
