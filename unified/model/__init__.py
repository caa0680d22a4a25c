"""The Unified-IO model. Names load on first use, so that importing the package costs nothing.

Touching any of them also registers the model with transformers' AutoConfig and AutoModel.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unified.model.configuration import SIZES, UnifiedConfig
    from unified.model.modeling import UnifiedModel
    from unified.model.outputs import EncoderOutput, UnifiedOutput

__all__ = ["SIZES", "EncoderOutput", "UnifiedConfig", "UnifiedModel", "UnifiedOutput"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    modeling = import_module("unified.model.modeling")  # it registers both, and has or imports all of them
    return getattr(import_module("unified.model.configuration") if name == "SIZES" else modeling, name)
