"""Tokenised examples side by side: padding, segments, and the tensors that the model takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from unified.tokenization.processor import Encoded

LENGTH_MULTIPLE = 8
"""Texts are padded to a multiple of this: kernels are built for each shape, so few shapes must recur."""


class ImageEncoder(Protocol):
    def encode(self, pixels: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Batch:
    """One micro-batch of B examples, one a row.

    inputs: keyword arguments of `UnifiedModel.forward`: input_ids (B, Lt), images (B, M, S, S, 3) float32
        0..255, patch_mask (B, M, Np), image_segments (B, M), target_ids (B, Td), target_code_mask
        (B, K, Ni), target_code_segments (B, K); keys of what no row has are absent. Padding ids are 0
        and segments number the examples of a row from 1, 0 being padding.
    target_images: (B, K, S2, S2, 3) uint8 whose VQGAN codes are still to be made (`with_codes`), or None.
    text_weights: (B, Td) and code_weights: (B, K, Ni) float32, the loss weight of each target token, 0 on
        padding; code_weights is None without dense targets.
    tasks, keys: of each row.
    """

    inputs: dict[str, Tensor]
    target_images: Tensor | None
    text_weights: Tensor
    code_weights: Tensor | None
    tasks: list[str]
    keys: list[str]

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def weight(self) -> Tensor:
        """Sum of all loss weights: the weighted number of target tokens."""
        total = self.text_weights.sum()
        return total if self.code_weights is None else total + self.code_weights.sum()

    @property
    def n_tokens(self) -> int:
        """Real (unpadded) positions in encoder and decoder, image patches and codes included."""
        masks = ("input_ids", "target_ids", "patch_mask", "target_code_mask")
        return sum(int((self.inputs[m] != 0).sum()) for m in masks if m in self.inputs)

    def to(self, device: torch.device | str) -> Batch:
        def move(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.to(device, non_blocking=True)

        return replace(
            self,
            inputs={k: v.to(device, non_blocking=True) for k, v in self.inputs.items()},
            target_images=move(self.target_images),
            text_weights=self.text_weights.to(device, non_blocking=True),
            code_weights=move(self.code_weights),
        )

    def with_codes(self, encoder: ImageEncoder) -> Batch:
        """The batch with `target_codes` (B, K, Ni) in its inputs, made by the image tokenizer on the batch's
        own device. The tokenizer is frozen: no gradient flows."""
        if self.target_images is None:
            return self
        shape = self.inputs["target_code_mask"].shape
        wanted = self.inputs["target_code_segments"] > 0  # (B, K): codes are made for real images only
        codes = torch.zeros(shape, dtype=torch.long, device=self.target_images.device)
        with torch.no_grad():
            codes[wanted] = encoder.encode(self.target_images[wanted])
        return replace(self, inputs={**self.inputs, "target_codes": codes}, target_images=None)


def collate(examples: Sequence[Encoded], length_power: float = 0.0) -> Batch:
    """Pads examples to common lengths.

    `length_power` p divides the loss weights of an example's n target tokens by n^p: with 0 every token
    counts the same and a depth map outweighs a yes/no answer by its length, with 1 every example counts
    the same.
    """
    b = len(examples)
    inputs = {
        "input_ids": _pad([e.input_ids for e in examples]),
        "target_ids": _pad([e.target_ids for e in examples]),
    }
    scale = [e.weight / max(1, _target_length(e)) ** length_power for e in examples]
    text_weights = (inputs["target_ids"] != 0).float() * torch.tensor(scale, dtype=torch.float32)[:, None]

    most = max(len(e.images) for e in examples)
    if most:
        first = next(e for e in examples if len(e.images))
        images = np.zeros((b, most, *first.images.shape[1:]), dtype=np.float32)
        patch_mask = np.zeros((b, most, first.patch_mask.shape[1]), dtype=bool)
        segments = np.zeros((b, most), dtype=np.int64)
        for i, e in enumerate(examples):
            n = len(e.images)
            images[i, :n], patch_mask[i, :n], segments[i, :n] = e.images, e.patch_mask, 1
        inputs["images"] = torch.from_numpy(images)
        inputs["patch_mask"] = torch.from_numpy(patch_mask)
        inputs["image_segments"] = torch.from_numpy(segments)

    dense = [e for e in examples if e.target_image is not None]
    target_images = code_weights = None
    if dense:
        assert dense[0].target_image is not None and dense[0].target_code_mask is not None
        exact = all(e.target_image is not None and e.target_image.dtype == np.uint8 for e in dense)
        pixels = np.zeros((b, 1, *dense[0].target_image.shape), dtype=np.uint8 if exact else np.float32)
        code_mask = np.zeros((b, 1, len(dense[0].target_code_mask)), dtype=bool)
        code_segments = np.zeros((b, 1), dtype=np.int64)
        for i, e in enumerate(examples):
            if e.target_image is not None and e.target_code_mask is not None:
                pixels[i, 0], code_mask[i, 0], code_segments[i, 0] = e.target_image, e.target_code_mask, 1
        target_images = torch.from_numpy(pixels)
        inputs["target_code_mask"] = torch.from_numpy(code_mask)
        inputs["target_code_segments"] = torch.from_numpy(code_segments)
        code_weights = inputs["target_code_mask"].float() * torch.tensor(scale)[:, None, None]

    return Batch(
        inputs,
        target_images,
        text_weights,
        code_weights,
        [e.task for e in examples],
        [e.key for e in examples],
    )


def _target_length(example: Encoded) -> int:
    codes = 0 if example.target_code_mask is None else int(example.target_code_mask.sum())
    return len(example.target_ids) + codes


def _pad(rows: Sequence[np.ndarray]) -> Tensor:
    length = -(-max(len(r) for r in rows) // LENGTH_MULTIPLE) * LENGTH_MULTIPLE
    out = np.zeros((len(rows), length), dtype=np.int64)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return torch.from_numpy(out)
