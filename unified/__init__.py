"""One encoder-decoder for vision, language and vision-language tasks.

import unified
pipe = unified.pipeline("toy")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unified.model import UnifiedConfig, UnifiedModel
    from unified.serving.pipeline import Pipeline, pipeline
    from unified.serving.processor import UnifiedProcessor
    from unified.serving.result import Result

__all__ = ["Pipeline", "Result", "UnifiedConfig", "UnifiedModel", "UnifiedProcessor", "pipeline"]


def __getattr__(name: str) -> Any:
    """Loads a name when it is first asked for: importing the package imports no torch. Any of the three
    `Unified` classes registers all of them with transformers' Auto classes."""
    if name.startswith("Unified") and name in __all__:
        from unified.serving import processor

        return getattr(processor, name)
    if name in ("Pipeline", "pipeline"):
        from unified.serving import pipeline as module

        return getattr(module, name)
    if name == "Result":
        from unified.serving.result import Result

        return Result
    raise AttributeError(f"module 'unified' has no attribute {name!r}")
