"""What the official Unified-IO code does by mistake or by accident, and strict mode does too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unified.errors import UserError

if TYPE_CHECKING:
    from unified.tokenization.tokenizer_set import TokenizerSet


@dataclass(frozen=True)
class Quirks:
    """Behaviours of the reference (allenai/unified-io-inference), all off by default.

    reads_extra_ids: `<extra_id_n>` in prompts, options and targets is a sentinel or location, not text;
        `</s>`, `<pad>` and `<unk>` are those ids.
    own_reading: texts, boxes and joints are read by `unified.tokenization.official`. Where the reference
        raises ValueError, as for the location bin of the far edge, they come back empty and `malformed`.
    longest_answer: text ids that are generated at most, if there is such a limit.
    option_ends: end tokens that a ranked text ends with, each of which is scored.
    raw_image_context: a ranked image's codes go into the decoder without their offset in the vocabulary.
    unconstrained: any id may be generated, whatever the kind of answer.
    scores_run_on: decoding never stops at the end token, and a text's score counts every step after it, and
        one code of an image that is not wanted, too.
    """

    reads_extra_ids: bool = False
    own_reading: bool = False
    longest_answer: int | None = None
    option_ends: int = 1
    raw_image_context: bool = False
    unconstrained: bool = False
    scores_run_on: bool = False


MENDED = Quirks()
OFFICIAL = Quirks(
    reads_extra_ids=True,
    own_reading=True,
    longest_answer=128,
    option_ends=2,
    raw_image_context=True,
    unconstrained=True,
    scores_run_on=True,
)


def quirks_of(tokenizers: TokenizerSet, strict: bool) -> Quirks:
    """Those of strict mode or none. Raises UserError for strict mode with another vocabulary than theirs."""
    if strict and tokenizers.name != "unified_io":
        raise UserError(
            f"strict mode is what the official Unified-IO code does; this model's tokenizer set is "
            f"'{tokenizers.name}', not 'unified_io': leave strict out"
        )
    return OFFICIAL if strict else MENDED
