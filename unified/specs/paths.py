"""Where files lie: those that ship with the package, in a checkout or a wheel, and those that specs name."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

import unified
from unified.errors import UserError

Kind = Literal["task_specs", "tokenizers", "configs", "weights", "train.py"]


def resource(kind: Kind) -> Path:
    """The folder of shipped files of one kind, or the training script.

    A wheel carries them as package data under `unified/_resources/`; a checkout has them at its
    root. `site-packages` is no checkout: its `tokenizers` is somebody else's.
    """
    package = Path(unified.__file__).resolve().parent
    packed, checkout = package / "_resources" / kind, package.parent / kind
    if packed.exists():
        return packed
    if checkout.exists() and (package.parent / "pyproject.toml").is_file():
        return checkout
    raise UserError(f"{checkout}: the shipped '{kind}' is missing; install unified again")


def expand(text: str) -> str:
    """`text` with `~` and `$NAME` replaced. A relative `$UNIFIED_DATA` starts at the current folder, as the
    user who set it sees it, not at that of a spec."""
    data = os.environ.get("UNIFIED_DATA")
    if data:
        whole = os.path.abspath(os.path.expanduser(data))
        text = re.sub(r"\$(UNIFIED_DATA\b|\{UNIFIED_DATA\})", lambda _: whole, text)
    return os.path.expanduser(os.path.expandvars(text))
