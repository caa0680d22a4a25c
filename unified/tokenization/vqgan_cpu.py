"""taming's encoder on a CPU: the same weights as its own forward, in float32, in less time.

A map of a large image is bigger than any cache: each operation on one moves it through memory, to pages that
the system must first hand out. So each convolution runs over strips of a few rows, together with the norm and
the swish before it and the sum and the moments of the next norm behind it, in memory that is used again; and
its 3 x 3 windows are computed by Winograd's F(4x4, 3x3) (Lavin and Gray, 2015, arXiv:1509.09308): 36 products
where 144 stand, as one batched matmul a strip. Latents are no further from those in float64 than taming's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

SMALL = 2**22
"""Bytes of the first map of an image below which it fits a cache, and strips cost more than they save."""
STRIP = 2**21
"""Bytes of a strip: with what is made of it, it stays in the last cache."""
NARROW = 64
"""Channels below which the sums around Winograd's products cost more than the products saved."""
TILE = 4
"""Outputs a side of Winograd's tiles."""
WINOGRAD = (
    (1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6), (1 / 24, -1 / 12, 1 / 6), (0, 0, 1),
)  # fmt: skip
"""G of F(4, 3): three weights -> six."""


Version: TypeAlias = tuple[Any, ...]


def version(weight: Tensor) -> Version:
    """Differs where the weight has been moved or changed. Those made in inference mode cannot be trained."""
    changes = 0 if weight.is_inference() else weight._version
    return weight.data_ptr(), weight.device, weight.dtype, changes


@dataclass
class Moments:
    """Of some rows of a map: mean and variance (C,) of each channel."""

    rows: int
    mean: Tensor
    variance: Tensor


@dataclass
class Map:
    """values (H, W, C), and the moments of its strips."""

    values: Tensor
    moments: list[Moments]


