"""Captions, stories and inferences; what needs Java is skipped where there is none."""

from __future__ import annotations

import math
import shutil

import pytest

from unified.errors import UserError
from unified.evaluation.metrics import get_metric
from unified.values.types import Text, Texts

java = pytest.mark.skipif(shutil.which("java") is None, reason="needs a Java runtime")


def run(name, predictions, references, **args):
    return get_metric(name)(predictions, references, **args)


GOT = [Text("A dog runs over the grass."), Text("two men's bikes"), Text("a red kite (flying)")]
WANT = [
    Texts(("A dog is running across a field.", "A brown dog runs on grass.")),
    Texts(("Two bikes of two men", "two men's bicycles stand there")),
    Texts(("A kite flies high", "a red kite in the sky, flying", "someone flies a kite")),
]


@java
def test_captions_equal_cocoevalcap():
    """The chain of pycocoevalcap's COCOEvalCap.evaluate, SPICE apart: PTBTokenizer, then its scorers."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    tokenizer = PTBTokenizer()
    want = tokenizer.tokenize({i: [{"caption": c} for c in w.items] for i, w in enumerate(WANT)})
    got = tokenizer.tokenize({i: [{"caption": g.text}] for i, g in enumerate(GOT)})
    bleu, _ = Bleu(4).compute_score(want, got, verbose=0)
    ours = run("bleu", GOT, WANT)
    assert [*ours.parts.values(), ours.value] == pytest.approx(bleu)
    assert list(ours.parts) == ["BLEU-1", "BLEU-2", "BLEU-3"] and ours.note == "tokenizer: ptb"
    for name, scorer in (("cider", Cider()), ("rouge", Rouge())):
        value, each = scorer.compute_score(want, got)
        score = run(name, GOT, WANT)
        assert score.value == pytest.approx(value), name
        assert score.per_example == pytest.approx(tuple(each)), name
        assert score.note == "tokenizer: ptb"


@java
def test_meteor_equals_pycocoevalcap():
    """pycocoevalcap 1.2: PTBTokenizer, then Meteor().compute_score, on these captions."""
    score = run("meteor", GOT, WANT)
    assert score.value == pytest.approx(0.33951786748240503)
    assert score.per_example == pytest.approx((0.316458024250408, 0.3828314915374527, 0.32829530035898663))
    assert score.note == "tokenizer: ptb"
    dirty = run("meteor", [Text("a red cube"), Text(""), Text("x ||| y")], [Text("a red cube")] * 3)
    assert dirty.per_example[0] == pytest.approx(1.0) and dirty.per_example[1:] == (0.0, 0.0)


VIST = (
    (0.4770670298327197, 0.13726199543031226),
    (0.5433284106032433, 0.7894201020651841, 0.14625),
)


@java
def test_vist_takes_the_best_reference_of_each_story():
    """windx0303/VIST-Challenge-NAACL-2018, commit b04bf1d: the calls of EvalVISTSharedTask.java (a
    MeteorConfiguration, setTask("hter"), getMeteorStats(story, reference).score) on these strings by METEOR
    1.5."""
    got = [Text("we went to the park . the kids played ."), Text("everyone is happy .")]
    want = [
        Texts(("the family walked to a park . children played all day .", "it was a long trip .")),
        Texts(("the crowd was happy .", "everyone is happy today .", "they ate cake .")),
    ]
    score = run("vist_meteor", got, want)
    assert score.per_example == pytest.approx(tuple(max(scores) for scores in VIST))
    assert score.value == pytest.approx(sum(max(scores) for scores in VIST) / 2)


def test_programs_without_java_say_so(monkeypatch):
    monkeypatch.setattr("unified.evaluation.metrics.captions.has_java", lambda: False)
    for name in ("meteor", "vist_meteor", "spice"):
        score = run(name, GOT, WANT)
        assert math.isnan(score.value) and "not computed" in score.note and "no `java`" in score.note
    score = run("visualcomet", GOT, WANT)
    assert "METEOR" not in score.parts and score.note == "tokenizer: plain; METEOR left out (no Java)"
    assert run("cider", GOT, WANT).note == "tokenizer: plain"


@java
def test_spice_without_its_models_says_how_to_get_them(monkeypatch):
    monkeypatch.setattr("unified.evaluation.metrics.meteor.SPICE_MODELS", "not-there.jar")
    score = run("spice", GOT, WANT)
    assert math.isnan(score.value) and "get_stanford_models" in score.note


def test_spice_reads_what_the_program_answers(monkeypatch, tmp_path):
    """The Java program is replaced by one that answers with its own example of two captions."""
    from pycocoevalcap.spice import spice as program

    class Spice:
        def compute_score(self, gts, res):
            assert list(gts) == list(res) == [0, 1]
            kinds = ("All", "Object", "Attribute", "Relation")
            figures = [(0.5, 0.8, math.nan, 0.2), (0.1, 0.2, 0.4, 0.0)]
            each = [{k: {"f": f} for k, f in zip(kinds, one, strict=True)} for one in figures]
            return 0.3, each

    monkeypatch.setattr(program, "Spice", Spice)
    monkeypatch.setattr("unified.evaluation.metrics.captions.has_java", lambda: True)
    monkeypatch.setattr("unified.evaluation.metrics.meteor.SPICE_MODELS", "../spice.py")
    score = run("spice", GOT[:2], WANT[:2], tokenizer="plain")
    assert (score.value, score.per_example) == (0.3, (0.5, 0.1))
    assert dict(score.parts) == pytest.approx({"Object": 0.5, "Attribute": 0.4, "Relation": 0.1})


def test_bad_arguments():
    with pytest.raises(UserError, match="'moses' is none; there are: auto, ptb, plain"):
        run("cider", GOT, WANT, tokenizer="moses")
    with pytest.raises(UserError, match="n is a whole number above 0, not 0"):
        run("bleu", GOT, WANT, n=0)


# ---------------------------------------------------------------------------------- VisualCOMET


def test_visualcomet_scores_each_generated_sentence(monkeypatch):
    monkeypatch.setattr("unified.evaluation.metrics.captions.has_java", lambda: False)  # METEOR takes seconds
    got = [Texts(("greet <|det2|>", "ask 3 to dance")), Text("leave"), Text("eat")]
    want = [Texts(("greet 2", "wave")), Texts(()), Texts(("eat a cake", "eat dinner"))]
    score = run("visualcomet", got, want, tokenizer="plain")
    flat = run(
        "cider", [Text("greet 2"), Text("ask 3 to dance"), Text("eat")], [want[0], want[0], want[2]],
        tokenizer="plain",
    )  # fmt: skip
    assert score.value == pytest.approx(flat.value)
    assert score.per_example[0] == pytest.approx(sum(flat.per_example[:2]) / 2)
    assert math.isnan(score.per_example[1]) and score.per_example[2] == flat.per_example[2]
    bleu = run("bleu", [Text("greet 2"), Text("ask 3 to dance"), Text("eat")], [want[0], want[0], want[2]],
               n=2, tokenizer="plain")  # fmt: skip
    assert score.parts["BLEU-2"] == pytest.approx(bleu.value)
    assert math.isnan(run("visualcomet", [Text("a")], [Texts(())]).value)


@java
def test_visualcomet_as_the_official_script_computes_it():
    """jamespark3922/visual-comet, commit 30eff8a, scripts/evaluate_generation.py: compute_metric_inference
    on these (two generations an image and relation): Bleu_2, METEOR, CIDEr."""
    score = run("visualcomet", VISUALCOMET_GOT, VISUALCOMET_WANT)
    assert score.value == pytest.approx(3.077422795136019)
    assert score.parts["BLEU-2"] == pytest.approx(0.5903951421534216)
    assert score.parts["METEOR"] == pytest.approx(0.39473069460470234)


VISUALCOMET_GOT = [
    Texts(("greet <|det2|> by kissing her hand", "ask 3 to dance")),
    Texts(("dress in formal attire", "get out of the car")),
    Texts(("order a drink", "order a drink")),
]
VISUALCOMET_WANT = [
    Texts(("ask 3 to dance", "greet her by kissing her hand")),
    Texts(("introduce himself to 3", "dress in formal attire", "be invited to a dinner party")),
    Texts(("order a drink from the server",)),
]


def test_acc50():
    scores = [[0.1, 0.9, 0.8, 0.7], [0.5, 0.4, 0.3, 0.2], [0.0, 0.0, 0.0, 0.0]]
    right = [Texts(("1", "1", "0", "0")), [1, 0, 0, 0], Texts(("0", "0", "1", "0"))]
    # of the two true ones of the first, one is among the two best; in the last, the tie goes to the first
    assert run("visualcomet_acc50", scores, right).per_example == (0.5, 1.0, 0.0)
    assert run("visualcomet_acc50", [[0.2, 0.3]], [1]).value == 1.0
