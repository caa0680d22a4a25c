"""What an official checkpoint must hold: every key and shape, from the two networks that it is of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isqrt
from pathlib import Path

import torch
from torch import nn

from unified.errors import UserError
from unified.model.configuration import SIZES, UnifiedConfig
from unified.model.modeling import UnifiedModel
from unified.model.official import IMAGE_TOKENIZER, INERT, image_tokenizer_key, official_key, official_shape
from unified.specs.paths import resource
from unified.tokenization.vqgan import NetworkConfig, VQConfig, VQModel

OFFICIAL_SIZES = ("small", "base", "large", "xl")
TEXT_POSITIONS = 256
"""Rows of both position tables that belong to text, in every official checkpoint; images have the rest."""
NORM_GROUPS = 32

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Architecture:
    """The model and the VQGAN of a checkpoint."""

    model: UnifiedConfig
    vqgan: VQConfig

    @property
    def size(self) -> str | None:
        """The official size that this is, if it is one."""
        return next((size for size in OFFICIAL_SIZES if of_size(size).same(self)), None)

    def same(self, other: Architecture) -> bool:
        """Whether the two are of the same numbers (== of configurations leaves ours out)."""
        return self.model.to_dict() == other.model.to_dict() and self.vqgan == other.vqgan

    @cached_property
    def model_weights(self) -> dict[str, Shape]:
        """Our names and shapes of the model's weights."""
        with torch.device("meta"):
            return _shapes(UnifiedModel(self.model))

    @cached_property
    def vqgan_weights(self) -> dict[str, Shape]:
        """taming's names and shapes of the VQGAN's weights."""
        with torch.device("meta"):
            return _shapes(VQModel(self.vqgan))

    def vqgan_key(self, name: str) -> str:
        return image_tokenizer_key(name, len(self.vqgan.ddconfig.ch_mult))

    @cached_property
    def manifest(self) -> dict[str, Shape]:
        """Every key and shape of the checkpoint, the inert weights too."""
        keys = {official_key(name): shape for name, shape in self.model_weights.items()}
        keys |= {self.vqgan_key(name): shape for name, shape in self.vqgan_weights.items()}
        keys |= dict.fromkeys(INERT, (self.model.num_heads * self.model.head_dim, self.model.d_model))
        return {key: official_shape(key, shape) for key, shape in keys.items() if key is not None}

    def check(self, shapes: Mapping[str, Shape], where: Path) -> None:
        """Raises UserError where a checkpoint's keys or shapes are not those of `manifest`."""
        wanted = self.manifest
        missing = sorted(wanted.keys() - shapes.keys())
        unknown = sorted(shapes.keys() - wanted.keys())
        other = sorted(k for k in wanted.keys() & shapes.keys() if wanted[k] != shapes[k])
        problems = []
        if missing:
            first = f"{missing[0]} {wanted[missing[0]]}"
            problems.append(f"{len(missing)} of {len(wanted)} keys are missing, the first is {first}")
        if unknown:
            problems.append(
                f"{len(unknown)} keys are unknown, the first is {unknown[0]} {shapes[unknown[0]]}"
            )
        if other:
            first = f"{other[0]} with {shapes[other[0]]} instead of {wanted[other[0]]}"
            problems.append(f"{len(other)} keys have other shapes, the first is {first}")
        if problems:
            what = f"size '{self.size}'" if self.size else "these dimensions"
            raise UserError(
                "\n".join([f"{where}: is no Unified-IO checkpoint of {what}:", *("  " + p for p in problems)])
            )


def of_size(size: str) -> Architecture:
    """That of an official size. Raises UserError where `size` is none."""
    if size not in OFFICIAL_SIZES:
        raise UserError(f"--size {size}: there are auto, {', '.join(OFFICIAL_SIZES)}")
    vqgan = VQConfig.load(resource("tokenizers") / "unified_io" / "vqgan.yaml")
    return Architecture(UnifiedConfig(**SIZES[size]), vqgan)


def from_shapes(shapes: Mapping[str, Shape], where: Path) -> Architecture:
    """That of a checkpoint of any size, read off its keys and shapes; `check` tells whether it is whole.

    Raises UserError where a dimension cannot be read."""
    read = _Dimensions(shapes, where)
    model = read.model()
    return Architecture(model, read.vqgan(model.target_grid))


