"""Training of an image tokenizer on what it will have to encode.

Three stages in one run: a plain autoencoder; then the codebook, seeded by k-means on its latents and
moved by exponential averages, with codes that nothing uses sent back to random latents; last a patch
discriminator. Several processes (torchrun) share each step.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
import torch.nn.functional as F
from einops import rearrange
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from unified.errors import UserError, did_you_mean
from unified.tokenization.vqgan import VQConfig, VQModel, read_weights

log = logging.getLogger(__name__)


class DiscriminatorConfig(BaseModel):
    """A patch discriminator with hinge loss. `weight` scales taming's adaptive weight."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: int = Field(ge=0)
    """Step from which it trains and judges."""
    weight: float = Field(0.1, ge=0)
    channels: int = 32
    layers: int = Field(2, ge=1)


class CropConfig(BaseModel):
    """Until step `until`, `batch_size * (size / side)^2` crops a step instead of whole images, for the same
    cost. Of a few random places each crop takes the busiest: most of a picture is flat."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    side: int = Field(ge=8)
    until: int = Field(ge=1)
    tries: int = Field(3, ge=1)


class ImageTrainingConfig(BaseModel):
    """The `training` section of an image tokenizer's config."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mixture: str
    """Mixture whose images and dense targets are learnt."""
    size: int
    """Side of the square images."""
    images: int = Field(ge=1)
    """Images drawn from the mixture, held in memory."""
    share: dict[str, float] = {}
    """Relative weight of a kind (image, mask, segmentation, depth, normals) among them; default 1."""
    steps: int = Field(ge=1)
    batch_size: int = Field(32, ge=1)
    crop: CropConfig | None = None
    learning_rate: float = Field(1e-3, gt=0)
    warmup: int = Field(100, ge=0)
    codebook_start: int = Field(0, ge=0)
    """Steps of the plain autoencoder before the codebook."""
    codebook_decay: float = Field(0.99, gt=0, lt=1)
    restart_every: int = Field(100, ge=1)
    """Steps between two replacements of unused codes."""
    squared_weight: float = Field(1.0, ge=0)
    """Weight of the squared error beside the absolute one."""
    discriminator: DiscriminatorConfig | None = None
    start_from: str | None = None
    """Weights to start from instead of random ones."""
    precision: str = Field("bf16", pattern="^(bf16|fp32)$")
    threads: int = Field(1, ge=1)
    """CPU threads of each process."""
    seed: int = 0
    save_every: int = Field(500, ge=1)
    log_every: int = Field(50, ge=1)


