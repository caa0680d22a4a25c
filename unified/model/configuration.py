"""What a Unified-IO model is made of: its sizes, its vocabulary, its lengths."""

from __future__ import annotations

import copy
from typing import Any

from transformers import AutoConfig, PretrainedConfig

from unified.errors import UserError, did_you_mean

# The official shapes (allenai/unified-io-inference, configs.py) and `toy`, which trains on a laptop.
# Vocabulary sizes of `toy` belong to its tokenizer set; those below are the set `toy`'s order of magnitude.
SIZES: dict[str, dict[str, Any]] = {
    "toy": {
        "vocab_size": 3072,
        "image_vocab_size": 1024,
        "d_model": 128,
        "num_heads": 4,
        "head_dim": 32,
        "encoder_layers": 4,
        "decoder_layers": 3,
        "d_ff": 384,
        "image_size": 64,
        "patch_size": 8,
        "patch_embed": "conv",
        "target_grid": 8,
    },
    "small": {"d_model": 512, "num_heads": 6, "encoder_layers": 8, "decoder_layers": 8, "d_ff": 1024},
    "base": {"d_model": 768, "num_heads": 12, "encoder_layers": 12, "decoder_layers": 12, "d_ff": 2048},
    "large": {"d_model": 1024, "num_heads": 16, "encoder_layers": 24, "decoder_layers": 24, "d_ff": 2816},
    "xl": {
        "d_model": 2048,
        "num_heads": 32,
        "encoder_layers": 24,
        "decoder_layers": 24,
        "d_ff": 5120,
        "num_segments": 8,
    },
}

COUNTS = (
    "vocab_size", "image_vocab_size", "d_model", "num_heads", "head_dim", "encoder_layers", "decoder_layers",
    "d_ff", "image_size", "patch_size", "target_grid", "encoder_max_text_length", "decoder_max_text_length",
    "max_images", "num_segments",
)  # fmt: skip
"""Fields that are whole numbers of at least 1."""


