"""Phrases and words grounded in boxes, by hand and as the official evaluators compute them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unified.errors import UserError
from unified.evaluation.metrics import get_metric
from unified.evaluation.metrics.phrases import grounded_sentence, lemma
from unified.values.types import Boxes, GroundedText, Texts


def boxes(*rows, scores=None):
    return Boxes(
        np.array(rows, np.float64).reshape(-1, 4), None, None if scores is None else np.array(scores)
    )


def grounded(text, *placed):
    """Text with (phrase, boxes...) in order of the text."""
    spans, rows, position = [], [], 0
    for phrase, *some in placed:
        start = text.index(phrase, position)
        position = start + len(phrase)
        spans += [(start, position)] * len(some)
        rows += some
    return GroundedText(text, tuple(spans), boxes(*rows))


def run(name, predictions, references, **args):
    return get_metric(name)(predictions, references, **args)


A, B, FAR = [0, 0, 10, 10], [10, 0, 20, 10], [90, 90, 99, 99]
HALF = [0, 0, 10, 5]


# ------------------------------------------------------------------------------- phrase recall

# (ranked predicted boxes, true boxes, types) of phrases
PHRASES = [
    ([A], [A], ("people",)),
    ([FAR, HALF], [A], ("people", "clothing")),  # second, at exactly 0.5
    ([FAR] * 6 + [A], [A, FAR[:2] + [200, 200]], ("other",)),  # seventh
    ([A], [A, B], ("clothing",)),  # one of two; of the merged box, exactly a half
    ([[0, 0, 20, 10]], [A, B], ("people",)),  # the merged box; of each, exactly a half
    ([[0, 0, 20, 10]], [A, [50, 0, 60, 10]], ("other",)),  # IoU 0.5 with the first, 1/3 with the merged
    ([FAR] * 11 + [B], [B], ("people",)),  # twelfth
    ([[0, 0, 9, 4]], [A], ("other",)),  # nowhere
]


OFFICIAL_RECALL = {
    "any": {
        1: {"all": 0.5, "people": 0.5, "clothing": 0.5, "other": 1 / 3},
        5: {"all": 0.625, "people": 0.75, "clothing": 1.0, "other": 1 / 3},
        10: {"all": 0.75, "people": 0.75, "clothing": 1.0, "other": 2 / 3},
        -1: {"all": 0.875, "people": 1.0, "clothing": 1.0, "other": 2 / 3},
    },
    "merged": {
        1: {"all": 0.375, "people": 0.5, "clothing": 0.5, "other": 0.0},
        5: {"all": 0.5, "people": 0.75, "clothing": 1.0, "other": 0.0},
        10: {"all": 0.5, "people": 0.75, "clothing": 1.0, "other": 0.0},
        -1: {"all": 0.625, "people": 1.0, "clothing": 1.0, "other": 0.0},
    },
}


@pytest.mark.parametrize("protocol", ["any", "merged"])
def test_phrase_recall_as_the_official_evaluator_computes_it(protocol):
    """ashkamath/mdetr, commit ea09acc, datasets/flickr_eval.py: Flickr30kEntitiesRecallEvaluator (the code
    that MDETR's and GLIP's tables come from) on these phrases, merge_boxes false and true; topk 1, 5, 10,
    -1."""
    score = run(
        "phrase_recall",
        [boxes(*got) for got, _, _ in PHRASES],
        [boxes(*want) for _, want, _ in PHRASES],
        protocol=protocol,
        types=[Texts(types) for *_, types in PHRASES],
    )
    official = OFFICIAL_RECALL[protocol]
    assert score.value == pytest.approx(official[1]["all"])
    assert score.parts["R@5"] == pytest.approx(official[5]["all"])
    assert score.parts["R@10"] == pytest.approx(official[10]["all"])
    assert score.parts["upper bound"] == pytest.approx(official[-1]["all"])
    for name in ("people", "clothing", "other"):
        assert score.parts[f"R@1 {name}"] == pytest.approx(official[1][name])
    assert protocol in score.note


def test_phrase_recall_by_hand():
    got = [boxes(FAR, A), boxes(A), boxes()]
    want = [boxes(A), boxes(A), boxes(B)]
    score = run("phrase_recall", got, want)
    assert score.per_example == (0, 1, 0) and score.value == pytest.approx(1 / 3)
    assert score.parts["R@5"] == score.parts["upper bound"] == pytest.approx(2 / 3)
    ranked = [boxes(FAR, A, scores=(0.1, 0.7))]
    assert run("phrase_recall", ranked, [boxes(A)]).value == 1.0  # by score, not by place
    tied = [boxes(FAR, A, scores=(0.7, 0.7))]
    assert run("phrase_recall", tied, [boxes(A)]).value == 0.0  # ties stay in order
    assert math.isnan(run("phrase_recall", [boxes(A)], [boxes()]).value)  # no true box: no phrase
    with pytest.raises(UserError, match="there are: any, merged"):
        run("phrase_recall", got, want, protocol="union")


def test_phrase_recall_of_a_caption():
    want = grounded("A man holds a dog near a dog .", ("A man", A), ("a dog", B), ("a dog", FAR))
    same = grounded("a man, a dog, a dog", ("a man", A), ("a dog", B), ("a dog", FAR))
    assert run("phrase_recall", [want], [want]).value == 1.0
    assert run("phrase_recall", [same], [want]).value == 1.0
    crossed = grounded("A man holds a dog near a dog .", ("A man", A), ("a dog", FAR), ("a dog", B))
    assert run("phrase_recall", [crossed], [want]).value == pytest.approx(1 / 3)
    two = grounded("people", ("people", A, B))
    assert run("phrase_recall", [grounded("people", ("people", FAR, B))], [two]).parts["R@5"] == 1.0
    score = run("phrase_recall", [same, grounded("")], [want, two])
    assert score.value == pytest.approx(3 / 4) and score.per_example == (1, 0)  # phrases weigh the same
    with pytest.raises(TypeError, match="boxes are predicted"):
        run("phrase_recall", [boxes(A)], [want])


# --------------------------------------------------------------------------- grounded captions


@pytest.mark.parametrize(
    ("plural", "singular"),
    [
        ("dogs", "dog"), ("ladies", "lady"), ("boxes", "box"), ("men", "man"), ("Women", "woman"),
        ("glasses", "glasses"), ("bus", "bus"), ("grass", "grass"), ("horses", "horse"), ("shoes", "shoe"),
        ("benches", "bench"), ("children", "child"), ("gas", "gas"), ("people", "people"),
    ],
)  # fmt: skip
def test_lemma(plural, singular):
    assert lemma(plural) == singular


def test_grounded_sentence():
    sentence = grounded_sentence(
        grounded("Two young men watch the dogs .", ("Two young men", A, B), ("the dogs", FAR))
    )
    assert [name for name, _ in sentence.objects] == ["man", "dog"]
    assert sentence.objects[0][1].tolist() == [A, B]
    assert sentence.others == {"two", "young", "watch", "the"}


REFERENCES = [
    grounded("a man throws a ball to a dog on grass", ("a man", A), ("a ball", B), ("a dog", FAR)),
    grounded("a man and a man ride a horse", ("a man", A), ("a man", B), ("a horse", FAR, A)),
    grounded("a woman sings"),
    grounded("a woman holds a cup", ("a woman", [5, 5, 40, 40]), ("a cup", [5, 5, 5, 5])),
    grounded("a dog runs", ("a dog", A)),
    grounded("a bike", ("a bike", A)),
]
PREDICTIONS = [
    # the ball's box is wrong, grass is named in the reference but not boxed, the cat is made up, no dog
    grounded(
        "a man throws a ball on grass to a cat", ("a man", A), ("a ball", FAR), ("grass", A), ("a cat", B)
    ),
    # the first man counts; the second true box of the horse is hit (one pixel more than a half)
    grounded("a man on a horse and a man", ("a man", B), ("a horse", [0, 0, 10, 5]), ("a man", A)),
    grounded("a woman and a cat", ("a woman", A), ("a cat", B)),
    # a box of one pixel is never right
    grounded("a woman holds a cup", ("a woman", [6, 6, 40, 40]), ("a cup", [5, 5, 5, 5])),
    grounded("a dog and a dog", ("a dog", A), ("a dog", FAR)),
    grounded("nothing at all"),
]
OFFICIAL_F1 = {
    "all": (
        0.4523809523809524,
        0.4523809523809524,
        0.4523809523809524,
        1 / 3,
        0.4166666666666667,
        0.3611111111111111,
    ),
    "loc": (
        0.4523809523809524,
        0.5238095238095238,
        0.48548199767711964,
        0.4333333333333333,
        0.5333333333333333,
        0.4666666666666666,
    ),
}


def test_grounded_caption_f1_as_the_official_script_computes_it():
    """facebookresearch/ActivityNet-Entities, commit eb455f7, scripts/eval_grd_anet_entities.py:
    grd_eval("all") and grd_eval("loc") on these sentences as segments of one frame, each head word's class
    given in `process_clss` and `clss`; CoreNLP's lemmas replaced by the words themselves, which are all
    singular."""
    score = run("grounded_caption_f1", PREDICTIONS, REFERENCES)
    for mode in ("all", "loc"):
        precision, recall, f1, _, _, sentence_f1 = OFFICIAL_F1[mode]
        assert (score.value if mode == "all" else score.parts["F1_loc"]) == pytest.approx(f1)
        assert score.parts[f"precision_{mode}"] == pytest.approx(precision)
        assert score.parts[f"recall_{mode}"] == pytest.approx(recall)
        assert score.parts[f"F1_{mode} per sentence"] == pytest.approx(sentence_f1)


def test_grounded_caption_f1_by_hand():
    want = [grounded("a man and a dog", ("a man", A), ("a dog", B))]
    got = [grounded("two men and a cat", ("two men", A), ("a cat", B))]
    # classes man, dog. Precision: man 1, dog has none (the cat is no class here): 1/2; recall: 1/2
    score = run("grounded_caption_f1", got, want)
    assert score.value == pytest.approx(0.5)
    assert score.parts["F1_loc"] == pytest.approx(0.5)  # still averaged over both classes
    assert score.per_example == pytest.approx((0.5,))  # of the sentence: 1 of 2 said, 1 of 2 true
    assert run("grounded_caption_f1", want, want).value == 1.0
    nothing = run("grounded_caption_f1", [grounded("a sky")], want)
    assert (nothing.value, nothing.parts["F1_loc"]) == (0, 0)
    assert math.isnan(run("grounded_caption_f1", got, [grounded("a sky")]).value)
