"""What goes into the stacks: ids through the one shared embedding, pixels through a patch embedding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from unified.model.configuration import UnifiedConfig
from unified.model.linear import Repacked


class TokenEmbedding(nn.Embedding):
    """The one embedding of all ids. It is the output layer too: logits are y E^T / sqrt(d_model).

    Both go through `forward`, so that whatever gathers or loads the weight around a module's call
    (ZeRO-3, accelerate's offload) sees every use of it.
    """

    def __init__(self, ids: int, dim: int) -> None:
        super().__init__(ids, dim)
        self.repacked: dict[tuple[int | None, int | None], Repacked] = {}

    def forward(self, x: Tensor, rows: slice | None = None) -> Tensor:
        """Ids (...) -> (..., d); with `rows`, hidden states (..., d) -> logits (..., len(rows))."""
        if rows is None:
            return super().forward(x)
        x = x * self.embedding_dim**-0.5
        packed = self.repacked.get((rows.start, rows.stop))
        if packed is not None and packed.usable(x):
            return packed(x)[0]
        return F.linear(x, self.weight[rows])

    def repack(self, rows: slice) -> None:
        """From now on logits of `rows` may come from a repacked copy of them; see `Repacked`."""
        if Repacked.possible(self.weight):
            self.repacked[rows.start, rows.stop] = Repacked(self, rows=rows)


class PatchEmbedding(nn.Module):
    """Pixels (N, S, S, 3) in 0..255 -> (N, patches, d), patches row by row.

    `linear`: each patch, flattened as (row, column, channel), through one matrix: the official model.
    `conv`: three strided convolutions of the whole image, which learn from far fewer examples.
    """

    def __init__(self, config: UnifiedConfig) -> None:
        super().__init__()
        self.patch, self.kind = config.patch_size, config.patch_embed
        # (x / 255 - mean) / std as one multiplication and one addition
        self.gain = [1 / (255 * std) for std in config.image_std]
        self.shift = [-mean / std for mean, std in zip(config.image_mean, config.image_std, strict=True)]
        d = config.d_model
        if self.kind == "linear":
            self.projection: nn.Module = nn.Linear(3 * self.patch**2, d, bias=False)
        else:
            first, second, third = _strides(self.patch)
            self.projection = nn.Sequential(
                _convolution(3, d // 4, first), nn.SiLU(),
                _convolution(d // 4, d // 2, second), nn.SiLU(),
                _convolution(d // 2, d, third),
            )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        weight = next(self.parameters())
        gain, shift = (torch.tensor(x, device=images.device) for x in (self.gain, self.shift))
        x = torch.addcmul(shift, images.float(), gain).to(weight.dtype)
        if self.kind == "linear":
            return self.projection(
                rearrange(x, "n (h p) (w q) c -> n (h w) (p q c)", p=self.patch, q=self.patch)
            )
        # NHWC memory seen as NCHW is what torch calls channels_last: no copy
        return rearrange(self.projection(rearrange(x, "n h w c -> n c h w")), "n d h w -> n (h w) d")


def _strides(patch: int) -> tuple[int, int, int]:
    """Three powers of two, larger ones first, whose product is `patch`."""
    power = patch.bit_length() - 1
    first, second, third = ((power + 2 - i) // 3 for i in range(3))
    return 2**first, 2**second, 2**third


def _convolution(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    kernel = max(3, 2 * stride - 1)
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)
