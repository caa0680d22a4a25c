"""The page's picture slots, which hand on a file as it came."""

from __future__ import annotations

from abc import ABCMeta
from pathlib import Path
from typing import Any

import gradio as gr


def _file(self: gr.Image, payload: Any) -> str | None:
    """The path, or "" for what is no upload: gradio passes on any path that comes without its `meta`."""
    if payload is None:
        return None
    uploads = Path(self.GRADIO_CACHE).resolve()
    there = bool(payload.path) and Path(payload.path).resolve().is_relative_to(uploads)
    return payload.path if there else ""


# gradio's own `preprocess` opens the picture, whatever its size and format, and has no words for a broken
# one. Its metaclass would write a .pyi beside this module, so the class is made without it.
Upload: type[gr.Image] = ABCMeta.__new__(
    type(gr.Image), "Upload", (gr.Image,), {"preprocess": _file, "is_template": True}
)
"""An image component whose value is the path of the uploaded file, unopened; to the page it is a gr.Image."""