def read_training_config(path: Path, overrides: Sequence[str] = ()) -> ImageTrainingConfig:
    """The `training` section of `path`, with `key=value` overrides."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    yaml = YAML(typ="safe", pure=True)
    try:
        data = yaml.load(path.read_text(encoding="utf-8"))
    except (OSError, YAMLError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    if not isinstance(data, dict) or not isinstance(data.get("training"), dict):
        raise UserError(f"{path}: no `training` section; see tokenizers/toy/vqgan.yaml for one")
    section = data["training"]
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UserError(f"'{override}': overrides are written key=value, e.g. steps=2000")
        known = list(ImageTrainingConfig.model_fields)
        if key.split(".")[0] not in known:
            raise UserError(f"'{override}': no such key of `training`{did_you_mean(key, known)}")
        *parents, last = key.split(".")
        place = section
        for parent in parents:
            if not isinstance(place.setdefault(parent, {}), dict):
                raise UserError(f"'{override}': training.{parent} holds no keys; set it as a whole")
            place = place[parent]
        place[last] = yaml.load(value)
    try:
        return ImageTrainingConfig.model_validate(section)
    except ValidationError as error:
        told = [f"{path}: training.{'.'.join(map(str, e['loc']))}: {e['msg'].lower()}" for e in error.errors()]
        raise UserError("\n".join(told)) from None


def train_image(config_path: str | Path, out: str | Path, overrides: Sequence[str] = ()) -> Path:
    """Train the image tokenizer of a config and write `vqgan.safetensors` into the folder `out`.

    Weights are stored as bfloat16, so loading them is exact. Returns the file's path.
    """
    path, out = Path(config_path), Path(out)
    shape, config = VQConfig.load(path), read_training_config(path, overrides)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    torch.set_num_threads(config.threads)
    pool = collect_images(config)
    trainer = ImageTrainer(shape, config, pool)
    trainer.run(out / "vqgan.safetensors")
    return out / "vqgan.safetensors"


def collect_images(config: ImageTrainingConfig, split: str = "train") -> npt.NDArray[np.uint8]:
    """(n, size, size, 3) images and dense targets of the mixture's tasks, kinds in their shares.

    Drawn by the seed alone, the same in every process.
    """
    from unified.specs.build import build_example
    from unified.specs.example import BadRow
    from unified.specs.load import load_mixture
    from unified.sources.base import RowSource
    from unified.sources.fields import read_fields
    from unified.sources.open import open_source
    from unified.tokenization.pixels import input_pixels, target_pixels
    from unified.values.types import DENSE_TYPES

    rng = np.random.default_rng((config.seed, 1))
    kinds: dict[str, list[tuple]] = {}
    for entry in load_mixture(config.mixture).entries:
        task = entry.task
        source = open_source(task, split)
        if not isinstance(source, RowSource):
            raise UserError(f"{task.path}: streams; images for a tokenizer are drawn from sources with random access")
        if task.spec.input.images:
            kinds.setdefault("image", []).append((task, source, False))
        if task.spec.modality in DENSE_TYPES:
            kinds.setdefault(task.spec.modality, []).append((task, source, True))
    if not kinds:
        raise UserError(f"mixture {config.mixture}: no task has images or dense targets")
    names = sorted(kinds)
    share = np.array([config.share.get(name, 1.0) for name in names])
    pool: list[npt.NDArray[np.uint8]] = []
    misses = 0
    while len(pool) < config.images:
        kind = names[rng.choice(len(names), p=share / share.sum())]
        task, source, dense = kinds[kind][rng.integers(len(kinds[kind]))]
        row = int(rng.integers(len(source)))
        try:
            example = build_example(
                task, read_fields(task, source[row], source), key=source.key(row), rng=rng, training=True,
                image_size=config.size, target_size=config.size,
            )  # fmt: skip
        except BadRow as error:
            misses += 1
            if misses > 100 + len(pool):
                raise UserError(f"{task.path}: too many bad rows for a tokenizer's training, e.g. {error}") from None
            continue
        if dense:
            assert not isinstance(example.target, tuple) and example.target_geometry is not None
            pool.append(
                target_pixels(example.target, example.target_geometry, task.spec.target.value_range)[0]
            )
        else:
            pick = int(rng.integers(len(example.images)))
            pixels = input_pixels(example.images[pick], example.geometries[pick])
            pool.append((pixels + 0.5).clip(0, 255).astype(np.uint8))
    return np.stack(pool)


@dataclass
class Codebook:
    """Exponential averages that move the codes: how often each is used, and the sum of its latents."""

    used: Tensor
    sums: Tensor


class ImageTrainer:
    """One run over a pool of images (n, size, size, 3) uint8."""

    def __init__(self, shape: VQConfig, config: ImageTrainingConfig, pool: npt.NDArray[np.uint8]) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = VQModel(shape).to(self.device)
        if config.start_from:
            self.model.load_state_dict(read_weights(Path(config.start_from)))
        self.model.quantize.requires_grad_(False)  # moved by averages, not by gradients
        held = min(64, len(pool) // 2)
        self.pool, self.check = torch.from_numpy(pool[held:]), torch.from_numpy(pool[:held])
        self.critic: nn.Module | None = None
        if config.discriminator:
            self.critic = patch_discriminator(config.discriminator).to(self.device)
        self.codebook: Codebook | None = None
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.world = dist.get_world_size() if dist.is_initialized() else 1
        if config.batch_size % self.world:
            raise UserError(f"training.batch_size {config.batch_size} is not a multiple of {self.world} processes")
        self.random = torch.Generator().manual_seed(config.seed * self.world + self.rank)

    def run(self, out: Path) -> None:
        """All steps; writes the weights every `save_every` steps and at the end."""
        config = self.config
        learned = [p for p in self.model.parameters() if p.requires_grad]
        kernels = [p for p in learned if p.ndim == 4 and min(p.shape[:2]) > 3]
        others = [p for p in learned if not any(p is k for k in kernels)]
        optimisers: list[torch.optim.Optimizer] = [
            Muon(kernels, lr=config.learning_rate),
            torch.optim.AdamW(others, lr=config.learning_rate / 10, betas=(0.9, 0.95), weight_decay=0.0),
        ]
        rates = [group["lr"] for optimiser in optimisers for group in optimiser.param_groups]
        critic_optimiser = (
            torch.optim.AdamW(self.critic.parameters(), lr=config.learning_rate / 40, betas=(0.5, 0.9))
            if self.critic
            else None
        )
        started, totals, counted = time.monotonic(), dict[str, float](), 0
        for step in range(config.steps):
            groups = [group for optimiser in optimisers for group in optimiser.param_groups]
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate * self._schedule(step)
            if step == config.codebook_start:
                self._seed_codebook(step, keep=config.start_from is not None and config.codebook_start == 0)
            images = self._batch(step)
            loss, shown, metrics = self._generator_loss(images, step)
            self.model.zero_grad(set_to_none=True)
            loss.backward()
            self._average_gradients(learned)
            for optimiser in optimisers:
                optimiser.step()
            if self.critic and critic_optimiser and config.discriminator and step >= config.discriminator.start:
                metrics["critic"] = self._critic_step(critic_optimiser, images, shown)
            if self.codebook and step % config.restart_every == config.restart_every - 1:
                metrics["restarted"] = float(self._restart_codes(step))
            for name, value in metrics.items():
                totals[name] = totals.get(name, 0.0) + value
            counted += 1
            if (step + 1) % config.log_every == 0 and self.rank == 0:
                speed = config.batch_size * (step + 1) / (time.monotonic() - started)
                told = "  ".join(f"{k} {v / counted:.4f}" for k, v in totals.items())
                log.info(
                    "step %d/%d  check %.2f dB  %s  %.0f images/s",
                    step + 1, config.steps, self.check_psnr(), told, speed,
                )  # fmt: skip
                totals, counted = {}, 0
            if self.rank == 0 and ((step + 1) % config.save_every == 0 or step + 1 == config.steps):
                save_weights(self.model, out)

    @torch.no_grad()
    def check_psnr(self) -> float:
        """Mean PSNR in dB over whole images that are not trained on, through the codes once there are any."""
        errors = []
        for part in self.check.split(32):
            images = to_model(part.to(self.device))
            with self._autocast():
                latent = self.model.to_latent(images).float()
                if self.codebook:
                    latent = self.model.lookup(self.model.nearest(latent), (latent.shape[2], latent.shape[3]))
                shown = self.model.from_latent(latent).float().clamp(-1, 1)
            errors.append((shown - images).square().mean((1, 2, 3)))
        return float((10 * torch.log10(4 / torch.cat(errors).clamp_min(1e-12))).mean())

    def _cells(self) -> int:
        """Codes an image."""
        return (self.config.size // self.model.factor) ** 2

    def _schedule(self, step: int) -> float:
        if step < self.config.warmup:
            return (step + 1) / self.config.warmup
        done = (step - self.config.warmup) / max(1, self.config.steps - self.config.warmup)
        return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))

    def _batch(self, step: int) -> Tensor:
        """(B, 3, side, side) in -1..1, whole images or crops; half of them mirrored."""
        count, crop = self.config.batch_size // self.world, self.config.crop
        if crop and step < crop.until:
            count *= (self.config.size // crop.side) ** 2
        index = torch.randint(len(self.pool), (count,), generator=self.random)
        chosen = self.pool[index]
        if crop and step < crop.until:
            chosen = torch.stack([self._busiest(image, crop) for image in chosen])
        images = to_model(chosen.to(self.device))
        flip = torch.rand(len(images), generator=self.random).to(self.device) < 0.5
        return torch.where(flip[:, None, None, None], images.flip(-1), images)

    def _busiest(self, image: Tensor, crop: CropConfig) -> Tensor:
        """Of some random crops of an image (size, size, 3) the one whose pixels vary most."""
        corners = torch.randint(self.config.size - crop.side + 1, (crop.tries, 2), generator=self.random)
        crops = [image[y : y + crop.side, x : x + crop.side] for y, x in corners.tolist()]
        return max(crops, key=lambda c: float(c.float().std()))

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16")

    def _generator_loss(self, images: Tensor, step: int) -> tuple[Tensor, Tensor, dict[str, float]]:
        """The autoencoder's loss, the images it shows, and figures for the log."""
        config, model = self.config, self.model
        metrics: dict[str, float] = {}
        with self._autocast():
            latent = model.to_latent(images)
        latent = latent.float()
        commitment = latent.new_zeros(())
        if self.codebook:
            codes = model.nearest(latent)
            quantised = model.lookup(codes, (latent.shape[2], latent.shape[3]))
            commitment = F.mse_loss(latent, quantised)
            self._move_codes(latent.detach(), codes)
            metrics["commitment"] = commitment.item()
            metrics["usage"] = (self.codebook.used > 0.05 * self.codebook.used.mean()).float().mean().item()
            latent = latent + (quantised - latent).detach()
        with self._autocast():
            shown = model.from_latent(latent)
        shown = shown.float()
        squared = F.mse_loss(shown, images)
        rebuilt = F.l1_loss(shown, images) + config.squared_weight * squared
        loss = rebuilt + model.config.beta * commitment
        if self.critic and config.discriminator and step >= config.discriminator.start:
            with self._autocast():
                adversarial = -self.critic(shown).float().mean()
            last = model.decoder.conv_out.weight
            ours = torch.autograd.grad(rebuilt, last, retain_graph=True)[0].norm()
            theirs = torch.autograd.grad(adversarial, last, retain_graph=True)[0].norm()
            adaptive = (ours / (theirs + 1e-4)).clamp(0, 1e4).detach()
            loss = loss + config.discriminator.weight * adaptive * adversarial
        metrics["psnr"] = 10 * math.log10(4 / max(squared.item(), 1e-12))
        return loss, shown.detach(), metrics

    def _critic_step(self, optimiser: torch.optim.Optimizer, real: Tensor, shown: Tensor) -> float:
        assert self.critic is not None
        optimiser.zero_grad(set_to_none=True)
        with self._autocast():
            on_real, on_shown = self.critic(real).float(), self.critic(shown).float()
        loss = 0.5 * (F.relu(1 - on_real).mean() + F.relu(1 + on_shown).mean())
        loss.backward()
        self._average_gradients(list(self.critic.parameters()))
        optimiser.step()
        return loss.item()

    # ------------------------------------------------------------------------ codebook

    @torch.no_grad()
    def _latents(self, batches: int, step: int) -> Tensor:
        """(n, d) latents of some batches, alike in every process."""
        found = []
        for _ in range(batches):
            with self._autocast():
                latent = self.model.to_latent(self._batch(step))
            found.append(rearrange(latent.float(), "b d h w -> (b h w) d"))
        latents = torch.cat(found)
        if self.world > 1:
            gathered = [torch.empty_like(latents) for _ in range(self.world)]
            dist.all_gather(gathered, latents)
            latents = torch.cat(gathered)
        return latents

    @torch.no_grad()
    def _seed_codebook(self, step: int, keep: bool) -> None:
        """k-means on latents of the moment, unless the codebook came with the weights."""
        book = self.model.quantize.embedding.weight
        size = len(book)
        if not keep:
            latents = self._latents(1 + 32 * size // (self.config.batch_size * self._cells()), step)
            if len(latents) < size:
                raise UserError(f"training: {len(latents)} latents cannot seed {size} codes; use larger batches")
            pick = torch.randperm(len(latents), generator=torch.Generator().manual_seed(self.config.seed))[:size]
            centres = latents[pick.to(latents.device)].clone()
            for _ in range(8):
                nearest = torch.cdist(latents, centres).argmin(1)
                counts = torch.bincount(nearest, minlength=size)
                sums = torch.zeros_like(centres).index_add_(0, nearest, latents)
                filled = counts > 0
                centres[filled] = sums[filled] / counts[filled, None]
            book.copy_(centres)
        self.codebook = Codebook(torch.ones(size, device=book.device), book.clone())

    @torch.no_grad()
    def _move_codes(self, latent: Tensor, codes: Tensor) -> None:
        assert self.codebook is not None
        flat, index = rearrange(latent, "b d h w -> (b h w) d"), codes.reshape(-1)
        counts = torch.bincount(index, minlength=len(self.codebook.used)).float()
        sums = torch.zeros_like(self.codebook.sums).index_add_(0, index, flat)
        if self.world > 1:
            dist.all_reduce(counts)
            dist.all_reduce(sums)
        decay = self.config.codebook_decay
        self.codebook.used.mul_(decay).add_(counts, alpha=1 - decay)
        self.codebook.sums.mul_(decay).add_(sums, alpha=1 - decay)
        moved = self.codebook.sums / self.codebook.used.clamp_min(1e-5)[:, None]
        alive = (self.codebook.used > 1e-3)[:, None]
        book = self.model.quantize.embedding.weight
        book.copy_(torch.where(alive, moved, book))

    @torch.no_grad()
    def _restart_codes(self, step: int) -> int:
        """Sends codes used less than a twentieth of the average to latents of the moment."""
        assert self.codebook is not None
        used = self.codebook.used
        dead = (used < 0.05 * used.mean()).nonzero()[:, 0]
        latents = self._latents(1, step)
        dead = dead[: len(latents)]
        if len(dead):
            shuffled = torch.randperm(len(latents), generator=torch.Generator().manual_seed(len(dead)))
            fresh = latents[shuffled[: len(dead)].to(latents.device)]
            self.model.quantize.embedding.weight[dead] = fresh
            mean = used.mean()
            used[dead] = mean
            self.codebook.sums[dead] = fresh * mean
        return len(dead)

    def _average_gradients(self, parameters: list[nn.Parameter]) -> None:
        if self.world == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        dist.all_reduce(flat)
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient) / self.world)


