"""Tokenised examples as the tensors that the model takes: one a row with padding, or several a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from unified.tokenization.processor import Encoded

LENGTH_MULTIPLE = 8
"""Rows are padded to a multiple of this: kernels are built for each shape, so few shapes must recur."""


class ImageEncoder(Protocol):
    def encode(self, pixels: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Batch:
    """One micro-batch of E examples.

    inputs: keyword arguments of `UnifiedModel.forward`, padded or packed; keys of what no example has are
        absent. target_codes are -1 where the image tokenizer has still to make them.
    text_weights: (E, Td) and code_weights: as target_codes, float32, the loss weight of each target token, 0
        on padding; code_weights is None without dense targets.
    tasks, keys: of each example.
    target_images: (P, S2, S2, 3) the pictures whose codes are still to be made, or None; target_places:
        (P,) where their codes belong, counting the pictures of target_codes row by row.
    overflow: how many examples were longer than a packed row should be.
    """

    inputs: dict[str, Tensor]
    text_weights: Tensor
    code_weights: Tensor | None
    tasks: list[str]
    keys: list[str]
    target_images: Tensor | None = None
    target_places: Tensor | None = None
    overflow: int = 0

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def weight(self) -> Tensor:
        """Sum of all loss weights: the weighted number of target tokens."""
        total = self.text_weights.sum()
        return total if self.code_weights is None else total + self.code_weights.sum()

    @property
    def n_tokens(self) -> int:
        """Positions in encoder and decoder without padding, image patches and codes included."""
        if "encoder_layout" in self.inputs:
            return sum(int((self.inputs[x] >= 0).sum()) for x in ("encoder_layout", "decoder_layout"))
        masks = ("input_ids", "target_ids", "patch_mask", "target_code_mask")
        return sum(int((self.inputs[m] != 0).sum()) for m in masks if m in self.inputs)

    @property
    def n_places(self) -> int:
        """Positions in encoder and decoder, padding included."""
        packed = "encoder_layout" in self.inputs
        names = ("encoder_layout", "decoder_layout") if packed else (
            "input_ids", "target_ids", "patch_mask", "target_code_mask"
        )  # fmt: skip
        return sum(self.inputs[name].numel() for name in names if name in self.inputs)

    def to(self, device: torch.device | str) -> Batch:
        def move(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.to(device, non_blocking=True)

        return replace(
            self,
            inputs={k: v.to(device, non_blocking=True) for k, v in self.inputs.items()},
            target_images=move(self.target_images),
            target_places=move(self.target_places),
            text_weights=self.text_weights.to(device, non_blocking=True),
            code_weights=move(self.code_weights),
        )

    def with_codes(self, encoder: ImageEncoder) -> Batch:
        """The batch with all of `target_codes`, made by the image tokenizer on the batch's own device. The
        tokenizer is frozen: no gradient flows."""
        if self.target_images is None:
            return self
        codes = self.inputs["target_codes"].clone()
        with torch.no_grad():
            codes.flatten(0, -2)[self.target_places] = encoder.encode(self.target_images)
        return replace(
            self, inputs={**self.inputs, "target_codes": codes}, target_images=None, target_places=None
        )


def collate(examples: Sequence[Encoded], length_power: float = 0.0) -> Batch:
    """One example a row, padded to common lengths: images (E, M, S, S, 3), target_codes (E, 1, Ni).

    `length_power` p divides the loss weights of an example's n target tokens by n^p: with 0 every token
    counts the same and a depth map outweighs a yes/no answer by its length, with 1 every example counts
    the same.
    """
    inputs, text_weights, scale = _texts(examples, length_power)
    e, most = len(examples), max(len(x.images) for x in examples)
    if most:
        first = next(x for x in examples if len(x.images))
        images = np.zeros((e, most, *first.images.shape[1:]), dtype=np.float32)
        patch_mask = np.zeros((e, most, first.patch_mask.shape[1]), dtype=bool)
        for i, x in enumerate(examples):
            images[i, : len(x.images)], patch_mask[i, : len(x.images)] = x.images, x.patch_mask
        inputs["images"] = torch.from_numpy(images)
        inputs["patch_mask"] = torch.from_numpy(patch_mask)

    answers, code_weights = _picture_answers(examples), None
    target_images = target_places = None
    if answers is not None:
        codes = torch.zeros(e, 1, answers.codes.shape[1], dtype=torch.long)
        mask = torch.zeros_like(codes, dtype=torch.bool)
        codes[answers.owners, 0], mask[answers.owners, 0] = answers.codes, answers.mask
        inputs |= {"target_codes": codes, "target_code_mask": mask}
        code_weights = mask * scale[:, None, None]
        if answers.images is not None:
            target_images, target_places = answers.images, answers.owners[answers.pending]
    tasks, keys = [x.task for x in examples], [x.key for x in examples]
    return Batch(inputs, text_weights, code_weights, tasks, keys, target_images, target_places)


def collate_packed(
    examples: Sequence[Encoded], rows: Sequence[Sequence[int]], length_power: float = 0.0, overflow: int = 0
) -> Batch:
    """Several examples a row: images (N, S, S, 3) and target_codes (K, Ni) of all examples in order, and the
    layouts that say where each token stands. rows: the examples of each row."""
    inputs, text_weights, scale = _texts(examples, length_power)
    shown = [e for e in examples if len(e.images)]
    seen = image_owners = None
    if shown:
        inputs["images"] = torch.from_numpy(np.concatenate([e.images for e in shown]))
        image_owners = torch.tensor([i for i, e in enumerate(examples) for _ in e.images])
        inputs["image_example"] = image_owners
        seen = torch.from_numpy(np.concatenate([e.patch_mask for e in shown]))
    inputs["encoder_layout"] = _layout(rows, inputs["input_ids"] != 0, seen, image_owners)

    answers, code_weights = _picture_answers(examples), None
    owners = mask = target_images = target_places = None
    if answers is not None:
        owners, mask = answers.owners, answers.mask
        inputs |= {"target_codes": answers.codes, "target_code_mask": mask, "code_example": owners}
        code_weights = mask * scale[owners, None]
        if answers.images is not None:
            target_images, target_places = answers.images, answers.pending
    inputs["decoder_layout"] = _layout(rows, inputs["target_ids"] != 0, mask, owners)
    tasks, keys = [x.task for x in examples], [x.key for x in examples]
    return Batch(inputs, text_weights, code_weights, tasks, keys, target_images, target_places, overflow)


def _texts(examples: Sequence[Encoded], length_power: float) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """The ids of both sides, (E, Lt) and (E, Td), the loss weights of the latter, and the loss weight (E,) of
    each of an example's target tokens."""
    inputs = {
        "input_ids": _pad([e.input_ids for e in examples]),
        "target_ids": _pad([e.target_ids for e in examples]),
    }
    scale = torch.tensor(
        [e.weight / max(1, _target_length(e)) ** length_power for e in examples], dtype=torch.float32
    )
    return inputs, (inputs["target_ids"] != 0) * scale[:, None], scale