class UnifiedConfig(PretrainedConfig):
    """Configuration of :class:`unified.model.UnifiedModel`; the defaults are the official `small`.

    Args:
        vocab_size: ids of the text side (pieces, locations, padding); the last one starts an image.
        image_vocab_size: VQGAN codes; code `c` has id `vocab_size + c`.
        d_model, num_heads, head_dim, encoder_layers, decoder_layers, d_ff: `num_heads * head_dim` need
            not equal `d_model` (it does not in the official `small`).
        image_size, patch_size: input images are square, `image_size` pixels a side.
        image_input: `patches` (pixels) or `codes` (VQGAN ids through the shared embedding).
        patch_embed: `linear` (official) or `conv`, a three-layer stem that needs far fewer examples.
        target_grid: side of the square of codes that makes up a target image.
        max_images: most images of one example. The first one's index embedding is fixed at zero.
        num_segments: rows of the segment tables, of which two are used (text, image).
        image_mean, image_std: of pixels in 0..1, per channel.
        dropout: of hidden states, MLP and attention probabilities.

    Raises:
        UserError: the numbers do not fit together; the message names the fields.
    """

    model_type = "unified"
    keys_to_ignore_at_inference = ["cache"]
    attribute_map = {
        "hidden_size": "d_model",
        "num_attention_heads": "num_heads",
        "num_hidden_layers": "encoder_layers",
    }

    def __init__(
        self,
        vocab_size: int = 33152,
        image_vocab_size: int = 16384,
        d_model: int = 512,
        num_heads: int = 6,
        head_dim: int = 64,
        encoder_layers: int = 8,
        decoder_layers: int = 8,
        d_ff: int = 1024,
        image_size: int = 384,
        patch_size: int = 16,
        image_input: str = "patches",
        patch_embed: str = "linear",
        target_grid: int = 16,
        encoder_max_text_length: int = 256,
        decoder_max_text_length: int = 256,
        max_images: int = 4,
        num_segments: int = 2,
        image_mean: list[float] | tuple[float, ...] = (0.485, 0.456, 0.406),
        image_std: list[float] | tuple[float, ...] = (0.229, 0.224, 0.225),
        dropout: float = 0.0,
        use_cache: bool = True,
        **kwargs: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.image_vocab_size = image_vocab_size
        self.d_model = d_model
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.encoder_layers = encoder_layers
        self.decoder_layers = decoder_layers
        self.d_ff = d_ff
        self.image_size = image_size
        self.patch_size = patch_size
        self.image_input = image_input
        self.patch_embed = patch_embed
        self.target_grid = target_grid
        self.encoder_max_text_length = encoder_max_text_length
        self.decoder_max_text_length = decoder_max_text_length
        self.max_images = max_images
        self.num_segments = num_segments
        self.image_mean = list(image_mean) if isinstance(image_mean, tuple) else image_mean
        self.image_std = list(image_std) if isinstance(image_std, tuple) else image_std
        self.dropout = dropout
        self.use_cache = use_cache
        self._check()
        for key, value in {
            "is_encoder_decoder": True, "tie_word_embeddings": True, "pad_token_id": 0, "eos_token_id": 1,
            "decoder_start_token_id": 0,
        }.items():  # fmt: skip
            kwargs.setdefault(key, value)
        super().__init__(**kwargs)

    def get_text_config(self, *args: Any, **kwargs: Any) -> Any:
        """A copy as generation sees it: there `vocab_size` is the width of the logits."""
        config = super().get_text_config(*args, **kwargs)
        config = copy.copy(self) if config is self else config
        config.vocab_size = self.total_vocab_size
        return config

    @classmethod
    def of_size(cls, size: str, **changes: Any) -> UnifiedConfig:
        """The configuration named `size` (see `SIZES`) with some fields changed."""
        if size not in SIZES:
            raise UserError(f"model size {size!r} is not known{did_you_mean(size, list(SIZES))}; "
                            f"there are {', '.join(SIZES)}")  # fmt: skip
        return cls(**{**SIZES[size], **changes})

    @property
    def image_start_id(self) -> int:
        """The decoder input that stands before the first code of an image."""
        return self.vocab_size - 1

    @property
    def total_vocab_size(self) -> int:
        """Text side and image codes: the rows of the embedding and the width of `generate`'s logits."""
        return self.vocab_size + self.image_vocab_size

    @property
    def image_grid(self) -> int:
        """Patches (or codes) along one side of an input image."""
        return self.image_size // self.patch_size

    @property
    def image_tokens(self) -> int:
        """Encoder positions of one input image."""
        return self.image_grid**2

    @property
    def target_tokens(self) -> int:
        """Codes of one target image."""
        return self.target_grid**2

    def _check(self) -> None:
        problems = [
            f"{field} is {getattr(self, field)!r}, must be a whole number of at least 1"
            for field in COUNTS
            if type(getattr(self, field)) is not int or getattr(self, field) < 1
        ]
        if problems:
            raise UserError("model configuration: " + "; ".join(problems))
        if self.image_size % self.patch_size:
            problems.append(f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}")
        for field, allowed in (("image_input", ("patches", "codes")), ("patch_embed", ("linear", "conv"))):
            value = getattr(self, field)
            if value not in allowed:
                problems.append(f"{field} is {value!r}, must be one of {', '.join(allowed)}"
                                f"{did_you_mean(value, allowed)}")  # fmt: skip
        if self.patch_embed == "conv" and self.patch_size & (self.patch_size - 1):
            problems.append(
                f"patch_embed 'conv' needs a patch_size that is a power of two, not {self.patch_size}"
            )
        for three in (self.image_mean, self.image_std):
            numbers = isinstance(three, list) and all(isinstance(v, int | float) for v in three)
            if not numbers or len(three) != 3:
                problems.append(
                    f"image_mean and image_std have three numbers each, one a channel, not {three}"
                )
        if self.num_segments < 2:
            problems.append(f"num_segments is {self.num_segments}; text and image need two")
        if not isinstance(self.dropout, int | float) or not 0 <= self.dropout < 1:
            problems.append(f"dropout is {self.dropout!r}, must be in [0, 1)")
        if problems:
            raise UserError("model configuration: " + "; ".join(problems))


AutoConfig.register(UnifiedConfig.model_type, UnifiedConfig)
