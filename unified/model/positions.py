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

from unified.model.blocks import RMSNorm
from unified.model.configuration import UnifiedConfig

TEXT_BUCKETS = 32
IMAGE_BUCKETS = 256
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
def _text_offsets(length: int, bidirectional: bool, device: torch.device) -> Tensor:
    """(2 * length - 1,): the bucket of offset `i - (length - 1)` at index i."""
    return _constant(text_bucket(np.arange(1 - length, length), bidirectional), device)


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
        self, text_length: int, images: int, text_positions: Tensor | None = None, grid: int | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """
        Args:
            text_length: Lt, tokens of the text block.
            images: images in the image block, each of grid² cells.
            text_positions: (B, Lt) where rows are packed; None: 0, 1, 2 ... in every row.
            grid: cells along a side of these images where it is not that of the table, which is then resized.

        Returns:
            text embedding (1 or B, Lt, d), image embedding (1, grid², d), empty without images, and the bias
            (1 or B, heads, L, L) with L = Lt + images * grid².

        Raises:
            ValueError: more text than positions (the reference would read image rows instead).
        """
        if text_length > self.max_text:
            raise ValueError(f"{text_length} text tokens, but this model has {self.max_text} text positions")
        device = self.text_relative.device
        grid = self.grid if grid is None else grid
        cells = grid**2
        packed = text_positions is not None
        text_rows = torch.arange(self.max_text if packed else text_length, device=device)
        image_rows = self.max_text + torch.arange(self.grid**2 if images else 0, device=device)
        embedding = self.embedding(torch.cat([text_rows, image_rows]))
        text, image = embedding[: len(text_rows)], embedding[len(text_rows) :]
        if images and grid != self.grid:
            image = _resized(image, grid)
            embedding = torch.cat([text, image])

        # positions of the whole sequence as rows of `embedding`
        image_index = (len(text_rows) + torch.arange(cells, device=device)).repeat(images)
        normed = self.norm(embedding)
        q, k = self.query(normed) * self.scale, self.key(normed)
        if text_positions is not None:
            text = F.embedding(text_positions, text)
            index = torch.cat([text_positions, image_index.expand(len(text_positions), -1)], 1)
            q, k = F.embedding(index, q), F.embedding(index, k)
            offsets = text_positions[:, None, :] - text_positions[:, :, None] + self.max_text - 1
            buckets = _text_offsets(self.max_text, self.bidirectional, device)[offsets]
        else:
            text, q, k = text[None], q[None], k[None]
            if images > 1:
                index = torch.cat([text_rows, image_index])
                q, k = q[:, index], k[:, index]
            buckets = _text_square(text_length, self.bidirectional, device)[None]
        bias = rearrange(q, "b i (h d) -> b h i d", h=self.heads) @ rearrange(
            k, "b j (h d) -> b h d j", h=self.heads
        )
        bias[..., :text_length, :text_length] += _relative(self.text_relative, buckets, bias.dtype)
        if images:
            same = _relative(self.image_relative, _image_square(grid, device)[None], bias.dtype)
            for start in range(text_length, text_length + images * cells, cells):
                here = slice(start, start + cells)
                bias[..., here, here] += same
        elif self.training:
            text = text + 0.0 * self.image_relative.sum()  # every rank uses every parameter (ZeRO-3)
        return text, image[None], bias


def _relative(table: Tensor, buckets: Tensor, dtype: torch.dtype) -> Tensor:
    """(H, n) values and (b, L, L) buckets -> (b, H, L, L)."""
    return rearrange(F.embedding(buckets, table.t().to(dtype)), "b i j h -> b h i j")