class Muon(torch.optim.Optimizer):
    """Momentum whose steps are orthogonalised (Jordan et al. 2024), for convolution kernels: it needs a
    fraction of Adam's steps, and steps are what a CPU lacks. `lr` is the spectral size of a step."""

    def __init__(self, params: list[nn.Parameter], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                momentum = state["momentum"]
                momentum.lerp_(p.grad, 1 - group["momentum"])
                step = orthogonalised(p.grad.lerp(momentum, group["momentum"]).flatten(1))
                scale = max(1.0, step.shape[0] / step.shape[1]) ** 0.5
                p.add_(step.view_as(p), alpha=-group["lr"] * scale)


def orthogonalised(matrix: Tensor, steps: int = 5) -> Tensor:
    """About the nearest matrix with singular values of 1, by Newton-Schulz iteration."""
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else matrix.T
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x if wide else x.T


def to_model(pixels: Tensor) -> Tensor:
    """(B, h, w, 3) uint8 -> (B, 3, h, w) in -1..1."""
    images = rearrange(pixels.float() / 127.5 - 1, "b h w c -> b c h w")
    return images.contiguous()  # what rearrange leaves, channels last, is slow on CPUs


def patch_discriminator(config: DiscriminatorConfig) -> nn.Module:
    """pix2pix's patch discriminator without normalisation: a score for each patch."""
    layers: list[nn.Module] = []
    width = 3
    for i in range(config.layers):
        layers += [nn.Conv2d(width, config.channels * 2**i, 4, 2, 1), nn.LeakyReLU(0.2)]
        width = config.channels * 2**i
    return nn.Sequential(*layers, nn.Conv2d(width, 1, 3, 1, 1))


def save_weights(model: VQModel, path: Path) -> None:
    """Write the weights as bfloat16 safetensors, whole or not at all."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    save_file({k: v.detach().to("cpu", torch.bfloat16).contiguous() for k, v in model.state_dict().items()}, part)
    part.replace(path)
