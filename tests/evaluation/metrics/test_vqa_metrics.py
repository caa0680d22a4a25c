"""VQA accuracy by the official rules, OK-VQA, A-OKVQA and VizWiz."""

from __future__ import annotations

import math

import pytest

from unified.errors import UserError
from unified.evaluation.metrics import get_metric
from unified.evaluation.metrics.okvqa import stem
from unified.values.types import Label, Number, Text, Texts


def run(name, predictions, references, **args):
    return get_metric(name)(predictions, references, **args)


def answers(*groups):
    """answers(("red", 3), ("blue", 7)): ten human answers."""
    return Texts(tuple(name for name, count in groups for _ in range(count)))


ROWS = [
    ("Two dogs.", "two dogs|2 dogs|2 dogs|2 dogs|two dogs|two dogs|dogs|2|2|two"),
    ("none", "0|0|none|none|none|none|0|zero|zero|nothing"),
    ("Yes", "yes|yes|yes|yes|yes|yes|yes|yes|yes|yes"),
    ("yes", "yes|yes|yes|yes|yes|yes|yes|yes|yes|no"),
    (
        "a red, shiny car",
        "red, shiny car|red shiny car|red shiny car|the red shiny car|car|car|red car|red-shiny car|"
        "red shiny car!|a car",
    ),
    (
        "dont know",
        "don't know|dont know|don't know|don't know|unsure|idk|no idea|don't know|unknown|maybe",
    ),
    ("1,000", "1000|1000|1,000|1,000|1,000|100|100|10|1|1000"),
    ("", "||nothing|nothing|blank|blank|empty|white|none|the"),
    ("café", "café|cafe|café|bar|bar|bar|Café|coffee shop|café|shop"),
    ("the", "the|a|an|it|it|it|it|it|it|it"),
    ("10:30 a.m.", "10:30|10:30 am|10:30 am|10:30 am|10:30|1030|10:30 a.m.|10:30 a.m.|10:30 a.m.|10"),
    ("one", "one|one|one|one|one|one|one|one|one|one"),
]
# What the official scripts gave on ROWS, each question's accuracy: vqaEval.py of GT-Vision-Lab/VQA (its print
# statements made calls, no more) at commits a4f1afd and a013f00, and VizWiz's VQAEval as
# TRI-ML/vlm-evaluation holds it at d9f5896.
OFFICIAL = {
    ("vqa_accuracy", 2017): (77.5, [90, 90, 100, 100, 100, 100, 100, 60, 90, 0, 100, 0]),
    ("vqa_accuracy", 2021): (90.0, [100, 100, 0, 100, 100, 100, 100, 90, 100, 90, 100, 100]),
    ("vizwiz_accuracy", None): (64.1667, [90, 90, 100, 100, 60, 0, 90, 60, 90, 0, 90, 0]),
}


@pytest.mark.parametrize(("name", "rules"), list(OFFICIAL))
def test_the_official_scripts_figures(name, rules):
    predictions = [Text(said) for said, _ in ROWS]
    references = [Texts(tuple(humans.split("|"))) for _, humans in ROWS]
    score = run(name, predictions, references, **({"rules": rules} if rules else {}))
    value, each = OFFICIAL[name, rules]
    assert 100 * score.value == pytest.approx(value, abs=1e-4)
    assert [100 * s for s in score.per_example] == pytest.approx(each)


def test_rules_that_are_none():
    with pytest.raises(UserError, match="rules must be 2017 or 2021.*not 2015"):
        run("vqa_accuracy", [Text("a")], [answers(("a", 10))], rules=2015)


def test_vizwiz_writes_contractions_with_a_typographic_apostrophe():
    typographic = answers(("don\u2019t know", 10))
    assert run("vizwiz_accuracy", [Text("dont know")], [typographic]).value == 1.0
    assert (
        run("vizwiz_accuracy", [Text("cant")], [answers(("can't", 10))]).value == 1.0
    )  # one of its straight ones
    assert run("vizwiz_accuracy", [Text("The cat")], [Text("a cat")]).value == 1.0  # one answer counts as ten


# ------------------------------------------------------------------------------ unanswerable


def test_unanswerable_by_scores():
    # sklearn 1.9.1 on 1 - answerability: average_precision_score 0.7222..., f1_score (> 0.5) 0.5714...
    # By hand: thresholds 0.9, 0.8, 0.1 add recall: (1/1 + 2/3 + 3/6) / 3 = 0.7222.
    said = [Number(x) for x in (0.1, 0.2, 0.2, 0.7, 0.4, 0.9)]
    truth = [Number(float(x)) for x in (0, 1, 0, 1, 1, 0)]
    score = run("vizwiz_unanswerable", said, truth)
    assert score.value == pytest.approx(0.7222222222)
    assert score.parts == {"F1": pytest.approx(0.5714285714)}


def test_unanswerable_by_words():
    # the copy in TRI-ML/vlm-evaluation: AP 33.3333, F1 0 (4 of 12 are unanswerable, none is said to be)
    truth = [Text(str(x)) for x in (1, 1, 0, 1, 0, 1, 1, 0, 1, 1, 1, 0)]
    score = run("vizwiz_unanswerable", [Text(said) for said, _ in ROWS], truth)
    assert score.value == pytest.approx(1 / 3) and score.parts["F1"] == 0.0
    # one of two found, nothing else called so: AP = 1/1 x 1/2 + 2/4 x 1/2, F1 = 2/3
    said = [Text("Unanswerable."), Text("no"), Text("cat"), Text("0")]
    score = run(
        "vizwiz_unanswerable", said, [Label("unanswerable"), Text("answerable"), Number(0.0), Number(1.0)]
    )
    assert score.value == pytest.approx(0.75) and score.parts["F1"] == pytest.approx(2 / 3)


