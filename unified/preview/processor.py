"""The sizes and lengths that a preview is made with."""

from __future__ import annotations

from unified.errors import UserError
from unified.tokenization.processor import Processor
from unified.tokenization.tokenizer_set import TokenizerSet

MAX_TEXT = 256
"""Most tokens of a prompt and of an answer where no model says it: those of the official sizes."""


def preview_processor(tokenizers: str | None, model: str | None) -> Processor:
    """The processor of a run or shipped model, or of a tokenizer set (default: toy) with its usual sizes."""
    if tokenizers is not None and model is not None:
        raise UserError("--model has a tokenizer set of its own; leave --tokenizers out, or --model")
    if model is not None:
        from unified.evaluation.model_folder import (
            build_processor,
            find_model_folder,
            read_config,
            read_tokenizers,
        )

        folder = find_model_folder(model)
        return build_processor(read_config(folder), read_tokenizers(folder))
    found = TokenizerSet.load(tokenizers or "toy")
    return Processor(
        found,
        image_size=found.config.image.input_size,
        patch_size=found.code_cell,
        target_size=found.config.image.size,
        max_input_length=MAX_TEXT,
        max_target_length=MAX_TEXT,
    )
