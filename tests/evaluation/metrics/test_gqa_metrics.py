"""GQA's figures and NLVR2's consistency, against numbers of the official scripts."""

from __future__ import annotations

import math

import pytest

from unified.errors import UserError
from unified.evaluation.metrics import get_metric
from unified.values.types import Label, Text, Texts

# key: true answer, prediction, balanced, structural, detailed, global group, entailed, valid, plausible
COLOURS = ("red", "blue", "green")
YES_NO = ("yes", "no")
QUESTIONS = {
    "a": ("red", "red", True, "query", "categoryAttr", "color", "abc", COLOURS, ("red", "green")),
    "b": ("yes", "yes", True, "verify", "existThat", "", "b", YES_NO, YES_NO),
    "c": ("no", "yes", False, "verify", "verifyAttr", "", "ab", YES_NO, YES_NO),
    "d": ("blue", "green", True, "query", "categoryAttr", "color", "b", COLOURS, ("blue",)),
    "e": ("left", "left", True, "choose", "chooseRel", "side", "cd", ("left", "right"), ("left", "right")),
    "f": ("red", "Red", True, "query", "categoryAttr", "color", "", COLOURS, ("red",)),
    "g": ("color", "material", True, "compare", "twoCommon", "common", "h", ("nothing",), ("nothing",)),
    "h": ("yes", "yes", True, "logical", "existAnd", "", "gb", YES_NO, YES_NO),
}
ROWS = list(QUESTIONS.values())
SAID = [Text(row[1]) for row in ROWS]
TRUE = [Text(row[0]) for row in ROWS]
BALANCED = [Text(str(row[2])) for row in ROWS]
DETAILED = [Text(row[4]) for row in ROWS]
KEYS = [Text(key) for key in QUESTIONS]
ENTAILED = [Texts(tuple(row[6])) for row in ROWS]


def run(name, predictions, references, **args):
    return get_metric(name)(predictions, references, **args)


# The numbers of this test are those of openvqa/datasets/gqa/eval/gqa_eval.py of MILVLG/openvqa (f8f9966),
# which is GQA's eval.py as a class, on QUESTIONS with EVAL_CONSISTENCY.
def test_the_official_scripts_figures():
    structural = [Label(row[3]) for row in ROWS]
    score = run("gqa_accuracy", SAID, TRUE, structural=structural, balanced=BALANCED)
    assert 100 * score.value == pytest.approx(57.14285714285714)
    assert {k: 100 * v for k, v in score.parts.items()} == pytest.approx({"binary": 75, "open": 33.333333333})
    score = run("gqa_consistency", SAID, TRUE, questions=KEYS, entailed=ENTAILED, balanced=BALANCED)
    assert 100 * score.value == pytest.approx(33.33333333333333)
    valid, plausible = ([Texts(row[i]) for row in ROWS] for i in (7, 8))
    score = run("gqa_validity", SAID, valid, detailed=DETAILED, balanced=BALANCED)
    assert 100 * score.value == pytest.approx(85.71428571428571)
    score = run("gqa_plausibility", SAID, plausible, detailed=DETAILED, balanced=BALANCED)
    assert 100 * score.value == pytest.approx(71.42857142857143)
    groups = [Text(row[5]) for row in ROWS]
    score = run("gqa_distribution", SAID, TRUE, groups=groups, balanced=BALANCED)
    assert score.value == pytest.approx(0.011)


def test_accuracy_of_all_questions_and_of_one_kind():
    assert run("gqa_accuracy", SAID, TRUE).value == pytest.approx(4 / 8)
    score = run("gqa_accuracy", [Text("yes")], [Text("yes")], structural=[Text("verify")])
    assert score.parts["binary"] == 1.0 and math.isnan(score.parts["open"])


def test_consistency_by_hand():
    # a: b is right, c is not in the set; e: nothing of its own in the set; d was wrong
    rows = [i for i, key in enumerate(QUESTIONS) if key in "abde"]
    args = {"questions": [KEYS[i] for i in rows], "entailed": [ENTAILED[i] for i in rows]}
    score = run("gqa_consistency", [SAID[i] for i in rows], [TRUE[i] for i in rows], **args)
    assert score.per_example == pytest.approx((1.0, math.nan, math.nan, 0.0), nan_ok=True)
    assert score.value == 0.5 and score.note == "2 entailed questions outside the evaluated set left out"
    nothing_right = run("gqa_consistency", [Text("?")] * 4, [TRUE[i] for i in rows], **args)
    assert nothing_right.value == 0.0
    alone = run(
        "gqa_consistency", [Text("yes")], [Text("yes")], questions=[Text("b")], entailed=[Texts(("b",))]
    )
    assert math.isnan(alone.value)


def test_validity_of_common_questions():
    # "what do both have in common?": the official valid answers are the three names, whatever the file says
    said = [Text("shape"), Text("nothing")]
    listed = [Texts(("nothing",))] * 2
    assert run("gqa_validity", said, listed, detailed=[Text("sameCommon")] * 2).per_example == (1.0, 0.0)
    assert run("gqa_validity", said, listed).per_example == (0.0, 1.0)


def test_distribution_by_hand():
    # group x: true 3 red, 1 blue; said 1 red, 3 green: 4/3 + 1 = 7/3, of 4 questions. Group y: exact, of 2.
    said = [Text(w) for w in ("red", "green", "green", "green", "up", "up", "zzz")]
    true = [Text(w) for w in ("red", "red", "red", "blue", "up", "up", "abc")]
    groups = [Text(g) for g in ("x", "x", "x", "x", "y", "y", "None")]
    assert run("gqa_distribution", said, true, groups=groups).value == pytest.approx(7 / 3 * 4 / 6 / 100)
    assert run("gqa_distribution", true, true, groups=groups).value == 0.0
    nothing = run("gqa_distribution", said, true, groups=[Text("")] * 7)
    assert math.isnan(nothing.value) and nothing.note == "no question has a group"
    metric = get_metric("gqa_distribution")
    assert metric.better(0.0, 0.1)


# ------------------------------------------------------------------------------------ nlvr2

PAIRS = [
    ("dev-850-0-0", "True", "true"),
    ("dev-850-1-0", "False", "False"),
    ("dev-850-0-1", "True", "False"),
    ("dev-850-1-1", "True", "True"),
    ("dev-7-0-0", "False", "false"),
    ("dev-7-2-0", "True", "TRUE"),
    ("dev-9-0-2", "False", "True"),
]


def test_nlvr2_against_the_official_script():
    # nlvr2/eval/metrics.py of lil-lab/nlvr (1892484): accuracy=0.7142857142857143, consistency=0.5
    identifiers = [Text(i) for i, _, _ in PAIRS]
    said, true = [Text(p) for _, _, p in PAIRS], [Label(t) for _, t, _ in PAIRS]
    assert run("accuracy", said, true).value == pytest.approx(0.7142857142857143)
    assert run("nlvr2_consistency", said, true, identifiers=identifiers).value == 0.5


def test_nlvr2_sentences_of_other_splits_are_others():
    identifiers = [Text("dev-1-0-0"), Text("test1-1-0-0")]
    assert (
        run("nlvr2_consistency", [Text("true"), Text("")], [Text("true")] * 2, identifiers=identifiers).value
        == 0.5
    )
    with pytest.raises(UserError, match="'12' is no identifier split-set-pair-sentence"):
        run("nlvr2_consistency", [Text("true")], [Text("true")], identifiers=[Text("12")])
