"""SWiG's figures, by hand and as the official class computes them."""

from __future__ import annotations

import numpy as np
import pytest

from unified.evaluation.metrics import get_metric
from unified.evaluation.metrics.situations import read_situation
from unified.values.types import Boxes, GroundedText, Label, Text, Texts


def told(text, **boxes):
    """A situation's text with boxes on the nouns of these roles."""
    placed = []
    for role, box in boxes.items():
        start = text.index(f"{role}: ") + len(role) + 2
        end = text.find(",", start)
        placed.append(((start, len(text) if end < 0 else end), box))
    placed.sort()
    rows = np.array([box for _, box in placed], float).reshape(-1, 4)
    return GroundedText(text, tuple(span for span, _ in placed), Boxes(rows))


def run(predictions, references, **args):
    return get_metric("situation")(predictions, references, **args)


def test_reads_situations():
    got = read_situation(told("Kicking, agent: young man, item: ball, place: nothing", item=[1, 2, 3, 4]))
    assert got.verb == "kicking"
    assert dict(got.nouns) == {"agent": "young man", "item": "ball", "place": "nothing"}
    assert list(got.boxes) == ["item"] and got.boxes["item"].tolist() == [1, 2, 3, 4]
    assert read_situation(Text("agent: man")).verb == ""
    assert read_situation(Text("kicking")).nouns == {}
    assert read_situation(Text("")).verb == ""
    assert dict(read_situation(Text("a, agent: x, agent: y")).nouns) == {"agent": "x"}


OFFICIAL = (0.9444444444444445, 0.8333333333333334, 0.8333333333333334, 0.6666666666666666)
WANT = [
    told("kicking, agent: man, item: ball, place: room", agent=[40, 15, 88, 58], item=[21, 44, 40, 63]),
    told("kicking, agent: woman, item: ball, place: room", agent=[0, 0, 20, 40]),
    told("waving, agent: man, bodypart: hand, place: room", agent=[13, 13, 48, 55]),
    told("standing, agent: dog, place: nothing", agent=[27, 18, 53, 61]),
]
FRAMES = [
    Texts(("agent: man, item: ball, place: room", "agent: man, item: foot, place: room",
           "agent: person, item: ball, place: field")),
    Texts(("agent: woman, item: ball, place: room",) * 3),
    Texts(("agent: man, bodypart: hand, place: room", "agent: man, bodypart: nothing, place: room",
           "agent: person, bodypart: arm, place: room")),
    Texts(("agent: dog, place: nothing",) * 3),
]  # fmt: skip
GOT = [
    # every noun was said by somebody; the item's box is moved too far (IoU 0.25)
    told("kicking, agent: person, item: foot, place: field", agent=[42, 15, 88, 58], item=[33, 44, 52, 63]),
    # a wrong noun; a box on a role without one
    told("kicking, agent: woman, item: stone, place: room", agent=[0, 0, 20, 40], place=[0, 0, 9, 9]),
    # the wrong verb
    told("kicking, agent: man, bodypart: hand, place: room", agent=[13, 13, 48, 55]),
    told("standing, agent: dog, place: nothing", agent=[27, 18, 53, 61]),
]


def test_top_1_by_hand():
    score = run(GOT, WANT, frames=FRAMES)
    assert score.value == 0.75 and score.per_example == (1, 1, 0, 1)
    # kicking: (3/3 + 2/3) / 2; waving 0; standing 1
    assert score.parts["value"] == pytest.approx((5 / 6 + 0 + 1) / 3)
    assert score.parts["value-all"] == pytest.approx((1 / 2 + 0 + 1) / 3)
    # kicking: (2/3: the item's box is off; 1/3: the noun, and a box that is not there) / 2
    assert score.parts["grounded value"] == pytest.approx((3 / 6 + 0 + 1) / 3)
    assert score.parts["grounded value-all"] == pytest.approx((0 + 0 + 1) / 3)
    assert run(GOT, WANT).parts["value"] == pytest.approx((1 / 3 + 0 + 1) / 3)  # only the first noun


def test_true_verb_as_the_official_class_computes_it():
    """allenai/swig, commit 70f2cb6, global_utils/imsitu_eval.py: BboxEval.update with the nouns and boxes of
    these pictures, verb_correct = 1: value, value_all, value_bbox, value_all_bbox."""
    verbs = [Label("kicking"), Label("kicking"), Label("waving"), Label("standing")]
    score = run([_without_verb(g) for g in GOT], [_without_verb(w) for w in WANT], frames=FRAMES, verbs=verbs)
    assert score.value == pytest.approx(OFFICIAL[0])
    assert dict(score.parts) == pytest.approx(
        {"value-all": OFFICIAL[1], "grounded value": OFFICIAL[2], "grounded value-all": OFFICIAL[3]}
    )


def _without_verb(value):
    cut = value.text.index(", ") + 2
    spans = tuple((start - cut, end - cut) for start, end in value.spans)
    return GroundedText(value.text[cut:], spans, value.boxes)


def test_top_5_takes_the_situation_of_the_right_verb():
    wrong = told("eating, agent: man")
    ranked = [[wrong, GOT[0]], [wrong] * 5 + [GOT[1]], [wrong, WANT[2]], [GOT[3]]]
    score = run(ranked, WANT, frames=FRAMES)
    assert score.per_example == (1, 0, 1, 1)  # the second is sixth
    assert score.parts["value"] == pytest.approx(((1 + 0) / 2 + 1 + 1) / 3)


def test_perfect_and_empty():
    perfect = run(WANT, WANT, frames=FRAMES)
    assert (perfect.value, *perfect.parts.values()) == (1,) * 5
    nothing = run([told("")] * 4, WANT, frames=FRAMES)
    assert (nothing.value, *nothing.parts.values()) == (0,) * 5
    with pytest.raises(TypeError, match="tells no role"):
        run([WANT[0]], [told("kicking")])


def test_boxes_count_pixels_inclusively():
    # 10 pixels wide and high against 10 x 6: 60 / 100 with + 1; without it 45 / 81 would do as well;
    # 10 x 5 is exactly a half, which is not more than a half
    want = [told("a, x: y", x=[0, 0, 9, 9])]
    assert run([told("a, x: y", x=[0, 0, 9, 5])], want).parts["grounded value"] == 1
    assert run([told("a, x: y", x=[0, 0, 9, 4])], want).parts["grounded value"] == 0
