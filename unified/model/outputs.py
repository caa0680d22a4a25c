"""What the encoder and the model return."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from transformers.cache_utils import EncoderDecoderCache
from transformers.utils import ModelOutput


@dataclass
class EncoderOutput(ModelOutput):
    """
    last_hidden_state: (B, L, d), text block first, then the image block.
    segments: (B, L) int64, 0 is padding.
    unconditional_state, unconditional_segments: the same for the prompt that guidance steers away
        from (B, L', d) and (B, L'); None without guidance.
    """

    last_hidden_state: Tensor = None  # type: ignore[assignment]  # ModelOutput wants defaults
    segments: Tensor = None  # type: ignore[assignment]
    unconditional_state: Tensor | None = None
    unconditional_segments: Tensor | None = None


@dataclass
class UnifiedOutput(ModelOutput):
    """
    text_logits: (n, vocab_size), one row for each target id that is not padding, row-major order.
    image_logits: (n, image_vocab_size), one row for each True of the target code mask; without image
        targets None, in training empty.
    logits: (B, L, total_vocab_size) when `decoder_input_ids` was given; ids that cannot stand at a place
        (codes in text, text in an image) have -1e10.
    cache: keys and values of the sequence so far, when decoding with a cache.
    encoder_last_hidden_state: (B, L, d).
    """

    text_logits: Tensor | None = None
    image_logits: Tensor | None = None
    logits: Tensor | None = None
    cache: EncoderDecoderCache | None = None
    encoder_last_hidden_state: Tensor | None = None
