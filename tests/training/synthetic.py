"""Batches of made-up examples: words, pictures, picture answers, of unequal lengths."""

import numpy as np
import torch

from unified.data.collate import Batch, collate_packed
from unified.model import UnifiedConfig, UnifiedModel
from unified.tokenization.processor import Encoded

TASKS = ["text", "look", "paint"]
SHAPE = {
    "vocab_size": 96, "image_vocab_size": 32, "d_model": 32, "num_heads": 2, "head_dim": 16, "d_ff": 48,
    "encoder_layers": 2, "decoder_layers": 2, "image_size": 16, "patch_size": 8, "patch_embed": "linear",
    "target_grid": 2, "encoder_max_text_length": 16, "decoder_max_text_length": 16, "max_images": 2,
}  # fmt: skip


def model(**changes):
    torch.manual_seed(0)
    return UnifiedModel(UnifiedConfig(**{**SHAPE, **changes}))


def example(n, task=None):
    """Example n as (task, input ids, pixels or None, target ids, codes or None)."""
    draw = torch.Generator().manual_seed(n)
    task = task or TASKS[n % 3]

    def ids(low, high):
        return torch.randint(3, 90, (int(torch.randint(low, high, (), generator=draw)),), generator=draw)

    pixels = torch.randint(0, 256, (16, 16, 3), generator=draw).float() if task != "text" else None
    codes = torch.randint(0, 32, (4,), generator=draw) if task == "paint" else None
    target = torch.cat([ids(1, 9) if task != "paint" else ids(0, 1), torch.tensor([1])])
    return task, ids(3, 12), pixels, target, codes


def batch(examples):
    """A Batch as `collate` makes it, with the codes already there."""
    rows = len(examples)

    def pad(items):
        out = torch.zeros(rows, max(len(i) for i in items), dtype=torch.long)
        for row, item in zip(out, items, strict=True):
            row[: len(item)] = item
        return out

    tasks, inputs, pixels, targets, codes = zip(*examples, strict=True)
    target_ids = pad(targets)
    fields = {"input_ids": pad(inputs), "target_ids": target_ids}
    if any(p is not None for p in pixels):
        fields["images"] = torch.stack([torch.zeros(16, 16, 3) if p is None else p for p in pixels])[:, None]
        fields["patch_mask"] = torch.tensor([p is not None for p in pixels])[:, None, None].expand(rows, 1, 4)
    code_weights = None
    if any(c is not None for c in codes):
        there = torch.tensor([c is not None for c in codes])
        fields["target_codes"] = torch.stack([torch.zeros(4).long() if c is None else c for c in codes])[
            :, None
        ]
        fields["target_code_mask"] = there[:, None, None].expand(rows, 1, 4)
        code_weights = fields["target_code_mask"].float() * 0.5
    keys = [f"row {i}" for i in range(rows)]
    return Batch(fields, (target_ids != 0).float(), code_weights, list(tasks), keys)


def packed(examples, rows):
    """The same examples as `collate_packed` lays them out in that many rows."""
    none = np.zeros((0, 16, 16, 3), dtype=np.float32), np.zeros((0, 4), dtype=bool)
    encoded = []
    for n, (task, ids, pixels, target, codes) in enumerate(examples):
        seen = none if pixels is None else (pixels.numpy()[None], np.ones((1, 4), dtype=bool))
        mask = None if codes is None else np.ones(4, dtype=bool)
        made = None if codes is None else codes.numpy()
        encoded.append(
            Encoded(task, f"row {n}", 1.0, ids.numpy(), *seen, target.numpy(), None, mask, target_codes=made)
        )
    return collate_packed(encoded, [list(range(n, len(encoded), rows)) for n in range(rows)])


def micro_batches(step, rank, world, accumulation, size=12):
    """This rank's part of the `size` examples of a step."""
    mine = list(range(step * size, (step + 1) * size))[rank::world]
    width = len(mine) // accumulation
    return [batch([example(n) for n in mine[i : i + width]]) for i in range(0, len(mine), width)]
