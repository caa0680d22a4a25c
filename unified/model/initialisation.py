"""Embeddings of a new model that already know what lies near what.

Unified-IO starts every row of its embedding at random, so that a model must first find out that location 500
stands beside location 501, or that two image codes look alike. Here neighbours start alike instead: positions
along an axis are smooth random functions, image codes a random projection of the VQGAN's codebook. Every row
keeps unit variance, and nothing but the start differs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unified.model.modeling import UnifiedModel


@torch.no_grad()
def relate_embeddings(model: UnifiedModel, locations: range, codebook: Tensor | None) -> None:
    """Rewrites the rows of locations, of grid cells and, with a codebook, of image codes. Draws from torch's
    global generator.

    locations: the ids of the location bins, in the order of their coordinates.
    codebook: (codes, channels), row c is the vector of image code c.
    """
    table, width = model.token_embedder.weight, model.config.d_model
    table[locations.start : locations.stop] = smooth_rows(len(locations), width, coarse=1 / 12, fine=1 / 60)
    for positions in (model.encoder.positions, model.decoder.positions):
        side = positions.grid
        rows, columns = (smooth_rows(side, width, coarse=1 / 4, fine=1 / 12) for _ in range(2))
        cells = (rows[:, None] + columns[None]) / math.sqrt(2)
        positions.embedding.weight[positions.max_text :] = cells.flatten(0, 1)
    if codebook is not None:
        table[model.config.vocab_size :] = project_rows(codebook.float(), width)


def smooth_rows(count: int, width: int, *, coarse: float, fine: float) -> Tensor:
    """(count, width) random rows of unit variance in which neighbours are alike: the sum of two smooth
    functions of the row number. coarse, fine: their length scales, as shares of `count`."""
    at = torch.arange(count, dtype=torch.float)
    out = torch.zeros(count, width)
    for scale in (coarse * count, fine * count):
        kernel = torch.exp(-0.5 * ((at[:, None] - at) / scale).square())
        kernel /= kernel.square().sum(1, keepdim=True).sqrt()
        out += kernel @ torch.randn(count, width) / math.sqrt(2)
    return out


def project_rows(vectors: Tensor, width: int, noise: float = 0.5) -> Tensor:
    """(count, channels) -> (count, width) of unit variance: a random projection, and noise that tells apart
    rows which it leaves close together. noise: its standard deviation beside that of the projection, 1."""
    centred = vectors - vectors.mean(0)
    projected = centred @ torch.randn(vectors.shape[1], width)
    return (projected / projected.std() + noise * torch.randn_like(projected)) / math.sqrt(1 + noise**2)
