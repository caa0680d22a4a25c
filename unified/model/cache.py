"""The cache that `generate` fills: keys and values in buffers that are written in place."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer, EncoderDecoderCache

ROOM = 64
"""Places of a new buffer; a full one is replaced by one of twice the size."""


class BufferedLayer(DynamicLayer):
    """A layer whose new keys and values are written behind the old ones, instead of copying both together at
    every step. `keys` and `values`: (B, H, n, D) views of the filled part of their buffers. Not for training:
    autograd refuses what is written over."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        self.keys, self.values = _append(self.keys, key_states), _append(self.values, value_states)
        return self.keys, self.values

    def reorder_cache(self, beam_idx: Tensor) -> None:
        for states in (self.keys, self.values):
            states.copy_(states.index_select(0, beam_idx.to(states.device)))


def _append(seen: Tensor, new: Tensor) -> Tensor:
    """`seen` (B, H, n, D), the beginning of a buffer, with `new` (B, H, m, D) after it."""
    batch, heads, length, width = seen.shape
    end = length + new.shape[2]
    if length == 0 or end > seen.stride(1) // width:
        buffer = new.new_empty(batch, heads, max(ROOM, 2 * end), width)
        buffer[:, :, :length] = seen
        seen = buffer
    whole = seen.as_strided((batch, heads, end, width), seen.stride(), seen.storage_offset())
    whole[:, :, length:] = new
    return whole


def decoding_cache() -> EncoderDecoderCache:
    """An empty cache: the decoder's own keys and values grow, those of the encoder's output are set once."""
    own = DynamicCache()  # by type, since transformers crops and repeats no other
    own.layer_class_to_replicate = BufferedLayer
    return EncoderDecoderCache(own, DynamicCache())