def test_unanswerable_without_such_questions_and_with_bad_values():
    score = run("vizwiz_unanswerable", [Text("cat")], [Number(1.0)])
    assert math.isnan(score.value) and math.isnan(score.parts["F1"]) and "answerable" in score.note
    with pytest.raises(UserError, match="'2.0' is no prediction, from 0 to 1"):
        run("vizwiz_unanswerable", [Number(2.0)], [Number(1.0)])
    with pytest.raises(UserError, match="'maybe' is no reference, 0 or 1"):
        run("vizwiz_unanswerable", [Text("cat")], [Text("maybe")])


# ------------------------------------------------------------------------------------ okvqa


@pytest.mark.parametrize(
    ("word", "stemmed"),
    [
        # as WordNet's lemmatizer has them
        ("riding", "ride"), ("surfing", "surf"), ("running", "run"), ("making", "make"), ("dancing", "dance"),
        ("eating", "eat"), ("falling", "fall"), ("charging", "charge"), ("hanging", "hang"), ("lying", "lie"),
        ("breathing", "breathe"), ("ceiling", "ceiling"), ("something", "something"), ("king", "king"),
        # as the inflection package has them
        ("dogs", "dog"), ("boxes", "box"), ("knives", "knife"), ("wolves", "wolf"), ("berries", "berry"),
        ("potatoes", "potato"), ("shoes", "shoe"), ("horses", "horse"), ("people", "person"),
        # no plurals
        ("bus", "bus"), ("glass", "glass"), ("tennis", "tennis"), ("yes", "yes"), ("gas", "gas"),
        ("café", "café"), ("", ""),
    ],
)  # fmt: skip
def test_stems(word, stemmed):
    assert stem(word) == stemmed


def test_okvqa_accuracy():
    five = Texts(("ride", "ride", "race", "run", "jump"))
    ten = Texts(tuple(a for a in five.items for _ in range(2)))
    # four of ten: min(1, 4/3) or min(1, 3/3) = 1
    assert run("okvqa_accuracy", [Text("The riding")], [ten]).value == 1.0
    assert run("okvqa_accuracy", [Text("riding")], [five]).value == 1.0  # five answers count twice each
    # two of ten: 2 x 1/3 + 8 x 2/3, over ten
    assert run("okvqa_accuracy", [Text("jumping")], [ten]).value == pytest.approx(0.6)
    assert run("okvqa_accuracy", [Text("walking")], [ten]).value == 0.0
    assert run("okvqa_accuracy", [Text("")], [ten]).value == 0.0
    assert run("okvqa_accuracy", [Text("dogs")], [Text("dog")]).value == 1.0
    score = run("okvqa_accuracy", [Text("x"), Text("x")], [Texts(()), Text("x")])
    assert score.value == 1.0 and math.isnan(score.per_example[0]) and "without a reference" in score.note


def test_okvqa_learns_stems_from_the_raw_answers():
    raw = [Texts(("firefighters", "fire trucks", "hose", "truck", "men"))]
    stems = [Texts(("firefight", "fire truck", "hose", "truck", "men"))]
    said = [Text("Firefighters")]
    assert run("okvqa_accuracy", said, stems).value == 0.0
    assert run("okvqa_accuracy", said, stems, raw=raw).value == pytest.approx(0.6)
    with pytest.raises(UserError, match="1 raw answers for 5 answers in example 0"):
        run("okvqa_accuracy", said, stems, raw=[Texts(("hose",))])


# ----------------------------------------------------------------------------------- aokvqa


def test_aokvqa_direct_answers():
    references = [
        answers(("cat", 2), ("dog", 8)),
        answers(("cat", 3), ("dog", 7)),
        answers(("cat", 10)),
        answers(("Cat", 10)),
        answers(("a cat", 9), ("cat", 1)),
    ]
    difficult = [Text("False"), Label("false"), Text("true"), Number(0.0), Text("no")]
    score = run("aokvqa_direct", [Text("cat")] * 5, references, difficult=difficult)
    assert 100 * score.value == pytest.approx(
        50
    )  # eval_predictions.py of allenai/aokvqa 83786de: 49.99999999999999
    assert score.per_example == pytest.approx((2 / 3, 1, math.nan, 0, 1 / 3), nan_ok=True)
    assert score.note == "1 questions without a definite direct answer left out"
    # with no field all count: (2/3 + 1 + 1 + 0 + 1/3) / 5
    assert run("aokvqa_direct", [Text("cat")] * 5, references).value == pytest.approx(0.6)
    assert run("aokvqa_direct", [Text("cat")], [Text("cat")]).value == 1.0


def test_aokvqa_with_nothing_left_or_a_field_of_no_truth():
    row = [answers(("cat", 10))]
    assert math.isnan(run("aokvqa_direct", [Text("cat")], row, difficult=[Text("true")]).value)
    with pytest.raises(UserError, match="'perhaps' is neither true nor false"):
        run("aokvqa_direct", [Text("cat")], row, difficult=[Text("perhaps")])
