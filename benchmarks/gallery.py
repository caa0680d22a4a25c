"""Draws docs/gallery.png of an evaluation: for one task of each kind, the picture, the truth and the answer
of the first row that was kept as a sample. Nothing is picked by hand.

    unified eval toy --limit 100 --out runs/toy_eval
    python benchmarks/gallery.py runs/toy_eval docs/gallery.png
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from unified.evaluation.results import Results
from unified.values.text_strip import Run, text_strip

TASKS = (
    "detect", "refer", "refer_mask", "keypoints", "depth", "normals", "segmentation_shape",
    "grounded_caption", "edit", "text_to_image", "vqa_colour", "paragraph",
)  # fmt: skip
SIDE, GAP, COLUMNS = 200, 16, 2


def cell(folder: Path, name: str, sample: dict[str, Any]) -> Image.Image:
    """Input, truth and answer in a row, the prompt above them, truth and answer in words below."""
    files = [*sample["inputs"][:1], sample["reference_image"], sample["prediction_image"]]
    pictures = [Image.open(folder / file).convert("RGB") for file in files if file]
    pictures = [p.resize((SIDE - 4, round((SIDE - 4) * p.height / p.width))) for p in pictures]
    above = text_strip([Run(f"{name}: {sample['prompt']}")], 3 * SIDE)
    parts = [above, Image.new("RGB", (3 * SIDE, max(p.height for p in pictures) + 4), "white")]
    for i, picture in enumerate(pictures):
        parts[1].paste(picture, (i * SIDE, 0))
    if sample["worded"]:
        words = f"truth: {sample['reference']}\nanswer: {sample['prediction']}"
        parts.append(text_strip([Run(words)], 3 * SIDE))
    return stack(parts, 0)


def stack(pictures: Sequence[Image.Image], gap: int) -> Image.Image:
    """One below the other."""
    height = sum(p.height + gap for p in pictures)
    out = Image.new("RGB", (max(p.width for p in pictures), height), "white")
    y = 0
    for picture in pictures:
        out.paste(picture, (0, y))
        y += picture.height + gap
    return out


def gallery(folder: Path) -> Image.Image:
    tasks = Results.load(folder).tasks
    cells = [cell(folder, name, tasks[f"toybox_{name}"].samples[0]) for name in TASKS]
    columns = [stack(cells[i::COLUMNS], GAP) for i in range(COLUMNS)]
    page = Image.new("RGB", (COLUMNS * (3 * SIDE + GAP), max(c.height for c in columns)), "white")
    for i, column in enumerate(columns):
        page.paste(column, (i * (3 * SIDE + GAP), 0))
    return page


if __name__ == "__main__":
    gallery(Path(sys.argv[1])).save(sys.argv[2], optimize=True)
    print(sys.argv[2])
