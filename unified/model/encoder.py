"""The joint encoder of text and images: [text block ; image block], one stack, full attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from unified.model.attention import Bias, additive, compute_dtype, same_segment
from unified.model.blocks import Attention, GatedMLP, LengthDropout, RMSNorm
from unified.model.configuration import UnifiedConfig
from unified.model.embeddings import PatchEmbedding
from unified.model.packing import Packing, image_order
from unified.model.positions import Positions

TEXT, IMAGE = 0, 1  # rows of a segment embedding


class EncoderLayer(GradientCheckpointingLayer):
    def __init__(self, config: UnifiedConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.d_model)
        self.attention = Attention(config)
        self.mlp_norm = RMSNorm(config.d_model)
        self.mlp = GatedMLP(config)
        self.dropout = LengthDropout(config.dropout)

    def forward(self, x: Tensor, bias: Bias) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x), bias))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


class Encoder(nn.Module):
    """Embedded text and images of a batch of rows -> hidden states."""

    main_input_name = "input_ids"  # GenerationMixin asks

    def __init__(self, config: UnifiedConfig) -> None:
        super().__init__()
        self.config = config
        if config.image_input == "patches":
            self.patch_embedding = PatchEmbedding(config)
        self.segment_embedding = nn.Embedding(config.num_segments, config.d_model)
        if config.max_images > 1:
            self.image_index = nn.Embedding(config.max_images - 1, config.d_model)
            self.image_index.init_gain = 0.0  # type: ignore[assignment]
        self.positions = Positions(
            config, config.encoder_max_text_length, config.image_grid, bidirectional=True
        )
        self.text_norm = RMSNorm(config.d_model)
        self.image_norm = RMSNorm(config.d_model)
        self.dropout = LengthDropout(config.dropout)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.final_norm = RMSNorm(config.d_model)

    def forward(
        self, text: Tensor, images: Tensor | None, segments: Tensor, packing: Packing | None = None,
        owners: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """
        Args:
            text: (B, Lt, d) embedded ids.
            images: (B, M, S, S, 3) pixels, or (B, M, Np, d) embedded codes, or None. For pixels of another
                size than the configuration's the table of positions is resized, as in the reference.
            segments: (B, Lt + M * Np), 0 is padding; attention stays within equal numbers.
            packing, owners: of rows that hold several examples. Then text has one example a row, images are
                (N, 1, ...) with the example of each in `owners` (N,), and `segments` is not read.

        Returns:
            (B, Lt + M * Np, d), or (R, L, d) of packed rows.
        """
        count = images.shape[1] if images is not None else 0
        grid = self.config.image_grid
        if images is not None and self.config.image_input == "patches":
            grid = images.shape[2] // self.config.patch_size
        text_at, image_at, bias = self.positions(text.shape[1], count, grid, packing)
        # both kinds in one call: with and without images, the same modules are called (ZeRO-3)
        segment = self.segment_embedding(torch.arange(2, device=text.device))
        x = self.text_norm(text + segment[TEXT] + text_at)
        patches = None
        if images is not None:
            index = torch.arange(count, device=text.device) if owners is None else image_order(owners)
            index = index[None] if owners is None else index[:, None]
            patches = self._patches(images) + segment[IMAGE] + self._index(index) + image_at[:, None]
            patches = rearrange(self.image_norm(patches), "b m n d -> b (m n) d")
        elif self.training:
            x = x + 0.0 * (self._untouched(text) + image_at.sum())
        if packing is not None:
            x = packing.gather(x, patches)
        else:
            x = x if patches is None else torch.cat([x, patches], 1)
            bias = additive(bias, same_segment(segments, segments), compute_dtype(x))
        x = self.dropout(x)
        for layer in self.layers:
            x = layer(x, bias)
        return F.dropout(self.final_norm(x), self.config.dropout, self.training)

    def _patches(self, images: Tensor) -> Tensor:
        if self.config.image_input == "codes":
            return images
        patches = self.patch_embedding(rearrange(images, "b m h w c -> (b m) h w c"))
        return rearrange(patches, "(b m) n d -> b m n d", b=len(images))

    def _index(self, index: Tensor) -> Tensor | float:
        """(b, M) -> (b, M, 1, d): zero for the first image, so one-image models are left as they are."""
        if self.config.max_images == 1:
            return 0.0
        rows = self.image_index((index - 1).clamp(min=0))
        return repeat(rows * (index > 0)[..., None], "b m d -> b m 1 d")

    def _untouched(self, like: Tensor) -> Tensor:
        """A number that depends on each parameter which a batch without images leaves alone.

        Times zero it is added to the text: every rank then runs the same modules, without which
        ZeRO-3 waits for ever when ranks hold different modalities.
        """
        if self.config.image_input == "patches":
            patch = self.config.patch_size
            patches = self.patch_embedding(torch.zeros(1, patch, patch, 3, device=like.device))
        else:
            patches = torch.zeros(1, 1, self.config.d_model, device=like.device, dtype=like.dtype)
        rows = patches[:, None] + self._index(torch.zeros(1, 1, dtype=torch.long, device=like.device))
        return self.image_norm(rows).sum()
