"""What the page shows of an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PIL import Image as Pillow

from unified.evaluation.page import template
from unified.preview.tokens import Token, code_tokens, text_tokens
from unified.serving.result import Result
from unified.tokenization.processor import Processor
from unified.values.types import Label, Number, Text, Texts


@dataclass(frozen=True)
class Shown:
    """`picture`: the drawn answer, None for words and numbers; `note`: Markdown; `tokens`: HTML."""

    picture: Pillow.Image | None
    words: str
    note: str
    data: dict[str, Any]
    tokens: str


def shown(result: Result, processor: Processor, seconds: float) -> Shown:
    said = isinstance(result.value, Text | Label | Number | Texts)
    notes = [f"asked: {_code(result.prompt)}" if result.prompt else "", f"{seconds:.2f} s"]
    if result.score is not None:
        notes.insert(1, f"log-probability {result.score:.2f}")
    note = " · ".join(filter(None, notes))
    if result.malformed:
        note = f"**The model's output was no whole answer; this is what could be read.**\n\n{note}"
    tokens = [*text_tokens(processor, result.ids), *code_tokens(processor, result.codes)]
    return Shown(
        None if said else Pillow.fromarray(result.drawn().pixels),
        result.text or "(no text)",
        note,
        result.to_dict(),
        tokens_html(tokens),
    )


def tokens_html(tokens: list[Token]) -> str:
    """Ids coloured by kind, with a legend."""
    if not tokens:
        return "<p>no tokens: the answer is one of the options, each scored</p>"
    chip = template("tokens.html.j2", "unified.preview").module.chip  # type: ignore[attr-defined]
    kinds = dict.fromkeys(token.kind for token in tokens)
    legend = " ".join(f'<span class="id {kind}">{kind}</span>' for kind in kinds)
    return f'<p class="legend">{legend}</p><div class="ids">{"".join(map(chip, tokens))}</div>'


def _code(text: str) -> str:
    """In Markdown, as it stands."""
    return f"`` {' '.join(text.split()).replace('``', '` `')} ``"
