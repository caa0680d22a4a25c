"""VQGAN: images <-> grids of codes, around the networks of taming-transformers."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from unified.errors import UserError
from unified.specs.document import read_file
from unified.specs.problems import SpecError
from unified.tokenization.vqgan_cpu import CpuEncoder, Version, version

ENCODE_CHUNK = 8
"""Images a pass of the encoder. The pass always has this many, so that a code never depends on what
else is in the batch: convolutions choose another order of summation for another batch size. Large images on
a CPU go one by one."""

RELEASED_GLOBALS = ("pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",)
"""Classes that released checkpoints name in parts we do not read; replaced by an empty one."""


class NetworkConfig(BaseModel):
    """taming's `ddconfig`: the shape of encoder and decoder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    double_z: bool = False
    z_channels: int
    resolution: int
    in_channels: Literal[3] = 3
    out_ch: Literal[3] = 3
    ch: int
    ch_mult: tuple[int, ...]
    num_res_blocks: int
    attn_resolutions: tuple[int, ...] = ()
    dropout: float = 0.0


class VQConfig(BaseModel):
    """The part of a taming config that decides the weights; keys of training are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    embed_dim: int
    n_embed: int
    beta: float = 0.25
    ddconfig: NetworkConfig

    @property
    def factor(self) -> int:
        """Pixels a side that one code stands for."""
        return 2 ** (len(self.ddconfig.ch_mult) - 1)

    @classmethod
    def load(cls, path: Path) -> VQConfig:
        """Read a taming YAML (`model: {target, params: {embed_dim, n_embed, ddconfig, ...}}`)."""
        document = read_file(path)
        if document.problems:
            raise SpecError(document.problems)
        model = document.data.get("model")
        if not isinstance(model, dict) or not isinstance(model.get("params"), dict):
            raise UserError(
                f"{path}: no `model.params`; give a taming VQGAN config, as released beside its weights"
            )
        target = str(model.get("target", "taming.models.vqgan.VQModel"))
        if not target.endswith(".VQModel"):
            raise UserError(
                f"{path}: model.target is {target}; only taming.models.vqgan.VQModel is supported"
            )
        if model["params"].get("remap") is not None:
            raise UserError(f"{path}: model.params.remap is set; remapped codebooks are not supported")
        try:
            return cls.model_validate(model["params"])
        except ValidationError as error:
            problems = [
                f"{path}: model.params.{'.'.join(map(str, e['loc']))}: {e['msg'].lower()}"
                for e in error.errors()
            ]
            raise UserError("\n".join(problems)) from None


class VQModel(nn.Module):
    """taming's Encoder, Decoder and VectorQuantizer2 under the parameter names of released weights:
    `encoder.*`, `decoder.*`, `quantize.embedding.weight`, `quant_conv.*`, `post_quant_conv.*`."""

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        from taming.modules.diffusionmodules.model import Decoder, Encoder
        from taming.modules.vqvae.quantize import VectorQuantizer2

        shape = config.ddconfig.model_dump()
        with contextlib.redirect_stdout(io.StringIO()):  # taming prints the shape of z
            self.encoder = Encoder(**shape)
            self.decoder = Decoder(**shape)
        self.quantize = VectorQuantizer2(config.n_embed, config.embed_dim, beta=config.beta)
        self.quant_conv = nn.Conv2d(config.ddconfig.z_channels, config.embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(config.embed_dim, config.ddconfig.z_channels, 1)
        self.config = config
        self._on_cpu = CpuEncoder(self.encoder, self.quant_conv)
        self._searching: tuple[Version, Tensor] | None = None

    @property
    def n_codes(self) -> int:
        """Size of the codebook."""
        return self.config.n_embed

    @property
    def factor(self) -> int:
        """Pixels a side that one code stands for."""
        return self.config.factor

    @classmethod
    def load(cls, config: Path, weights: Path) -> VQModel:
        """The model of a taming config with released (or our own) weights, in float32, for inference."""
        model = cls(VQConfig.load(config))
        model.read(weights)
        return model.requires_grad_(False).eval()

    def read(self, weights: Path) -> None:
        """Take over all weights of a file; UserError where they are not those of this shape."""
        state, expected = read_weights(weights), self.state_dict()
        missing = sorted(expected.keys() - state.keys())
        unexpected = sorted(state.keys() - expected.keys())
        wrong = sorted(k for k in expected.keys() & state.keys() if expected[k].shape != state[k].shape)
        if missing or unexpected or wrong:
            parts = [("missing", missing), ("unexpected", unexpected), ("of another shape", wrong)]
            told = "; ".join(f"{len(keys)} {what}, e.g. {keys[0]}" for what, keys in parts if keys)
            raise UserError(
                f"{weights}: does not fit its config: {told}; use the config released with the weights"
            )
        self.load_state_dict(state)

    # ------------------------------------------------------------------ differentiable pieces

    def to_latent(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W) in -1..1 -> (B, embed_dim, H / factor, W / factor)."""
        return self.quant_conv(self.encoder(images))

    @property
    def codebook(self) -> Tensor:
        """(n_embed, embed_dim): the vector of each code."""
        return self.quantize.embedding.weight

    @torch.no_grad()
    def nearest(self, latent: Tensor) -> Tensor:
        """latent (B, d, h, w) -> codes (B, h w) of the nearest codebook entries.

        The largest z e - |e|^2 / 2, as one matmul: |z|^2 is the same for all entries, and only rounds.
        """
        z = rearrange(F.pad(latent.float(), (0, 0, 0, 0, 0, 1), value=1.0), "b d h w -> (b h w) d")
        return rearrange((z @ self._searched()).argmax(1), "(b n) -> b n", b=len(latent))

    def _searched(self) -> Tensor:
        """(embed_dim + 1, n_embed): the codebook over -|e|^2 / 2, kept until the codebook changes."""
        book = self.codebook
        state = version(book)
        if self._searching is None or self._searching[0] != state:
            entries = book.detach().float()
            table = torch.cat([entries, -0.5 * entries.square().sum(1, keepdim=True)], 1).T.contiguous()
            self._searching = state, table
        return self._searching[1]

    def lookup(self, codes: Tensor, grid: tuple[int, int]) -> Tensor:
        """codes (B, h w) -> codebook entries (B, d, h, w); grid = (h, w)."""
        return rearrange(self.quantize.embedding(codes), "b (h w) d -> b d h w", h=grid[0], w=grid[1])

    def from_latent(self, latent: Tensor) -> Tensor:
        """latent (B, d, h, w) -> images (B, 3, H, W), about -1..1."""
        return self.decoder(self.post_quant_conv(latent))

    # --------------------------------------------------------------------------- codes

    @torch.no_grad()
    def encode(self, pixels: Tensor | np.ndarray) -> Tensor:
        """pixels (B, H, W, 3) in 0..255, uint8 or float -> codes (B, n) int64, row-major.

        H and W are multiples of `factor`. Deterministic, and independent of the batch.
        """
        pixels = torch.as_tensor(pixels)
        if (
            pixels.ndim != 4
            or pixels.shape[-1] != 3
            or pixels.shape[1] % self.factor
            or pixels.shape[2] % self.factor
        ):
            raise UserError(
                f"image tokenizer: got pixels of shape {tuple(pixels.shape)}; it encodes (batch, height, "
                f"width, 3) with sides that are multiples of {self.factor}"
            )
        device = self.quant_conv.weight.device
        on_cpu = device.type == "cpu"
        size = 1 if on_cpu and self._on_cpu.large(*pixels.shape[1:3]) else ENCODE_CHUNK
        codes = []
        with torch.autocast(device.type, enabled=False):
            for chunk in pixels.split(size):
                full = torch.zeros((size, *chunk.shape[1:]), device=device)
                full[: len(chunk)] = chunk.to(device=device, dtype=torch.float32)
                images = full.div_(127.5).sub_(1)
                if on_cpu:
                    latent = self._on_cpu(images)
                else:
                    latent = self.to_latent(rearrange(images, "b h w c -> b c h w").contiguous())
                codes.append(self.nearest(latent)[: len(chunk)])
        self._on_cpu.release()
        cells = (pixels.shape[1] // self.factor) * (pixels.shape[2] // self.factor)
        return torch.cat(codes) if codes else torch.zeros((0, cells), dtype=torch.int64, device=device)

    @torch.no_grad()
    def decode(self, codes: Tensor | np.ndarray, grid: tuple[int, int] | None = None) -> Tensor:
        """codes (B, n) -> pixels (B, H, W, 3) uint8. grid: (rows, columns); default: a square."""
        device = self.quant_conv.weight.device
        codes = torch.as_tensor(codes).to(device=device, dtype=torch.int64)
        side = round(codes.shape[1] ** 0.5)
        rows, columns = grid or (side, side)
        if rows * columns != codes.shape[1]:
            raise UserError(
                f"image tokenizer: {codes.shape[1]} codes do not fill a grid of {rows} x {columns}"
            )
        if codes.numel() and not (int(codes.min()) >= 0 and int(codes.max()) < self.n_codes):
            raise UserError(f"image tokenizer: codes outside 0..{self.n_codes - 1}")
        with torch.autocast(device.type, enabled=False):
            images = self.from_latent(self.lookup(codes, (rows, columns)).float())
        return rearrange((images + 1) * 127.5, "b c h w -> b h w c").round().clamp(0, 255).to(torch.uint8)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Weights of a VQGAN in float32, from .safetensors or a released .ckpt (with or without the
    `state_dict` wrapper). The training losses' `loss.*` are left out. Never runs pickled code."""
    import pickle

    if not path.exists():
        raise UserError(f"{path}: no such file; it holds the weights of the image tokenizer")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            state: dict[str, Any] = load_file(path)
        except SafetensorError as error:
            raise UserError(f"{path}: not a safetensors file ({error}); copy it again") from None
    else:
        stand_in = type("Ignored", (), {})
        try:
            with torch.serialization.safe_globals([(stand_in, name) for name in RELEASED_GLOBALS]):
                state = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
            raise UserError(
                f"{path}: cannot be read as plain weights: it is damaged, or holds more than those; get it "
                "again, or convert it to .safetensors where it was made"
            ) from error
        if not isinstance(state, dict):
            raise UserError(f"{path}: holds a {type(state).__name__}, not the weights of an image tokenizer")
        state = state.get("state_dict", state)
    return {k: v.float() for k, v in state.items() if isinstance(v, Tensor) and not k.startswith("loss.")}
