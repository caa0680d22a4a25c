"""Where the fixtures of the library are, and how they are read for the tiny model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unified.tokenization.processor import Processor

ASSETS = Path(__file__).parents[1] / "assets" / "library"


def sizes(processor: Processor) -> dict[str, Any]:
    return {"image_size": processor.image_size, "target_size": processor.target_size}
