"""Where a token stands: absolute embeddings and the attention bias made of positions.

Unified-IO has three mechanisms, all of them here (network.py:503-790, t5x_layers.py:742-944):

- an absolute embedding, added to the token;
- an *untied* bias (P Wq)_i . (P Wk)_j (d_model / heads)^-0.5 of the normalised position embeddings alone;
- T5's relative buckets between text positions, their 2-D cousin between patches of one image, nothing
  between text and image.

The bias is the same in every layer, so a stack computes it once a forward.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from unified.model.attention import Bias, causal, masked
from unified.model.blocks import RMSNorm
from unified.model.configuration import UnifiedConfig
from unified.model.flex import Flex, segment_blocks
from unified.model.packing import Packing
from unified.model.per_example import PerExample

TEXT_BUCKETS = 32
IMAGE_BUCKETS = 256
NOTHING, HIDDEN = TEXT_BUCKETS + IMAGE_BUCKETS, TEXT_BUCKETS + IMAGE_BUCKETS + 1
"""In packed rows: the buckets of pairs with no relative bias, and of pairs that must not see each other."""
_EPSILON = float(np.finfo(np.float32).eps)  # the reference adds it inside the logarithm


def _log_bucket(distance: np.ndarray, buckets: int, max_distance: int) -> np.ndarray:
    """Exact below half the buckets, then logarithmic up to `max_distance`, then the last one."""
    exact = buckets // 2
    far = np.log(distance / exact + _EPSILON) / np.log(max_distance / exact) * (buckets - exact)
    return np.where(distance < exact, distance, np.minimum(exact + far.astype(np.int64), buckets - 1))


def text_bucket(offset: np.ndarray, bidirectional: bool) -> np.ndarray:
    """Bucket (0..31) of `offset` = key position - query position."""
    if bidirectional:
        return (offset > 0) * (TEXT_BUCKETS // 2) + _log_bucket(np.abs(offset), TEXT_BUCKETS // 2, 128)
    return _log_bucket(np.maximum(-offset, 0), TEXT_BUCKETS, 128)


def image_bucket(dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Bucket (0..255) of the offset (dx, dy) = key - query in patches: four quadrants of 8 x 8."""
    quadrant = np.select([(dx >= 0) & (dy > 0), (dx > 0) & (dy <= 0), (dx < 0) & (dy >= 0)], [3, 2, 1], 0)
    return 64 * quadrant + _log_bucket(np.abs(dx), 8, 20) + 8 * _log_bucket(np.abs(dy), 8, 20)


