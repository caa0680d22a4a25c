"""Training of an image tokenizer on what it will have to encode."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist

from unified.errors import UserError
from unified.sources.base import RowSource
from unified.sources.fields import read_fields
from unified.sources.open import open_source
from unified.specs.build import build_example
from unified.specs.example import BadRow
from unified.specs.load import load_mixture
from unified.tokenization.image_trainer import ImageTrainer
from unified.tokenization.image_training import ImageTrainingConfig, read_training_config
from unified.tokenization.pixels import input_pixels, target_pixels
from unified.tokenization.vqgan import VQConfig
from unified.values.types import DENSE_TYPES


def train_image(config_path: str | Path, out: str | Path, overrides: Sequence[str] = ()) -> Path:
    """Train the image tokenizer of a config and write `vqgan.safetensors` into the folder `out`.

    Weights are stored as bfloat16, so loading them is exact. Returns the file's path.
    """
    path, out = Path(config_path), Path(out)
    shape, config = VQConfig.load(path), read_training_config(path, overrides)
    for side in (config.size, *([config.crop.side] if config.crop else [])):
        if side % shape.factor:
            raise UserError(
                f"{path}: training: a side of {side} pixels is no multiple of the {shape.factor} of a code"
            )
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    torch.set_num_threads(config.threads)
    pool = collect_images(config)
    ImageTrainer(shape, config, pool).run(out / "vqgan.safetensors")
    if world > 1:
        dist.destroy_process_group()
    return out / "vqgan.safetensors"


def collect_images(config: ImageTrainingConfig, split: str = "train") -> npt.NDArray[np.uint8]:
    """(n, size, size, 3) images and dense targets of the mixture's tasks, kinds in their shares.

    Drawn by the seed alone, the same in every process.
    """
    rng = np.random.default_rng((config.seed, 1))
    kinds: dict[str, list[tuple]] = {}
    for entry in load_mixture(config.mixture).entries:
        task = entry.task
        source = open_source(task, split)
        if not isinstance(source, RowSource):
            raise UserError(
                f"{task.path}: streams; images for a tokenizer are drawn from sources with random access"
            )
        if task.spec.input.images:
            kinds.setdefault("image", []).append((task, source, False))
        if task.spec.modality in DENSE_TYPES:
            kinds.setdefault(task.spec.modality, []).append((task, source, True))
    if not kinds:
        raise UserError(f"mixture {config.mixture}: no task has images or dense targets")
    names = sorted(kinds)
    share = np.array([config.share.get(name, 1.0) for name in names])  # type: ignore[call-overload]
    if not share.any():
        raise UserError(f"training.share: is 0 for every kind there is ({', '.join(names)})")
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
                raise UserError(
                    f"{task.path}: too many bad rows for a tokenizer's training, e.g. {error}"
                ) from None
            continue
        if dense:
            assert not isinstance(example.target, tuple) and example.target_geometry is not None
            pixels = target_pixels(example.target, example.target_geometry, task.spec.target.value_range)[0]
        else:
            pick = int(rng.integers(len(example.images)))
            pixels = input_pixels(example.images[pick], example.geometries[pick])
        pool.append((pixels + 0.5).clip(0, 255).astype(np.uint8))
    return np.stack(pool)
