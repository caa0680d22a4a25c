"""The decoder: one causal sequence [text block ; image block] that attends to the encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers.cache_utils import EncoderDecoderCache
from transformers.modeling_layers import GradientCheckpointingLayer

from unified.model.attention import Bias
from unified.model.blocks import Attention, GatedMLP, LengthDropout, RMSNorm
from unified.model.configuration import UnifiedConfig
from unified.model.positions import Positions


class DecoderLayer(GradientCheckpointingLayer):
    def __init__(self, config: UnifiedConfig, layer: int) -> None:
        super().__init__()
        self.self_norm = RMSNorm(config.d_model)
        self.self_attention = Attention(config, layer)
        self.cross_norm = RMSNorm(config.d_model)
        self.cross_attention = Attention(config, layer)
        self.mlp_norm = RMSNorm(config.d_model)
        self.mlp = GatedMLP(config)
        self.dropout = LengthDropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        bias: Bias,
        memory: Tensor,
        memory_bias: Bias,
        cache: EncoderDecoderCache | None = None,
    ) -> Tensor:
        x = x + self.dropout(self.self_attention(self.self_norm(x), bias, cache=cache))
        x = x + self.dropout(self.cross_attention(self.cross_norm(x), memory_bias, memory, cache))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


class Decoder(nn.Module):
    """Embedded decoder inputs -> hidden states.

    Cross-attention has no position bias: the reference computes one and then drops it (its two
    `cross_position` weights exist in official checkpoints and mean nothing).
    """

    def __init__(self, config: UnifiedConfig) -> None:
        super().__init__()
        self.segment_embedding = nn.Embedding(config.num_segments, config.d_model)
        self.positions = Positions(
            config, config.decoder_max_text_length, config.target_grid, bidirectional=False
        )
        self.input_norm = RMSNorm(config.d_model)
        self.dropout = LengthDropout(config.dropout)
        self.layers = nn.ModuleList(DecoderLayer(config, i) for i in range(config.decoder_layers))
        self.final_norm = RMSNorm(config.d_model)

    def forward(
        self,
        tokens: Tensor,
        segments: Tensor,
        positions: Tensor,
        bias: Bias,
        memory: Tensor,
        memory_bias: Bias,
        cache: EncoderDecoderCache | None = None,
    ) -> Tensor:
        """
        Args:
            tokens: (B, L, d) embedded ids.
            segments: (1 or B, L), 0 for text and 1 for image.
            positions: (1 or B, L, d) embedded positions.
            bias: (1 or B, 1 or heads, L, Lk) additive, mask included.
            memory: (B, Lm, d) the encoder's output (fewer rows where rows share one, see `Attention`).
            memory_bias: broadcastable to (B, heads, L, Lm), additive: the mask of the memory. Of packed rows
                both may be what stands for it.
            cache: keys and values of the sequence so far; this call's are added.

        Returns:
            (B, L, d).
        """
        x = self.input_norm(tokens + positions + self.segment_embedding(segments))
        x = self.dropout(x)
        for layer in self.layers:
            x = layer(x, bias, memory, memory_bias, cache=cache)
        return self.dropout(self.final_norm(x))


def shift_right(ids: Tensor, start: int) -> Tensor:
    """(..., L) targets -> decoder inputs: `start`, then each target one place later."""
    return torch.cat([torch.full_like(ids[..., :1], start), ids[..., :-1]], -1)
