"""The steps of an image tokenizer's training.

Three stages in one run: a plain autoencoder; then the codebook, seeded by k-means on its latents and
moved by exponential averages, with codes that nothing uses sent back to random latents; last a patch
discriminator. Several processes (torchrun) share each step.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from unified.devices import uses_bf16
from unified.errors import UserError
from unified.tokenization.image_training import CropConfig, DiscriminatorConfig, ImageTrainingConfig
from unified.tokenization.muon import Muon
from unified.tokenization.vqgan import VQConfig, VQModel


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
            self.model.read(Path(config.start_from))
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
            raise UserError(
                f"training.batch_size {config.batch_size} is not a multiple of {self.world} processes"
            )
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
            if (
                self.critic
                and critic_optimiser
                and config.discriminator
                and step >= config.discriminator.start
            ):
                metrics["critic"] = self._critic_step(critic_optimiser, images, shown)
            if self.codebook and step % config.restart_every == config.restart_every - 1:
                metrics["restarted"] = float(self._restart_codes(step))
            for name, value in metrics.items():
                totals[name] = totals.get(name, 0.0) + value
            counted += 1
            if (step + 1) % config.log_every == 0 and self.rank == 0:
                speed = config.batch_size * (step + 1) / (time.monotonic() - started)
                told = "  ".join(f"{k} {v / counted:.4f}" for k, v in totals.items())
                told = f"check {self.check_psnr():.2f} dB  {told}  {speed:.0f} images/s"
                print(f"step {step + 1}/{config.steps}  {told}", flush=True)
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
        bf16 = uses_bf16(self.config.precision, self.device)
        return torch.autocast(self.device.type, torch.bfloat16, enabled=bf16)

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
                raise UserError(
                    f"training: {len(latents)} latents cannot seed {size} codes; use larger batches"
                )
            pick = torch.randperm(len(latents), generator=torch.Generator().manual_seed(self.config.seed))[
                :size
            ]
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
    save_file(
        {k: v.detach().to("cpu", torch.bfloat16).contiguous() for k, v in model.state_dict().items()}, part
    )
    part.replace(path)