@dataclass(frozen=True)
class _PictureAnswers:
    """owners: (K,) whose each is; codes: (K, Ni), -1 where they are to be made; mask: (K, Ni), which count;
    images: (P, S2, S2, 3), or None, those whose codes are to be made; pending: (P,), which these are."""

    owners: Tensor
    codes: Tensor
    mask: Tensor
    images: Tensor | None
    pending: Tensor


def _picture_answers(examples: Sequence[Encoded]) -> _PictureAnswers | None:
    owners: list[int] = []
    pending: list[int] = []
    codes, masks, pixels = [], [], []
    for i, e in enumerate(examples):
        if e.target_code_mask is None:
            continue
        if e.target_image is not None:
            pending.append(len(owners))
            pixels.append(e.target_image)
        made = np.full(e.target_code_mask.shape, -1) if e.target_codes is None else e.target_codes
        owners.append(i)
        codes.append(made)
        masks.append(e.target_code_mask)
    if not owners:
        return None
    kind = np.uint8 if all(p.dtype == np.uint8 for p in pixels) else np.float32
    return _PictureAnswers(
        torch.tensor(owners),
        torch.from_numpy(np.stack(codes)),
        torch.from_numpy(np.stack(masks)),
        torch.from_numpy(np.stack(pixels).astype(kind, copy=False)) if pixels else None,
        torch.tensor(pending, dtype=torch.long),
    )


def _layout(
    rows: Sequence[Sequence[int]], text: Tensor, cells: Tensor | None, owners: Tensor | None
) -> Tensor:
    """(R, L) for the model: which of all tokens [texts (E, Lt) ; pictures (N, C)] stands at each place, -1 on
    padding. text and cells: which of them are real; owners: (N,) the example of each picture."""
    of_text = text.nonzero()
    source, owner = of_text[:, 0] * text.shape[1] + of_text[:, 1], of_text[:, 0]
    if cells is not None and owners is not None:
        of_cell = cells.nonzero()
        source = torch.cat([source, text.numel() + of_cell[:, 0] * cells.shape[1] + of_cell[:, 1]])
        owner = torch.cat([owner, owners[of_cell[:, 0]]])
    order = owner.argsort(stable=True)  # an example's text, then its pictures
    pieces = source[order].split(owner.bincount(minlength=len(text)).tolist())
    return _pad([torch.cat([pieces[i] for i in row]).numpy() for row in rows], filler=-1)


def _target_length(example: Encoded) -> int:
    codes = 0 if example.target_code_mask is None else int(example.target_code_mask.sum())
    return len(example.target_ids) + codes


def _pad(rows: Sequence[np.ndarray], filler: int = 0) -> Tensor:
    length = -(-max(len(r) for r in rows) // LENGTH_MULTIPLE) * LENGTH_MULTIPLE
    out = np.full((len(rows), length), filler, dtype=np.int64)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return torch.from_numpy(out)
