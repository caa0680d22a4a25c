"""Where the files that ship with the package lie, in a checkout and in an installed wheel."""

from __future__ import annotations

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
