"""Tasks and files for the tests of sources."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from unified.specs.load import LoadedTask
from unified.specs.schema import TaskSpec


def task_of(folder: Path, source: dict[str, Any] | None = None, **fields: Any) -> LoadedTask:
    """A task in `folder/task.yaml` (which need not exist); the first image field is its input."""
    images = [
        n for n, f in fields.items() if n == "image" or (isinstance(f, dict) and f.get("type") == "image")
    ]
    spec = TaskSpec.model_validate(
        {
            "task": "t",
            "source": source or {"type": "jsonl", "splits": {"train": "rows.jsonl"}},
            "fields": fields,
            "input": {"images": images[:1], "prompt": "x"},
            "target": {"field": next(iter(fields))},
        }
    )
    return LoadedTask.of(spec, folder / "task.yaml")


def save_image(
    path: Path, size: tuple[int, int] = (6, 4), colour: tuple[int, int, int] = (10, 20, 30)
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", size, colour).save(path)
    return path


def png_bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()