class CpuEncoder:
    """Latents by the modules of a taming `Encoder` in evaluation mode and of the 1 x 1 convolution behind it.

    Transformed weights are kept (four times the memory of the weights) until the weights change.
    """

    def __init__(self, encoder: nn.Module, quant_conv: nn.Conv2d) -> None:
        self.encoder: Any = encoder
        self.quant_conv = quant_conv
        self._weights: dict[nn.Conv2d, tuple[Version, Tensor]] = {}
        self._memory: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    def large(self, height: int, width: int) -> bool:
        """Whether images of this size are encoded one by one, in strips."""
        return 4 * height * width * int(self.encoder.conv_in.out_channels) >= SMALL

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """images (N, H, W, 3) in -1..1, N = 1 of `large` ones -> latents (N, embed_dim, h, w)."""
        if not self.large(*images.shape[1:3]):
            x = _plain(self.encoder, rearrange(images, "n h w c -> n c h w"))
        else:
            x = self._in_strips(images[0])
        return F.conv2d(x, self.quant_conv.weight, self.quant_conv.bias)

    def release(self) -> None:
        """Gives back the memory of the maps, which calls share, since fresh pages take their time."""
        self._memory.clear()

    # ------------------------------------------------------------------------------- parts

    def _in_strips(self, image: Tensor) -> Tensor:
        net = self.encoder
        x = self._conv(net.conv_in, Map(image, []), "in")
        last = len(net.down) - 1
        for i, level in enumerate(net.down):
            for j, block in enumerate(level.block):
                x = self._block(block, x, f"level {i}")
                if len(level.attn):
                    x = self._attention(level.attn[j], x)
            if i < last:
                x = self._downsample(level.downsample.conv, x)
        x = self._block(net.mid.block_1, x, "middle")
        x = self._attention(net.mid.attn_1, x)
        x = self._block(net.mid.block_2, x, "middle")
        return _nchw(self._conv(net.conv_out, x, "out", norm=net.norm_out).values)

    def _block(self, block: Any, x: Map, place: str) -> Map:
        """Norm, swish and convolution, twice, and the sum with what came in."""
        inner = self._conv(block.conv1, x, f"{place}, inner", norm=block.norm1)
        if block.in_channels == block.out_channels:

            def add(rows: slice) -> Tensor:
                return x.values[rows]

            return self._conv(block.conv2, inner, "", norm=block.norm2, add=add, out=x.values)

        def shortcut(rows: slice) -> Tensor:
            conv = block.nin_shortcut
            return _hwc(F.conv2d(_nchw(x.values[rows]), conv.weight, conv.bias))

        return self._conv(block.conv2, inner, f"{place}, outer", norm=block.norm2, add=shortcut)

    def _attention(self, attention: nn.Module, x: Map) -> Map:
        values = _hwc(attention(_nchw(x.values))).contiguous()
        return Map(values, [_moments(values)])

    def _downsample(self, conv: nn.Conv2d, x: Map) -> Map:
        """A 3 x 3 convolution of stride 2. taming pads below and to the right only."""
        height, width, channels = x.values.shape
        out = self._take("down", (height // 2, width // 2, channels))
        step = _rows(height // 2, 8 * width * channels)
        padded = self._take("padded", (2 * step + 1, width + 1, channels))
        padded[:, width] = 0
        moments = []
        for row in range(0, height // 2, step):
            part = x.values[2 * row : 2 * (row + step) + 1]
            padded[: len(part), :width] = part
            padded[len(part) :] = 0
            strip = out[row : row + step]
            strip.copy_(_hwc(F.conv2d(_nchw(padded), conv.weight, conv.bias, stride=2)))
            moments.append(_moments(strip))
        return Map(out, moments)

    # ------------------------------------------------------------------------- convolution

    def _conv(
        self,
        conv: nn.Conv2d,
        x: Map,
        place: str,
        *,
        norm: nn.GroupNorm | None = None,
        add: Callable[[slice], Tensor] | None = None,
        out: Tensor | None = None,
    ) -> Map:
        """A 3 x 3 convolution of a map, or of its norm and swish; `add` gives what is added to some rows. The
        result lies in `out`, or in the memory of that place."""
        height, width, channels = x.values.shape
        if out is None:
            out = self._take(place, (height, width, conv.out_channels))
        winograd = height % TILE == width % TILE == 0 and min(channels, conv.out_channels) >= NARROW
        unit = TILE if winograd else 1
        step = _rows(height, 4 * width * max(channels, conv.out_channels), unit)
        affine = self._affine(norm, x) if norm is not None else None
        padded = self._take("padded", (step + 2, width + 2, channels))
        padded[:, 0] = padded[:, -1] = 0
        moments = []
        for row in range(0, height, step):
            self._read(x.values, row, padded, affine)
            rows = slice(row, row + step)
            strip, added = out[rows], add(rows) if add is not None else None
            if winograd:
                self._winograd(conv, padded, strip, added)
            else:
                made = _hwc(F.conv2d(_nchw(padded), conv.weight, conv.bias))
                strip.copy_(made if added is None else made.add_(added))
            moments.append(_moments(strip))
        return Map(out, moments)

    def _read(self, values: Tensor, row: int, padded: Tensor, affine: tuple[Tensor, Tensor] | None) -> None:
        """Rows row - 1 .. row + step of a map into `padded`, with zeros outside of the map."""
        known = 1
        if row:
            known = 2
            padded[:2] = padded[-2:]  # read for the strip above
        else:
            padded[0] = 0
        end = min(len(values), row + len(padded) - 1)
        part = values[row - 1 + known : end]
        inside = padded[known : known + len(part), 1:-1]
        if affine is None:
            inside.copy_(part)
        else:
            torch.addcmul(affine[1], part, affine[0], out=inside)
            F.silu(inside, inplace=True)
        padded[known + len(part) :] = 0

    def _affine(self, norm: nn.GroupNorm, x: Map) -> tuple[Tensor, Tensor]:
        """Scale and shift (W, C) that are the group norm of a map, from the moments of its strips."""
        rows = torch.tensor([m.rows for m in x.moments], dtype=torch.float64)[:, None]
        means = torch.stack([m.mean for m in x.moments]).double()
        variances = torch.stack([m.variance for m in x.moments]).double()
        share = rows / rows.sum()
        mean = (share * means).sum(0)
        square = (share * (variances + means.square())).sum(0)
        mean, square, weight, bias = (
            v.double().view(norm.num_groups, -1) for v in (mean, square, norm.weight, norm.bias)
        )
        centre = mean.mean(1, keepdim=True)
        variance = (square.mean(1, keepdim=True) - centre.square()).clamp(min=0)
        scale = weight * (variance + norm.eps).rsqrt()
        width = x.values.shape[1]
        # one row of the map: an operation then runs over whole rows, not pixel by pixel
        scale, shift = (v.float().flatten().repeat(width, 1) for v in (scale, bias - scale * centre))
        return scale, shift

    def _winograd(self, conv: nn.Conv2d, padded: Tensor, out: Tensor, added: Tensor | None) -> None:
        """out (h, w, K) from padded (h + 2, w + 2, C), in tiles of 4 x 4. `added` may be `out`."""
        assert conv.bias is not None
        c, k = conv.in_channels, conv.out_channels
        rows, columns = out.shape[0] // TILE, out.shape[1] // TILE
        down, right = TILE * (rows - 1) + 1, TILE * (columns - 1) + 1
        half = self._take("half", (6, rows, padded.shape[1], c))
        whole = self._take("whole", (6, 6, rows, columns, c))
        _windows([padded[i : i + down : TILE] for i in range(6)], half)
        _windows([half[:, :, j : j + right : TILE] for j in range(6)], whole.transpose(0, 1))
        product = self._take("product", (36, rows * columns, k))
        torch.bmm(whole.view(36, -1, c), self._transformed(conv), out=product)
        m = product.view(6, 6, rows, columns, k)
        m[1, 1].add_(conv.bias)  # which goes once into each of the outputs
        sums = self._take("sums", (TILE, 6, rows, columns, k))
        _outputs(m, sums)
        target = _tiles(out)
        if added is None:
            _outputs(sums.transpose(0, 1), target)
        else:
            made = self._take("made", tuple(target.shape))
            _outputs(sums.transpose(0, 1), made)
            torch.add(made, _tiles(added), out=target)

    def _transformed(self, conv: nn.Conv2d) -> Tensor:
        """(36, C, K): the weights of F(4x4, 3x3), worked out in float64."""
        state = version(conv.weight)
        known = self._weights.get(conv)
        if known is None or known[0] != state:
            g = torch.tensor(WINOGRAD, dtype=torch.float64)
            made = torch.einsum("ia,kcab,jb->ijck", g, conv.weight.double(), g)
            known = self._weights[conv] = state, rearrange(made, "i j c k -> (i j) c k").float().contiguous()
        return known[1]

    def _take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        key = name, shape
        if key not in self._memory:
            self._memory[key] = torch.empty(shape)
        return self._memory[key]


def _plain(encoder: Any, x: Tensor) -> Tensor:
    """The encoder with fewer passes over memory: channels last, as x lies there, and the swish in place."""

    def normal(norm: nn.GroupNorm, x: Tensor) -> Tensor:
        return F.silu(norm(x), inplace=True)

    def block(part: Any, x: Tensor) -> Tensor:
        inner = part.conv1(normal(part.norm1, x))
        made = part.conv2(normal(part.norm2, inner))
        return made.add_(x if part.in_channels == part.out_channels else part.nin_shortcut(x))

    x = encoder.conv_in(x)
    last = len(encoder.down) - 1
    for i, level in enumerate(encoder.down):
        for j, part in enumerate(level.block):
            x = block(part, x)
            if len(level.attn):
                x = level.attn[j](x)
        if i < last:
            x = level.downsample(x)
    x = block(encoder.mid.block_1, x)
    x = encoder.mid.attn_1(x)
    x = block(encoder.mid.block_2, x)
    return encoder.conv_out(normal(encoder.norm_out, x))


def _windows(parts: list[Tensor], out: Tensor) -> None:
    """B^T of F(4, 3): six neighbours -> six inputs of the products."""
    a, b, c, d, e, f = parts
    torch.sub(e, c, alpha=4, out=out[0])
    torch.sub(d, b, alpha=4, out=out[5])
    torch.add(out[0], out[5], out=out[1])
    torch.sub(out[0], out[5], out=out[2])
    out[0].add_(a, alpha=4).sub_(c)
    torch.sub(f, out[5], out=out[5]).sub_(d, alpha=4)
    torch.sub(e, c, out=out[3])
    torch.sub(d, b, out=out[4])
    out[3].add_(out[4], alpha=2)
    torch.sub(out[3], out[4], alpha=4, out=out[4])


def _outputs(products: Tensor, out: Tensor) -> None:
    """A^T of F(4, 3): six products (6, ...) -> four outputs (4, ...). The products are overwritten."""
    a, b, c, d, e, f = products
    torch.add(b, c, out=out[2])
    torch.sub(b, c, out=out[1])
    torch.add(d, e, out=b)
    torch.sub(d, e, out=c)
    torch.add(a, out[2], out=out[0]).add_(b)
    torch.add(out[1], c, alpha=8, out=out[3]).add_(f)
    out[2].add_(b, alpha=4)
    out[1].add_(c, alpha=2)


def _tiles(rows: Tensor) -> Tensor:
    """(h, w, K) -> (4, 4, h / 4, w / 4, K): column in its tile, row in its tile, tile."""
    return rearrange(rows, "(t i) (w j) k -> j i t w k", i=TILE, j=TILE)


def _moments(strip: Tensor) -> Moments:
    mean = strip.mean((0, 1))
    return Moments(len(strip), mean, (strip - mean).square_().mean((0, 1)))


def _rows(height: int, bytes_a_row: int, unit: int = 1) -> int:
    """Rows of a strip: the largest divisor of the height, a multiple of `unit`, that STRIP has room for."""
    fitting = [rows for rows in range(unit, height + 1, unit) if height % rows == 0]
    return max((rows for rows in fitting if rows * bytes_a_row <= STRIP), default=unit)


def _nchw(x: Tensor) -> Tensor:
    return rearrange(x, "h w c -> 1 c h w")


def _hwc(x: Tensor) -> Tensor:
    return rearrange(x, "1 c h w -> h w c")
