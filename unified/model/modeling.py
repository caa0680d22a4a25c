"""The Unified-IO encoder-decoder as a Hugging Face model: ids, pixels, masks in; logits out."""

from __future__ import annotations

import logging
import math
from typing import Any, Self

import torch
from einops import rearrange
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForSeq2SeqLM, GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import EncoderDecoderCache

from unified.errors import UserError
from unified.model.attention import (
    Bias,
    PackedStyle,
    additive,
    causal,
    compute_dtype,
    packed_style,
    same_segment,
)
from unified.model.blocks import RMSNorm
from unified.model.configuration import UnifiedConfig
from unified.model.decoder import Decoder, shift_right
from unified.model.embeddings import TokenEmbedding
from unified.model.encoder import IMAGE, TEXT, Encoder
from unified.model.flex import Flex, segment_blocks
from unified.model.generation import UnifiedGeneration
from unified.model.outputs import EncoderOutput, UnifiedOutput
from unified.model.packing import Packing
from unified.model.per_example import PerExample, groups_of
from unified.model.positions import Positions

logger = logging.getLogger(__name__)


class UnifiedModel(UnifiedGeneration, PreTrainedModel, GenerationMixin):
    """Text and images in, text and image codes out.

    The encoder's sequence of an example is [text (Lt) ; images (M * Np)], the decoder's [text (Td) ; images
    (K * Ni)]. By default each example has a row to itself, padded; a layout packs several into one.
    """

    config: UnifiedConfig
    config_class = UnifiedConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flex_attn = True
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
        images: Tensor | None = None,
        image_codes: Tensor | None = None,
        patch_mask: Tensor | None = None,
        image_example: Tensor | None = None,
        encoder_layout: Tensor | None = None,
    ) -> EncoderOutput:
        """The encoder's half of `forward`, with the same arguments."""
        if encoder_layout is not None:  # pictures of all examples in one list
            images, image_codes = (None if x is None else x[:, None] for x in (images, image_codes))
        images, image_codes = self._images(images, image_codes)
        pictures, ids = images, input_ids
        if image_codes is not None:
            codes = image_codes + self.config.vocab_size
            ids = torch.cat([ids.flatten(), codes.flatten()])
        text = self.token_embedder(ids)
        if image_codes is not None:
            flat_text, flat_codes = text.split([input_ids.numel(), image_codes.numel()])
            text = flat_text.unflatten(0, input_ids.shape)
            pictures = flat_codes.unflatten(0, image_codes.shape)
        if encoder_layout is not None:
            cells = 0 if pictures is None else self._cells(pictures)
            texts = len(text), text.shape[1]
            packing = Packing.of(encoder_layout, texts, cells, image_example, self._packed_style)
            hidden = self.encoder(text, pictures, packing.segments, packing, image_example)
            return EncoderOutput(last_hidden_state=hidden, segments=packing.segments)
        segments = (input_ids != self.config.pad_token_id).long()
        if pictures is not None:
            batch, count = pictures.shape[:2]
            if count > self.config.max_images:
                raise ValueError(f"{count} images of one example, but max_images is {self.config.max_images}")
            shape = (batch, count, self._cells(pictures))
            there = torch.ones(shape, device=ids.device) if patch_mask is None else patch_mask.expand(shape)
            segments = torch.cat([segments, rearrange(there.long(), "b m n -> b (m n)")], 1)
        return EncoderOutput(last_hidden_state=self.encoder(text, pictures, segments), segments=segments)

    def forward(
        self,
        *,
        input_ids: Tensor | None = None,
        images: Tensor | None = None,
        image_codes: Tensor | None = None,
        patch_mask: Tensor | None = None,
        target_ids: Tensor | None = None,
        target_codes: Tensor | None = None,
        target_code_mask: Tensor | None = None,
        image_example: Tensor | None = None,
        code_example: Tensor | None = None,
        encoder_layout: Tensor | None = None,
        decoder_layout: Tensor | None = None,
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
            images: (B, M, S, S, 3) uint8, or float in 0..255; S is the configuration's image_size, or another
                multiple of patch_size, for which the table of positions is resized as in the reference.
            image_codes: (B, M, Np) raw VQGAN codes, in a model whose `image_input` is `codes`.
            patch_mask: (B, M, Np) bool, False on padding (all of it: no image); None: all real.
            target_ids: (B, Td), 0 is padding. Targets, not inputs: the model shifts them itself.
            target_codes: (B, K, Ni) raw VQGAN codes of target images.
            target_code_mask: (B, K, Ni) bool, True where a code is scored and seen; None: all.
            encoder_layout, decoder_layout: (R, Le) and (R, Ld) int64 pack the B examples into R rows. A place
                holds the index of its token among all tokens [texts (B * Lt) ; pictures (N * Np)], or -1. An
                example stands in one piece, text first, in the same row of both. Padding has no place, so
                patch_mask is not read. `images`, `image_codes`, `target_codes` and `target_code_mask` then
                have no dimension B: they list the pictures of all examples, in order,
            image_example, code_example: (N,) and (K,), and these say whose each picture is.
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
                input_ids, images, image_codes, patch_mask, image_example, encoder_layout
            )
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
        text_hidden, image_hidden = self.decode_targets(
            encoder_outputs, target_ids, target_codes, target_code_mask, code_example, decoder_layout
        )
        text = self.config.vocab_size
        image_logits = None
        if image_hidden is not None:
            image_logits = self.token_embedder(image_hidden, slice(text, None))
        elif self.training:  # the same calls and outputs as with image targets (ZeRO-3)
            image_logits = self.token_embedder(text_hidden[:0], slice(text, None))
        return UnifiedOutput(
            text_logits=self.token_embedder(text_hidden, slice(0, text)),
            image_logits=image_logits,
            encoder_last_hidden_state=encoder_outputs.last_hidden_state,
        )

    def decode_targets(
        self,
        encoded: EncoderOutput,
        target_ids: Tensor,
        codes: Tensor | None = None,
        code_mask: Tensor | None = None,
        code_example: Tensor | None = None,
        layout: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Teacher forcing: the hidden states that predict each target id but padding (n_text, d), and each
        code of the mask (n_codes, d), None without codes; see `forward`.

        `encoded` may have fewer rows than the targets: then each run of rows shares one of them.
        """
        config = self.config
        real = target_ids != config.pad_token_id
        examples, length = target_ids.shape
        ids = shift_right(target_ids, config.decoder_start_token_id)
        count, shifted = 0, None
        if codes is not None:
            if codes.shape[-1] != config.target_tokens:
                raise ValueError(
                    f"target images have {codes.shape[-1]} codes, this model's have {config.target_tokens}"
                )
            code_mask = torch.ones_like(codes, dtype=torch.bool) if code_mask is None else code_mask
            count = codes.shape[1]
            shifted = shift_right(codes + config.vocab_size, config.image_start_id)

        if layout is not None:
            shape = examples, length
            packing = Packing.of(layout, shape, config.target_tokens, code_example, self._packed_style)
            hidden = self._decode_packed(encoded, ids, shifted, packing)
            texts = int(real.sum())
            return hidden[:texts], None if codes is None else hidden[texts:]

        segments = real.long()
        if shifted is not None and code_mask is not None:
            ids = torch.cat([ids, rearrange(shifted, "b k n -> b (k n)")], 1)
            code_mask = rearrange(code_mask, "b k n -> b (k n)")
            segments = torch.cat([segments, code_mask.long()], 1)
        text_at, image_at, bias = self.decoder.positions(length, count)
        assert isinstance(bias, Tensor)
        kinds = torch.full_like(ids[:1], TEXT)
        kinds[:, length:] = IMAGE
        dtype = compute_dtype(bias)
        seen = same_segment(segments, segments) & causal(ids.shape[1], ids.device)
        if examples == len(encoded.segments):
            visible = same_segment(segments, encoded.segments)
        else:  # several rows for one memory
            visible = (encoded.segments > 0)[:, None, None, :]
        hidden = self.decoder(
            self.token_embedder(ids), kinds, _cat(text_at, image_at.repeat(1, count, 1)),
            additive(bias, seen, dtype), encoded.last_hidden_state, additive(None, visible, dtype),
        )  # fmt: skip
        return hidden[:, :length][real], None if code_mask is None else hidden[:, length:][code_mask]

    def _decode_packed(
        self, encoded: EncoderOutput, ids: Tensor, codes: Tensor | None, packing: Packing
    ) -> Tensor:
        """Decoder inputs (E, Td) and (K, Ni) -> hidden states (n, d) in the order of the targets."""
        flat = ids.flatten() if codes is None else torch.cat([ids.flatten(), codes.flatten()])
        text_at, image_at, bias = self.decoder.positions(
            packing.text_length, 0 if codes is None else 1, packing=packing
        )
        rows = self.decoder(
            self.token_embedder(flat[packing.source]), (packing.pictures > 0).long(),
            torch.cat([text_at[0], image_at[0]])[packing.slots], bias,
            encoded.last_hidden_state, self._memory_mask(packing.segments, encoded.segments),
        )  # fmt: skip
        return packing.scatter(rows)

    def _memory_mask(self, queries: Tensor, keys: Tensor) -> Bias:
        """What queries (R, Ld) of packed rows see of the encoder's (R, Le); both are segment numbers."""
        dtype = compute_dtype(self.token_embedder.weight)
        if self._packed_style == "flex":
            return Flex(segment_blocks(queries, keys))
        if self._packed_style == "rows":
            return additive(None, same_segment(queries, keys), dtype)
        groups = groups_of(queries, keys)
        masks = [additive(None, group.real_keys[:, None, None, :], dtype) for group in groups]
        return PerExample(groups, masks, queries, keys)

    @property
    def _packed_style(self) -> PackedStyle:
        return packed_style(self.config._attn_implementation, self.token_embedder.weight.device)

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
