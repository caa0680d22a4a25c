"""What an image tokenizer alone loses: ground truth encoded, decoded and scored, for each dense kind.

No model is involved: these figures are the ceiling of any model that answers in the set's image codes.

python benchmarks/toy_ceiling.py [--tokenizers toy] [--mixture toybox] [--rows 200] [--splits ...]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from unified.evaluation.metrics import get_metric
from unified.sources.base import RowSource
from unified.sources.fields import read_fields
from unified.sources.open import open_source
from unified.specs.build import build_example
from unified.specs.example import Example
from unified.specs.load import load_mixture
from unified.specs.task import LoadedTask
from unified.tokenization.processor import Processor
from unified.tokenization.tokenizer_set import TokenizerSet
from unified.values.types import DENSE_TYPES, Depth

METRICS = {
    "image": ("psnr", "ssim"),
    "mask": ("mask_iou",),
    "segmentation": ("miou",),
    "depth": ("depth_rmse", "depth_delta1"),
    "normals": ("normals_angle", "normals_within_30"),
}


def rebuilt(processor: Processor, task: LoadedTask, examples: Sequence[Example]) -> tuple[list[Any], float]:
    """The targets of `examples` after encoding and decoding, and the share of codes that any of them used."""
    values, used = [], set()
    for start in range(0, len(examples), 32):
        part = examples[start : start + 32]
        images = np.stack([processor.encode(example, task).target_image for example in part])
        codes = processor.tokenizers.image.encode(images)
        used |= set(codes.unique().tolist())
        pixels = processor.tokenizers.image.decode(codes).numpy()
        values += [processor.decode(task, [], p, e)[0] for p, e in zip(pixels, part, strict=True)]
    return values, len(used) / processor.tokenizers.vocabulary.image_size


def examples_of(task: LoadedTask, split: str, rows: int, size: int) -> list[Example]:
    source = open_source(task, split)
    assert isinstance(source, RowSource)
    return [
        build_example(
            task, read_fields(task, source[i], source), key=source.key(i), rng=np.random.default_rng(i),
            training=False, image_size=size, target_size=size,
        )
        for i in range(min(rows, len(source)))
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokenizers", default="toy")
    parser.add_argument("--mixture", default="toybox")
    parser.add_argument("--rows", type=int, default=200, help="rows of each task")
    parser.add_argument("--splits", nargs="+", default=["validation", "held_out"])
    args = parser.parse_args()
    torch.set_num_threads(1)  # the figures do not depend on it; a shared machine does
    tokenizers = TokenizerSet.load(args.tokenizers)
    size = tokenizers.config.image.size
    processor = Processor(
        tokenizers, image_size=size, patch_size=tokenizers.code_cell, target_size=size,
        max_input_length=256, max_target_length=256,
    )  # fmt: skip
    print(f"tokenizer set {tokenizers.name} {tokenizers.hash[:12]}, {args.rows} rows of each task\n")
    print("| task | kind | metric | " + " | ".join(args.splits) + " |")
    print("|---|---|---|" + "---|" * len(args.splits))
    for entry in load_mixture(args.mixture).entries:
        task = entry.task
        kind = task.spec.modality
        if kind not in DENSE_TYPES:
            continue
        scores: dict[str, list[str]] = {}
        for split in args.splits:
            examples = examples_of(task, split, args.rows, size)
            targets = [example.target for example in examples]
            values, used = rebuilt(processor, task, examples)
            for name in METRICS[kind]:
                score = get_metric(name)(values, targets)
                scores.setdefault(name, []).append(f"{score.value:.3f}")
            if kind == "depth":
                spread = np.mean([t.metres.std() for t in targets if isinstance(t, Depth)])
                scores.setdefault("(spread of the true depth, m)", []).append(f"{spread:.3f}")
            scores.setdefault("(share of codes used)", []).append(f"{used:.2f}")
        for name, figures in scores.items():
            print(f"| {task.name} | {kind} | {name} | " + " | ".join(figures) + " |", flush=True)


if __name__ == "__main__":
    main()
