"""`unified demo`: the main job on the built-in world, from training to a report."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from unified.sources.toybox.source import ToyboxRows
from unified.specs.paths import resource
from unified.specs.source_schema import ToyboxSource

PROMPTS = [
    '"What is the depth map of the image ?" --image {image} --out {run}/depth.png',
    '--task toybox_vqa_count --set question="how many things are there?" --image {image}',
    '--task toybox_refer --set phrase="{phrase}" --image {image} --out {run}/box.png',
]


def run_demo(run: Path, overrides: Sequence[str]) -> int:
    """Trains configs/demo.yaml into `run`, which evaluates at its end and writes report.html; writes a
    picture and prints three prompts to try. Returns the exit code of the training when that fails."""
    command = [
        sys.executable,
        str(resource("train.py")),
        str(resource("configs") / "demo.yaml"),
        f"run={run}",
    ]
    code = subprocess.run([*command, *overrides]).returncode
    if code:
        return code

    row = ToyboxRows(ToyboxSource(type="toybox", kind="refer", image_size=128), "validation")[7]
    picture = run / "room.png"
    Image.fromarray(row["image"]).save(picture)
    print("\nAsk it:")
    for prompt in PROMPTS:
        print(f"  unified prompt {run} " + prompt.format(run=run, image=picture, phrase=row["phrase"]))
    return 0
