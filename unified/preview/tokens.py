"""Ids as what a person can read: the kind, the piece, what the loss makes of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from unified.tokenization.processor import Processor

Kind = Literal["text", "location", "code", "special"]
SPECIAL = {"pad": "pad", "eos": "end", "unk": "unknown", "image_start": "image start", "unused": "unused"}


@dataclass(frozen=True)
class Token:
    """One id. `piece`: text as sentencepiece spells it, the axis and pixel of a location, the number of a
    code. `loss`: its weight in the loss, None on the encoder's side, where there is none."""

    id: int
    kind: Kind
    piece: str
    loss: float | None = None


def text_tokens(
    processor: Processor, ids: Sequence[int], loss: Sequence[float] | None = None
) -> tuple[Token, ...]:
    """Ids of the text side; locations in pixels of the model's input frame."""
    weights = [None] * len(ids) if loss is None else list(loss)
    return tuple(
        Token(int(token), kind, piece, weight)
        for token, (kind, piece), weight in zip(ids, _pieces(processor, ids), weights, strict=True)
    )


def code_tokens(
    processor: Processor, codes: Sequence[int], loss: Sequence[float] | None = None
) -> tuple[Token, ...]:
    """Image codes, row by row."""
    vocabulary = processor.tokenizers.vocabulary
    weights = [None] * len(codes) if loss is None else [float(weight) for weight in loss]
    return tuple(
        Token(vocabulary.code_id(int(code)), "code", str(int(code)), weight)
        for code, weight in zip(codes, weights, strict=True)
    )


def _pieces(processor: Processor, ids: Sequence[int]) -> Iterator[tuple[Kind, str]]:
    tokenizers = processor.tokenizers
    run = 0
    for token, kind in zip(ids, tokenizers.vocabulary.kind_of(list(ids)), strict=True):
        if kind == "location":
            axis = tokenizers.locations.order[run % 2]
            bins = tokenizers.vocabulary.bins_of(np.array([token]))
            pixel = float(tokenizers.locations.dequantise(bins, processor.image_size)[0])
            yield "location", f"{axis} {pixel:.1f}"
            run += 1
            continue
        run = 0
        if kind == "text":
            yield "text", tokenizers.text.piece(int(token))
        elif kind == "sentinel":
            yield "special", f"extra {tokenizers.vocabulary.sentinel.index(int(token))}"
        else:
            yield "special", SPECIAL[kind]
