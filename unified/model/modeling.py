"""The Unified-IO encoder-decoder as a Hugging Face model: ids, pixels, masks in; logits out."""

from __future__ import annotations

import logging
import math
from typing import Any, Self

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForSeq2SeqLM, GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import EncoderDecoderCache

from unified.errors import UserError
from unified.model.attention import additive, causal, compute_dtype, same_segment
from unified.model.blocks import RMSNorm
from unified.model.configuration import UnifiedConfig
from unified.model.decoder import Decoder, shift_right
from unified.model.embeddings import TokenEmbedding
from unified.model.encoder import IMAGE, TEXT, Encoder
from unified.model.generation import UnifiedGeneration
from unified.model.outputs import EncoderOutput, UnifiedOutput
from unified.model.positions import Positions

logger = logging.getLogger(__name__)


class UnifiedModel(UnifiedGeneration, PreTrainedModel, GenerationMixin):
    """Text and images in, text and image codes out.

    One row may hold several examples (packing): attention stays within equal segment numbers, and
    positions start again with each example. The encoder's sequence is [text (Lt) ; images (M * Np)], the
    decoder's [text (Td) ; images (K * Ni)].
    """

    config: UnifiedConfig
    config_class = UnifiedConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["EncoderLayer", "DecoderLayer", "Positions"]
    _skip_keys_device_placement = ["cache"]

    def __init__(self, config: UnifiedConfig) -> None:
        super().__init__(config)
        self.token_embedder = TokenEmbedding(config.total_vocab_size, config.d_model)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.post_init()

    # ------------------------------------------------------------------ forward

    def encode(
        self,
        input_ids: Tensor,
        input_segments: Tensor | None = None,
        input_positions: Tensor | None = None,
        images: Tensor | None = None,
        image_codes: Tensor | None = None,
        patch_mask: Tensor | None = None,
        image_segments: Tensor | None = None,
        image_index: Tensor | None = None,
    ) -> EncoderOutput:
        """The encoder's half of `forward`, with the same arguments."""
        segments = (
            (input_ids != self.config.pad_token_id).long() if input_segments is None else input_segments
        )
        images, image_codes = self._images(images, image_codes)
        pictures, ids = images, input_ids
        if image_codes is not None:
            ids = torch.cat([ids, rearrange(image_codes, "b m n -> b (m n)") + self.config.vocab_size], 1)
        text = self.token_embedder(ids)
        if image_codes is not None:
            text, codes = text.split([input_ids.shape[1], ids.shape[1] - input_ids.shape[1]], 1)
            pictures = rearrange(codes, "b (m n) d -> b m n d", m=image_codes.shape[1])
        if pictures is not None:
            batch, count = pictures.shape[:2]
            cells, most = self._cells(pictures), self.config.max_images
            if image_index is None and count > most:  # a packed row may hold more, numbered by example
                raise ValueError(f"{count} images of one example, but max_images is {most}")
            if image_segments is None:
                image_segments = torch.ones(batch, count, dtype=torch.long, device=input_ids.device)
            patch_segments = repeat(image_segments, "b m -> b m n", n=cells)
            if patch_mask is not None:
                patch_segments = patch_segments * patch_mask
            segments = torch.cat([segments, rearrange(patch_segments, "b m n -> b (m n)")], 1)
        hidden = self.encoder(text, pictures, segments, input_positions, image_index)
        return EncoderOutput(last_hidden_state=hidden, segments=segments)

    def forward(
        self,
        *,
        input_ids: Tensor | None = None,
        input_segments: Tensor | None = None,
        input_positions: Tensor | None = None,
        images: Tensor | None = None,
        image_codes: Tensor | None = None,
        patch_mask: Tensor | None = None,
        image_segments: Tensor | None = None,
        image_index: Tensor | None = None,
        target_ids: Tensor | None = None,
        target_segments: Tensor | None = None,
        target_positions: Tensor | None = None,
        target_codes: Tensor | None = None,
        target_code_mask: Tensor | None = None,
        target_code_segments: Tensor | None = None,
        encoder_outputs: EncoderOutput | None = None,
        decoder_input_ids: Tensor | None = None,
        cache: EncoderDecoderCache | None = None,
        use_cache: bool | None = None,
        guidance_scale: float | None = None,
        logits_to_keep: int = 0,
        return_dict: bool = True,
    ) -> UnifiedOutput:
        """
        Args:
            input_ids: (B, Lt) int64, 0 is padding.
            input_segments: (B, Lt), 0 for padding, 1.. for the examples of a row; None: one example a row.
            input_positions: (B, Lt), restarting with each example; None: 0, 1, 2 ...
            images: (B, M, S, S, 3) uint8, or float in 0..255; S is the configuration's image_size, or another
                multiple of patch_size, for which the table of positions is resized as in the reference.
            image_codes: (B, M, Np) raw VQGAN codes, in a model whose `image_input` is `codes`.
            patch_mask: (B, M, Np) bool, False where a patch is padding; None: all real.
            image_segments: (B, M), the example that the image belongs to, 0 for no image; None: all 1.
            image_index: (B, M), which image of its example; None: 0, 1, 2 ...
            target_ids: (B, Td), 0 is padding. Targets, not inputs: the model shifts them itself.
            target_segments, target_positions: as for the input.
            target_codes: (B, K, Ni) raw VQGAN codes of target images.
            target_code_mask: (B, K, Ni) bool, True where a code is scored and seen; None: all.
            target_code_segments: (B, K); None: all 1.
            encoder_outputs: of `encode`, instead of the encoder's inputs.
            decoder_input_ids: (B, L) a generation sequence so far, [0, t1, ...] or
                [0, image_start, code + vocab_size, ...]. *Whole*, also when `cache` holds its
                beginning; only the rest is then run.
            guidance_scale: of `generate`.
            logits_to_keep: score only that many last places of `decoder_input_ids`; 0 is all.

        Raises:
            ValueError: shapes that do not fit the configuration, or nothing to decode.
        """
        if encoder_outputs is None:
            if input_ids is None:
                raise ValueError("the model needs input_ids or encoder_outputs")
            encoder_outputs = self.encode(
                input_ids, input_segments, input_positions, images, image_codes, patch_mask, image_segments,
                image_index,
            )  # fmt: skip
        if decoder_input_ids is not None:
            return self.decode_step(
                decoder_input_ids,
                encoder_outputs,
                cache,
                bool(use_cache),
                guidance_scale,
                logits_to_keep,
            )
        if target_ids is None:
            raise ValueError("the model needs target_ids (training, scoring) or decoder_input_ids (decoding)")
        if target_codes is not None:
            if target_code_mask is None:
                target_code_mask = torch.ones_like(target_codes, dtype=torch.bool)
            if target_code_segments is None:
                target_code_segments = torch.ones_like(target_codes[..., 0])
        hidden = self.decode_targets(
            encoder_outputs, target_ids, target_segments, target_positions, target_codes, target_code_mask,
            target_code_segments,
        )  # fmt: skip
        length, text = target_ids.shape[1], self.config.vocab_size
        scored = hidden[:, :length][target_ids != self.config.pad_token_id]
        image_logits = None
        if target_code_mask is not None and target_codes is not None:
            seen = hidden[:, length:][rearrange(target_code_mask, "b k n -> b (k n)")]
            image_logits = self.token_embedder(seen, slice(text, None))
        elif self.training:  # the same calls and outputs as with image targets (ZeRO-3)
            image_logits = self.token_embedder(scored[:0], slice(text, None))
        text_logits = self.token_embedder(scored, slice(0, text))
        return UnifiedOutput(
            text_logits=text_logits,
            image_logits=image_logits,
            encoder_last_hidden_state=encoder_outputs.last_hidden_state,
        )

    def decode_targets(
        self,
        encoded: EncoderOutput,
        target_ids: Tensor,
        segments: Tensor | None = None,
        positions: Tensor | None = None,
        codes: Tensor | None = None,
        code_mask: Tensor | None = None,
        code_segments: Tensor | None = None,
    ) -> Tensor:
        """Teacher forcing: hidden states (B, Td + K * Ni, d) that predict the targets; see `forward`.

        `encoded` may have fewer rows than the targets: then each run of rows shares one of them.
        """
        config = self.config
        segments = (target_ids != config.pad_token_id).long() if segments is None else segments
        ids = shift_right(target_ids, config.decoder_start_token_id, positions)
        images = 0
        if codes is not None and code_mask is not None and code_segments is not None:
            images = codes.shape[1]
            if codes.shape[2] != config.target_tokens:
                raise ValueError(
                    f"target images have {codes.shape[2]} codes, this model's have {config.target_tokens}"
                )
            shifted = shift_right(codes + config.vocab_size, config.image_start_id)
            ids = torch.cat([ids, rearrange(shifted, "b k n -> b (k n)")], 1)
            code_segments = repeat(code_segments, "b k -> b k n", n=config.target_tokens) * code_mask
            segments = torch.cat([segments, rearrange(code_segments, "b k n -> b (k n)")], 1)
        text_at, image_at, bias = self.decoder.positions(target_ids.shape[1], images, positions)
        at = _cat(text_at, image_at.repeat(1, images, 1))
        kinds = torch.full_like(ids[:1], TEXT)
        kinds[:, target_ids.shape[1] :] = IMAGE

        dtype = compute_dtype(bias)
        seen = same_segment(segments, segments) & causal(ids.shape[1], ids.device)
        if len(segments) == len(encoded.segments):
            memory = same_segment(segments, encoded.segments)
        else:  # one example a row, several rows for one memory
            memory = (encoded.segments > 0)[:, None, None, :]
        return self.decoder(
            self.token_embedder(ids), kinds, at, additive(bias, seen, dtype), encoded.last_hidden_state,
            additive(None, memory, dtype),
        )  # fmt: skip

    def _images(self, images: Tensor | None, codes: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """The two, checked: at most the kind that this model takes is left, None if there are none."""
        config = self.config
        given, other = (images, codes) if config.image_input == "patches" else (codes, images)
        if other is not None:
            raise ValueError(
                f"this model's image_input is {config.image_input!r}; it was given the other kind"
            )
        if given is None or given.shape[1] == 0:
            return None, None
        found = tuple(given.shape[2:])
        if images is not None:
            side = found[0]
            if found != (side, side, 3) or not side or side % config.patch_size:
                raise ValueError(
                    f"images have shape {found}, this model's have {(config.image_size,) * 2 + (3,)}, or "
                    f"another square of patches of {config.patch_size} pixels"
                )
        elif found != (config.image_tokens,):
            raise ValueError(f"images have shape {found}, this model's have {(config.image_tokens,)}")
        return images, codes

    def _cells(self, pictures: Tensor) -> int:
        """Encoder positions of each image: pixels (B, M, S, S, 3) or embedded codes (B, M, Np, d)."""
        pixels = self.config.image_input == "patches"
        return (pictures.shape[2] // self.config.patch_size) ** 2 if pixels else self.config.image_tokens

    # ------------------------------------------------------------------ weights

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """For training from nothing, as the reference: unit embeddings and fan-in matrices. A module
        may ask for another scale by its `init_gain`."""
        gain = getattr(module, "init_gain", 1.0)
        if isinstance(module, nn.Linear | nn.Conv2d):
            init.normal_(module.weight, std=gain * module.weight[0].numel() ** -0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=gain)
        elif isinstance(module, RMSNorm):
            init.ones_(module.weight)
        elif isinstance(module, Positions):
            for table in (module.text_relative, module.image_relative):
                limit = math.sqrt(6 / sum(table.shape))
                init.uniform_(table, -limit, limit)

    @classmethod
    def _from_config(cls, config: UnifiedConfig, **kwargs: Any) -> Self:
        logger.warning("%s is randomly initialised: from_config loads no weights", cls.__name__)
        return super()._from_config(config, **kwargs)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: Any, *args: Any, strict: bool = True, **kwargs: Any
    ) -> Any:
        """Hugging Face's, but weights that are missing or unexpected raise unless `strict` is False.

        Raises:
            UserError: names the first of them.
        """
        wants_info = kwargs.pop("output_loading_info", False)
        loaded: Any = super().from_pretrained(
            pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs
        )
        model, info = loaded
        problems = [
            f"{len(info[kind])} {text}, the first is {min(info[kind])}"
            for kind, text in (
                ("missing_keys", "weights are missing"),
                ("unexpected_keys", "weights are unknown"),
            )
            if info[kind]
        ]
        if info["mismatched_keys"]:  # only with `ignore_mismatched_sizes`; without, transformers raises
            name, found, wanted = min(info["mismatched_keys"], key=lambda m: m[0])
            problems.append(
                f"{len(info['mismatched_keys'])} weights have other shapes, the first is {name} with "
                f"{tuple(found)} instead of {tuple(wanted)}"
            )
        if strict and problems:
            raise UserError(
                f"{pretrained_model_name_or_path}: {'; '.join(problems)}. The weights do not belong to this "
                "configuration; strict=False loads what fits and initialises the rest at random."
            )
        return (model, info) if wants_info else model

    def get_input_embeddings(self) -> nn.Module:
        return self.token_embedder


def _cat(text: Tensor, image: Tensor) -> Tensor:
    """Concatenate (1 or B, Lt, d) and (1, Li, d) along the length."""
    return torch.cat([text, image.expand(len(text), -1, -1)], 1)


AutoModel.register(UnifiedConfig, UnifiedModel)
AutoModelForSeq2SeqLM.register(UnifiedConfig, UnifiedModel)
