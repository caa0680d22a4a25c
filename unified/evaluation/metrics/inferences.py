"""VisualCOMET: inferences about what a person means to do, did before and will do next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from unified.evaluation.metrics import captions
from unified.evaluation.metrics.base import Score, mean_score, metric, relevance, strings
from unified.evaluation.metrics.captions import TokenizerName, bleu, cider
from unified.evaluation.metrics.meteor import meteor
from unified.values.types import Text, Texts, Value


@metric("visualcomet", unit="%")
def visualcomet(
    predictions: Sequence[Value], references: Sequence[Texts], tokenizer: TokenizerName = "auto"
) -> Score:
    """CIDEr of VisualCOMET's inferences (Park et al. 2020), with BLEU-2 and METEOR as parts, as
    jamespark3922/visual-comet scripts/evaluate_generation.py computes them: every generated sentence (a
    prediction of Texts holds several, officially five) against all reference sentences of its image and
    relation; rows without references are left out; marks `<|det` and `|>` of persons are dropped. `by:
    relation` gives the figures of intent, before and after. METEOR is absent without Java."""
    texts: list[Text] = []
    wanted: list[Texts] = []
    owner: list[int] = []
    for i, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
        said = strings(reference)
        for text in strings(prediction) if said else ():
            texts.append(Text(text.replace("<|det", "").replace("|>", "")))
            wanted.append(Texts(said))
            owner.append(i)
    if not texts:
        return Score(np.nan, (np.nan,) * len(predictions), "no example has references")
    score = cider(texts, wanted, tokenizer)
    parts = {"BLEU-2": bleu(texts, wanted, 2, tokenizer).value}
    if captions.has_java():
        parts["METEOR"] = meteor(texts, wanted, tokenizer).value
    assert score.per_example is not None
    each: list[list[float]] = [[] for _ in predictions]
    for i, one in zip(owner, score.per_example, strict=True):
        each[i].append(one)
    note = score.note if captions.has_java() else f"{score.note}; METEOR left out (no Java)"
    return Score(score.value, tuple(float(np.mean(e)) if e else np.nan for e in each), note, parts)


@metric("visualcomet_acc50", unit="%", ranks=True)
def visualcomet_acc50(predictions: Sequence[Any], references: Sequence[Any]) -> Score:
    """Acc@50 of VisualCOMET (Park et al. 2020; scripts/run_rank.py): of 50 candidate inferences, n of them
    true, the share of true ones among the n of best score, averaged over images and relations. Tied scores
    stay in the order of the candidates; officially the true ones come first, and the order of ties is
    open."""
    each = []
    for scores, reference in zip(predictions, references, strict=True):
        right = relevance(reference, len(scores)) > 0
        n = int(right.sum())
        best = np.argsort(-np.asarray(scores, np.float64), kind="stable")[:n]
        each.append(float(right[best].mean()) if n else np.nan)
    return mean_score(each)
