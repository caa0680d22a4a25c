"""NLVR2's consistency; its accuracy is `accuracy`."""

from __future__ import annotations

from collections.abc import Sequence

from unified.errors import UserError
from unified.evaluation.metrics.base import Score, metric, strings
from unified.values.types import Value


@metric("nlvr2_consistency", unit="%")
def nlvr2_consistency(
    predictions: Sequence[Value], references: Sequence[Value], identifiers: Sequence[Value]
) -> Score:
    """Share of the unique sentences of which every pair of images was judged rightly (Suhr et al. 2019;
    nlvr2/eval/metrics.py of lil-lab/nlvr 1892484). `identifiers`: `split-set-pair-sentence`; rows that differ
    only in the third part are of one sentence. Case apart, as there. The accuracy beside it is `accuracy`."""
    sentences: dict[tuple[str, ...], bool] = {}
    for prediction, reference, identifier in zip(predictions, references, identifiers, strict=True):
        name = strings(identifier)[0].split("-")
        if len(name) < 4:
            raise UserError(
                f"nlvr2_consistency: '{strings(identifier)[0]}' is no identifier split-set-pair-sentence; "
                "name the field that holds NLVR2's `identifier`"
            )
        sentence = (*name[:2], *name[3:])
        same = strings(prediction)[0].lower() in [r.lower() for r in strings(reference)]
        sentences[sentence] = sentences.get(sentence, True) and same
    return Score(sum(sentences.values()) / len(sentences))