def _constant(array: np.ndarray, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # it is cached, and autograd refuses inference tensors
        return torch.from_numpy(array).to(device)


@lru_cache(maxsize=64)
def _text_square(length: int, bidirectional: bool, device: torch.device) -> Tensor:
    """(length, length): the bucket of query i and key j."""
    at = np.arange(length)
    return _constant(text_bucket(at[None, :] - at[:, None], bidirectional), device)


@lru_cache(maxsize=16)
def _image_square(grid: int, device: torch.device) -> Tensor:
    """(grid², grid²): the bucket of query cell i and key cell j, cells numbered row by row."""
    y, x = np.divmod(np.arange(grid * grid), grid)
    return _constant(image_bucket(x[None, :] - x[:, None], y[None, :] - y[:, None]), device)


@lru_cache(maxsize=64)
def _pair_buckets(length: int, grid: int, bidirectional: bool, device: torch.device) -> Tensor:
    """(U, U) for the U = length + grid² slots of an example with one image: the bucket of query i and key j,
    image buckets after the text ones, NOTHING between text and image."""
    slots = length + grid**2
    square = torch.full((slots, slots), NOTHING, device=device)
    square[:length, :length] = _text_square(length, bidirectional, device)
    if grid:
        square[length:, length:] = TEXT_BUCKETS + _image_square(grid, device)
    return square


@lru_cache(maxsize=16)
def _bicubic(source: int, target: int, device: torch.device) -> Tensor:
    """(target, source) float32 weights of `jax.image.resize`: Keys' cubic of a = -0.5 (torch's has -0.75),
    stretched when shrinking, each row over its sum."""
    centre = (np.arange(target) + 0.5) * source / target - 0.5
    x = np.abs(centre[:, None] - np.arange(source)[None, :]) / max(source / target, 1.0)
    near, far = (1.5 * x - 2.5) * x * x + 1.0, ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    weights = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    return _constant((weights / weights.sum(1, keepdims=True)).astype(np.float32), device)


def _resized(table: Tensor, grid: int) -> Tensor:
    """(g², d) rows of the cells of a square, row by row -> (grid², d)."""
    source = round(len(table) ** 0.5)
    weights = _bicubic(source, grid, table.device).to(table.dtype)
    square = rearrange(table, "(y x) d -> y x d", x=source)
    return rearrange(torch.einsum("ay,bx,yxd->abd", weights, weights, square), "a b d -> (a b) d")


class Positions(nn.Module):
    """Position embeddings and position bias of one stack; sequences are [text ; image ; image ...].

    Args:
        max_text: text positions; the rows of the table after them belong to the cells of an image.
        grid: cells along a side of an image.
        bidirectional: the encoder looks both ways, the decoder's text only back.
    """

    def __init__(self, config: UnifiedConfig, max_text: int, grid: int, bidirectional: bool) -> None:
        super().__init__()
        inner = config.num_heads * config.head_dim
        self.max_text, self.grid, self.bidirectional = max_text, grid, bidirectional
        self.heads = config.num_heads
        self.scale = (config.d_model / config.num_heads) ** -0.5  # not head_dim: they differ in `small`
        self.embedding = nn.Embedding(max_text + grid * grid, config.d_model)
        self.norm = RMSNorm(config.d_model)
        self.query = nn.Linear(config.d_model, inner, bias=False)
        self.key = nn.Linear(config.d_model, inner, bias=False)
        self.text_relative = nn.Parameter(torch.empty(config.num_heads, TEXT_BUCKETS))
        self.image_relative = nn.Parameter(torch.empty(config.num_heads, IMAGE_BUCKETS))

    def forward(
        self, text_length: int, images: int, grid: int | None = None, packing: Packing | None = None
    ) -> tuple[Tensor, Tensor, Bias]:
        """
        Args:
            text_length: Lt, tokens of the text block.
            images: images in the image block, each of grid² cells.
            grid: cells along a side of these images where it is not that of the table, which is then resized.
            packing: of rows that hold several examples.

        Returns:
            text embedding (1, Lt, d), image embedding (1, grid², d), empty without images, and the bias: (1,
            heads, L, L) with L = Lt + images * grid²; of packed rows (R, heads, L, L), mask included, or the
            `PerExample` or `Flex` that stands for it.

        Raises:
            ValueError: more text than positions (the reference would read image rows instead).
        """
        if text_length > self.max_text:
            raise ValueError(f"{text_length} text tokens, but this model has {self.max_text} text positions")
        device = self.text_relative.device
        grid = self.grid if grid is None else grid
        text_rows = torch.arange(text_length, device=device)
        image_rows = self.max_text + torch.arange(self.grid**2 if images else 0, device=device)
        embedding = self.embedding(torch.cat([text_rows, image_rows]))
        text, image = embedding[:text_length], embedding[text_length:]
        if images and grid != self.grid:
            image = _resized(image, grid)
            embedding = torch.cat([text, image])
        normed = self.norm(embedding)
        q, k = self.query(normed) * self.scale, self.key(normed)
        if packing is None:
            bias: Bias = self._bias(q, k, text_length, images, grid)
        else:
            bias = self._packed(q, k, packing, grid if images else 0)
        if not images and self.training:
            text = text + 0.0 * self.image_relative.sum()  # every rank uses every parameter (ZeRO-3)
        return text[None], image[None], bias

    def _bias(self, q: Tensor, k: Tensor, text_length: int, images: int, grid: int) -> Tensor:
        """(1, heads, L, L) of [text ; image ; image ...], from (U, inner) of [text ; image]."""
        cells, device = grid**2, q.device
        if images > 1:
            image_index = (text_length + torch.arange(cells, device=device)).repeat(images)
            index = torch.cat([torch.arange(text_length, device=device), image_index])
            q, k = q[index], k[index]
        bias = self._product(q[None], k[None])
        buckets = _text_square(text_length, self.bidirectional, device)[None]
        bias[..., :text_length, :text_length] += _relative(self.text_relative, buckets, bias.dtype)
        if images:
            same = _relative(self.image_relative, _image_square(grid, device)[None], bias.dtype)
            for start in range(text_length, text_length + images * cells, cells):
                here = slice(start, start + cells)
                bias[..., here, here] += same
        return bias

    def _packed(self, q: Tensor, k: Tensor, packing: Packing, grid: int) -> Bias:
        """What the layers of a stack of packed rows share, from (U, inner) of [text ; image]."""
        if packing.style == "rows":
            return self._packed_bias(q, k, packing, grid)
        if packing.style == "by_example":
            biases = [self._packed_bias(q, k, packing.of_group(group), grid) for group in packing.groups]
            return PerExample(packing.groups, biases, packing.segments, packing.segments)
        slots, pictures = packing.slots, packing.pictures
        square = _pair_buckets(packing.text_length, grid, self.bidirectional, slots.device)
        nothing = torch.zeros(self.heads, 1, device=slots.device)
        table = torch.cat([self.text_relative, self.image_relative, nothing.to(self.text_relative.dtype)], 1)

        def relative(score: Tensor, row: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
            bucket = square[slots[row, i], slots[row, j]]
            bucket = torch.where(pictures[row, i] == pictures[row, j], bucket, NOTHING)
            return score + table[head, bucket].to(score.dtype)

        mask = segment_blocks(packing.segments, packing.segments, causal=not self.bidirectional)
        query, key = (rearrange(F.embedding(slots, x), "r l (h d) -> r h l d", h=self.heads) for x in (q, k))
        return Flex(mask, relative, query, key)

    def _packed_bias(self, q: Tensor, k: Tensor, packing: Packing, grid: int) -> Tensor:
        """(R, heads, L, L), mask included, from (U, inner) of [text ; image]."""
        bias = self._product(F.embedding(packing.slots, q), F.embedding(packing.slots, k))
        ends = torch.tensor([0.0, masked(bias.dtype)], device=bias.device).expand(self.heads, -1)
        table = torch.cat([self.text_relative, self.image_relative, ends.to(self.text_relative.dtype)], 1)
        return bias + _relative(table, self.packed_buckets(packing, grid), bias.dtype)

    def packed_buckets(self, packing: Packing, grid: int) -> Tensor:
        """(R, L, L) places in the table [text ; image buckets ; NOTHING ; HIDDEN] for query i and key j."""
        square = _pair_buckets(packing.text_length, grid, self.bidirectional, packing.slots.device)
        i, j = packing.slots[:, :, None], packing.slots[:, None, :]
        buckets = square[i, j]
        other = packing.pictures[:, :, None] != packing.pictures[:, None, :]
        seen = packing.segments[:, :, None] == packing.segments[:, None, :]
        if not self.bidirectional:
            seen = seen & causal(seen.shape[1], seen.device)[0]
        return torch.where(seen, torch.where(other, NOTHING, buckets), HIDDEN)

    def _product(self, q: Tensor, k: Tensor) -> Tensor:
        """(B, L, inner) twice -> (B, heads, L, L)."""
        return rearrange(q, "b i (h d) -> b h i d", h=self.heads) @ rearrange(
            k, "b j (h d) -> b h d j", h=self.heads
        )


def _relative(table: Tensor, buckets: Tensor, dtype: torch.dtype) -> Tensor:
    """(H, n) values and (b, L, L) buckets -> (b, H, L, L). `index_select`, whose backward is ten times faster
    on a CPU than that of indexing or of an embedding."""
    values = table.to(dtype).index_select(1, buckets.flatten())
    return values.unflatten(1, buckets.shape).transpose(0, 1)