class _Dimensions:
    def __init__(self, shapes: Mapping[str, Shape], where: Path) -> None:
        self.shapes, self.where = shapes, where

    def shape(self, key: str, dims: int) -> Shape:
        shape = self.shapes.get(key)
        if shape is None:
            some = ", ".join(f"{key} {shape}" for key, shape in list(self.shapes.items())[:2])
            raise UserError(
                f"{self.where}: is no Unified-IO checkpoint: it has no {key}; it holds {some} ..."
            )
        if len(shape) != dims or 0 in shape:
            raise self.error(key, f"must have {dims} dimensions, none of them 0")
        return shape

    def error(self, key: str, why: str) -> UserError:
        return UserError(f"{self.where}: {key} {self.shapes[key]}: {why}; it is no Unified-IO checkpoint")

    def count(self, pattern: str) -> int:
        """How many different numbers keys have at the group of `pattern`."""
        return len({m[1] for m in map(re.compile(pattern).match, self.shapes) if m})

    def side(self, key: str, cells: int) -> int:
        """Of a square of `cells`."""
        if cells < 1 or isqrt(cells) ** 2 != cells:
            raise self.error(key, f"leaves {cells} cells for an image, which is no square")
        return isqrt(cells)

    def model(self) -> UnifiedConfig:
        rows, d_model = self.shape("token_embedder/embedding", 2)
        codes, _ = self.shape(f"{IMAGE_TOKENIZER}quantize/embedding", 2)
        heads, _ = self.shape("encoder/relpos_bias/rel_embedding", 2)
        joined = self.shape("encoder/position_q_linear/kernel", 2)[1]
        projection, reads, writes = (
            "encoder/image_projection/kernel",
            "encoder/position_embedding/embedding",
            "decoder/position_embedding/embedding",
        )
        values = self.shape(projection, 2)[0]
        if values % 3:
            raise self.error(
                projection, f"reads patches of {values} values, which is no multiple of 3 colours"
            )
        if joined % heads:
            raise self.error("encoder/position_q_linear/kernel", f"{joined} is no multiple of {heads} heads")
        if rows <= codes:
            raise self.error("token_embedder/embedding", f"has no rows for text beside {codes} image codes")
        patch = self.side(projection, values // 3)
        return UnifiedConfig(
            vocab_size=rows - codes,
            image_vocab_size=codes,
            d_model=d_model,
            num_heads=heads,
            head_dim=joined // heads,
            encoder_layers=self.count(r"encoder/layers_(\d+)/"),
            decoder_layers=self.count(r"decoder/layers_(\d+)/"),
            d_ff=self.shape("encoder/layers_0/mlp/wi_0/kernel", 2)[1],
            image_size=self.side(reads, self.shape(reads, 2)[0] - TEXT_POSITIONS) * patch,
            patch_size=patch,
            target_grid=self.side(writes, self.shape(writes, 2)[0] - TEXT_POSITIONS),
            encoder_max_text_length=TEXT_POSITIONS,
            decoder_max_text_length=TEXT_POSITIONS,
            num_segments=self.shape("encoder/segment_embedding/embedding", 2)[0],
        )

    def vqgan(self, grid: int) -> VQConfig:
        encoder = f"{IMAGE_TOKENIZER}encoder/"
        codes, width = self.shape(f"{IMAGE_TOKENIZER}quantize/embedding", 2)
        levels = self.count(encoder + r"down_(\d+)_block_0/")
        channels = self.shape(f"{encoder}conv_in/kernel", 4)[3]
        multiples = []
        for level in range(max(levels, 1)):
            key = f"{encoder}down_{level}_block_0/conv1/kernel"
            out = self.shape(key, 4)[3]
            if out % channels or out % NORM_GROUPS or channels % NORM_GROUPS:
                wanted = f"{channels} channels and of {NORM_GROUPS} groups"
                raise self.error(key, f"{out} channels are no multiple of the first layer's {wanted}")
            multiples.append(out // channels)
        side = grid * 2 ** (levels - 1)
        attention = [i for i in range(levels) if f"{encoder}down_{i}_attn_0/norm/scale" in self.shapes]
        network = NetworkConfig(
            z_channels=self.shape(f"{encoder}conv_out/kernel", 4)[3],
            resolution=side,
            ch=channels,
            ch_mult=tuple(multiples),
            num_res_blocks=self.count(encoder + r"down_0_block_(\d+)/"),
            attn_resolutions=tuple(side // 2**i for i in attention),
        )
        return VQConfig(embed_dim=width, n_embed=codes, ddconfig=network)


def _shapes(network: nn.Module) -> dict[str, Shape]:
    return {name: tuple(weight.shape) for name, weight in network.state_dict().items()}
