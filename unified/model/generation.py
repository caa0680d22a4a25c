"""Decoding: one step with a cache, `generate`, guidance, and ranking of given answers.

A generation sequence is [0, t1, ..., EOS] for text and [0, image_start, c0 + vocab_size, ...] for an
image: an id belongs to the image from image_start on. After EOS no later text is seen by anything.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor
from transformers import GenerationConfig, GenerationMixin
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from unified.model.attention import additive, compute_dtype, masked
from unified.model.cache import decoding_cache
from unified.model.decoder import DecoderLayer
from unified.model.linear import repack
from unified.model.outputs import EncoderOutput, UnifiedOutput

if TYPE_CHECKING:
    from unified.model.configuration import UnifiedConfig
    from unified.model.decoder import Decoder
    from unified.model.embeddings import TokenEmbedding

ENCODER_INPUTS = ("images", "image_codes", "patch_mask")


class UnifiedGeneration(GenerationMixin):
    """What UnifiedModel can do beyond `forward`; mixed into it."""

    if TYPE_CHECKING:
        config: UnifiedConfig
        token_embedder: TokenEmbedding
        decoder: Decoder
        encode: Callable[..., EncoderOutput]
        decode_targets: Callable[..., tuple[Tensor, Tensor | None]]

    # ------------------------------------------------------------------ one step

    def decode_step(
        self,
        ids: Tensor,
        encoded: EncoderOutput,
        cache: EncoderDecoderCache | None = None,
        use_cache: bool = False,
        guidance_scale: float | None = None,
        keep: int = 0,
    ) -> UnifiedOutput:
        """Score the next id after each place of `ids` that is not in `cache` yet; see `forward`."""
        if cache is None and use_cache:
            cache = EncoderDecoderCache(DynamicCache(), DynamicCache())  # of `decoding_cache`s gradients fail
        memory, memory_segments = encoded.last_hidden_state, encoded.segments
        if guidance_scale is not None:
            memory, memory_segments = _stack_guidance(encoded)
            ids = ids.repeat(2, 1)
        past = cache.get_seq_length() if cache is not None else 0

        is_image = (ids == self.config.image_start_id).cumsum(1) > 0
        visible = is_image | ((ids == self.config.eos_token_id).cumsum(1) == 0)
        rows = self._position_rows(is_image, visible)
        embeddings, table = self._position_tables(cache)
        new = slice(past, None)
        bias = table[:, rows[:, new, None], rows[:, None, :]]
        order = torch.arange(ids.shape[1], device=ids.device)
        seen = visible[:, None, :] & (order[None, :] <= order[new, None])
        dtype = compute_dtype(table)
        hidden = self.decoder(
            self.token_embedder(ids[:, new]),
            is_image[:, new].long(),
            embeddings[rows[:, new]],
            additive(rearrange(bias, "h b i j -> b h i j"), seen[:, None], dtype),
            memory,
            additive(None, (memory_segments > 0)[:, None, None, :], dtype),
            cache=cache,
        )
        kept = slice(-keep if keep else 0, None)
        logits = self._score(hidden[:, kept], is_image[:, new][:, kept])
        if guidance_scale is not None:
            with_prompt, without = logits.log_softmax(-1).chunk(2)
            logits = without + guidance_scale * (with_prompt - without)
        return UnifiedOutput(logits=logits, cache=cache, encoder_last_hidden_state=encoded.last_hidden_state)

    def _position_rows(self, is_image: Tensor, visible: Tensor) -> Tensor:
        """(B, L) rows of the position table: text counts from 0, an image from decoder_max_text_length."""
        texts, cells = self.config.decoder_max_text_length, self.config.target_tokens
        length = is_image.shape[1]
        image_at = is_image.cumsum(1) - 1
        # one step after the last code is allowed: a decoder may ask for a stop there
        if length > min(texts, cells + 1):
            text, codes = int((visible & ~is_image).sum(1).max()), int(image_at.max())
            if text > texts or codes > cells:
                raise ValueError(f"{text} text tokens and {codes} codes to decode, "
                                 f"but this model has positions for {texts} and {cells}")  # fmt: skip
        text_at = torch.arange(length, device=is_image.device).clamp(max=texts - 1)
        return torch.where(is_image, texts + image_at.clamp(max=cells - 1), text_at)

    def _position_tables(self, cache: EncoderDecoderCache | None) -> tuple[Tensor, Tensor]:
        """Embedding (U, d) and bias (heads, U, U) of all decoder positions, kept with the cache."""
        tables = getattr(cache, "position_tables", None)
        if tables is None:
            text, image, bias = self.decoder.positions(self.config.decoder_max_text_length, 1)
            tables = torch.cat([text[0], image[0]]), bias[0]
            if cache is not None:
                cache.position_tables = tables
        return tables

    def _score(self, hidden: Tensor, is_image: Tensor) -> Tensor:
        """Hidden states (B, L, d) -> (B, L, total vocabulary), ids of the other kind hidden (`masked`)."""
        logits = hidden.new_full((*is_image.shape, self.config.total_vocab_size), masked(hidden.dtype))
        for rows, ids in ((~is_image, self._text_ids), (is_image, self._image_ids)):
            if rows.all():
                logits[..., ids] = self.token_embedder(hidden, ids)
            elif rows.any():
                logits[..., ids][rows] = self.token_embedder(hidden[rows], ids).to(logits.dtype)
        return logits

    def prepare_for_decoding(self) -> None:
        """Makes decoding about twice as fast on a CPU, for a copy of the decoder's weights: see `Repacked`.

        Weights may change afterwards; those that did are then multiplied as before. Nothing is done for other
        devices and for dtypes other than float32, whose usual products have no such weakness.
        """
        for layer in self.decoder.layers:
            assert isinstance(layer, DecoderLayer)
            own, cross, mlp = layer.self_attention, layer.cross_attention, layer.mlp
            repack(own.query, own.key, own.value)
            repack(cross.key, cross.value)
            repack(mlp.wi_0, mlp.wi_1)
            for linear in (own.out, cross.query, cross.out, mlp.wo):
                repack(linear)
        self.token_embedder.repack(self._text_ids)
        self.token_embedder.repack(self._image_ids)

    @property
    def _text_ids(self) -> slice:
        return slice(0, self.config.vocab_size)

    @property
    def _image_ids(self) -> slice:
        return slice(self.config.vocab_size, None)

    # ------------------------------------------------------------------ generate

    @torch.no_grad()
    def generate(
        self,
        inputs: Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        *,
        input_ids: Tensor | None = None,
        encoder_outputs: EncoderOutput | None = None,
        guidance_scale: float | None = None,
        guidance_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hugging Face's `generate`, with all its options, for the encoder inputs of `forward`.

        Args:
            inputs: `input_ids`, by position.
            encoder_outputs: of `encode`, instead of the encoder's inputs.
            guidance_scale: classifier-free guidance: log p = log p(x | none) + scale * (log p(x | prompt) -
                log p(x | none)), with both halves in one batch. None or 1: off.
            guidance_ids: (B, L) the prompt to steer away from; None: an empty one (only EOS).

        Returns:
            ids (B * returned sequences, L), decoder start included, in the vocabulary of `logits`.
        """
        input_ids = inputs if input_ids is None else input_ids
        others = {name: kwargs.pop(name, None) for name in ENCODER_INPUTS}
        if encoder_outputs is None:
            if input_ids is None:
                raise ValueError("generate needs input_ids or encoder_outputs")
            encoder_outputs = self.encode(input_ids, **others)
        if generation_config is not None and generation_config.guidance_scale is not None:
            generation_config = copy.deepcopy(generation_config)
            guidance_scale = generation_config.guidance_scale if guidance_scale is None else guidance_scale
            generation_config.guidance_scale = None  # or their processor for decoder-only models runs too
        if guidance_scale is not None and guidance_scale != 1:
            batch = len(encoder_outputs.segments)
            if guidance_ids is None:
                guidance_ids = torch.full(
                    (batch, 1), self.config.eos_token_id, device=encoder_outputs.segments.device
                )
            without = self.encode(guidance_ids)
            encoder_outputs = EncoderOutput(
                last_hidden_state=encoder_outputs.last_hidden_state,
                segments=encoder_outputs.segments,
                unconditional_state=without.last_hidden_state,
                unconditional_segments=without.segments,
            )
            kwargs["guidance"] = guidance_scale  # by another name, for the same reason
        uses = (
            generation_config.use_cache if generation_config is not None else self.generation_config.use_cache
        )
        if kwargs.get("use_cache", uses) is not False and not kwargs.get("cache_implementation"):
            kwargs.setdefault("cache", decoding_cache())
        # they repeat it in place for beams; the caller's stays whole
        kept = EncoderOutput(**encoder_outputs)
        return super().generate(input_ids, generation_config, encoder_outputs=kept, **kwargs)

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        cache: EncoderDecoderCache | None = None,
        encoder_outputs: EncoderOutput | None = None,
        use_cache: bool | None = None,
        guidance: float | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        """The whole sequence goes in at each step: positions and what is visible follow from its ids."""
        return {
            "decoder_input_ids": input_ids,
            "cache": cache,
            "encoder_outputs": encoder_outputs,
            "use_cache": use_cache,
            "guidance_scale": guidance,
            "logits_to_keep": 1,
        }

    def _reorder_cache(self, cache: EncoderDecoderCache, beam_idx: Tensor) -> EncoderDecoderCache:
        """Beams move within their example, whose encoder they share: only self-attention has to follow."""
        own: Any = cache.self_attention_cache
        if own.layers[0].keys.shape[0] == 2 * len(beam_idx):  # guided: the second half is without prompt
            beam_idx = torch.cat([beam_idx, beam_idx + len(beam_idx)])
        own.reorder_cache(beam_idx)
        return cache

    # ------------------------------------------------------------------ ranking

    @torch.no_grad()
    def rank_options(
        self,
        options: Tensor,
        *,
        encoder_outputs: EncoderOutput | None = None,
        max_rows: int = 512,
        **inputs: Tensor | None,
    ) -> Tensor:
        """Score given answers; the encoder and the keys of cross-attention are computed once an example.

        Args:
            options: (B, O, To) text ids of each answer, EOS included, 0 is padding. Where examples have
                fewer answers than O the rest is all padding and scores minus infinity.
            encoder_outputs: of `encode`; or the encoder inputs of `forward` by name.
            max_rows: answers in one pass of the decoder.

        Returns:
            (B, O) float32, the summed log-probability of each answer.
        """
        encoded = encoder_outputs if encoder_outputs is not None else self.encode(**inputs)
        batch, count, length = options.shape
        scores = []
        for chunk in options.split(max(1, max_rows // batch), dim=1):
            targets = rearrange(chunk, "b o t -> (b o) t")
            hidden, _ = self.decode_targets(encoded, targets)
            real = targets != self.config.pad_token_id
            logits = self.token_embedder(hidden, self._text_ids)
            picked = logits.float().log_softmax(-1).gather(1, targets[real][:, None])[:, 0]
            flat = torch.zeros(real.shape, device=picked.device).masked_scatter(real, picked)
            total = flat.sum(1).masked_fill(~real.any(1), -torch.inf)  # a place without an option never wins
            scores.append(rearrange(total, "(b o) -> b o", b=batch))
        return torch.cat(scores, 1)

    @torch.no_grad()
    def rank_images(
        self,
        codes: Tensor,
        code_mask: Tensor | None = None,
        *,
        encoder_outputs: EncoderOutput | None = None,
        max_rows: int = 64,
        raw_context: bool = False,
        **inputs: Tensor | None,
    ) -> Tensor:
        """Score given images, as `rank_options` scores texts.

        Args:
            codes: (B, O, Ni) raw VQGAN codes of each image.
            code_mask: (B, O, Ni) bool, the codes that are seen and scored; None: all. An image without any
                scores minus infinity.
            encoder_outputs, max_rows, inputs: as for `rank_options`.
            raw_context: codes go into the decoder without their offset in the vocabulary, as the reference
                does by mistake; what is scored is the same.

        Returns:
            (B, O) float32, the summed log-probability of each image's codes.
        """
        encoded = encoder_outputs if encoder_outputs is not None else self.encode(**inputs)
        batch, count, _ = codes.shape
        code_mask = torch.ones_like(codes, dtype=torch.bool) if code_mask is None else code_mask.bool()
        scores = []
        step = max(1, max_rows // batch)
        for part, part_mask in zip(codes.split(step, dim=1), code_mask.split(step, dim=1), strict=True):
            targets, real = (rearrange(x, "b o n -> (b o) 1 n") for x in (part, part_mask))
            end = torch.full_like(targets[:, 0, :1], self.config.eos_token_id)
            context = targets - self.config.vocab_size if raw_context else targets
            _, hidden = self.decode_targets(encoded, end, context, real)
            assert hidden is not None
            logits = self.token_embedder(hidden, self._image_ids)
            picked = logits.float().log_softmax(-1).gather(1, targets[real][:, None])[:, 0]
            total = torch.zeros(real.shape, device=picked.device).masked_scatter(real, picked).sum((1, 2))
            total = total.masked_fill(~real.any(-1)[:, 0], -torch.inf)
            scores.append(rearrange(total, "(b o) -> b o", b=batch))
        return torch.cat(scores, 1)


def _stack_guidance(encoded: EncoderOutput) -> tuple[Tensor, Tensor]:
    """The prompt's rows, then the unconditional ones, padded to one length: (2B, L, d) and (2B, L)."""
    assert encoded.unconditional_state is not None and encoded.unconditional_segments is not None
    states = [encoded.last_hidden_state, encoded.unconditional_state]
    segments = [encoded.segments, encoded.unconditional_segments]
    longest = max(s.shape[1] for s in segments)
    return (
        torch.cat([F.pad(x, (0, 0, 0, longest - x.shape[1])) for x in states]),
        torch.cat([F.pad(x, (0, longest - x.shape[1])) for x in segments]),
    )
