"""Writing large files where there may be no room for them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from unified.errors import NO_ROOM, UserError


@contextlib.contextmanager
def room_for(what: str, folder: Path) -> Iterator[None]:
    """Around the writing of `what` into `folder`. Raises UserError where that fails for want of room, which
    torch and safetensors report as errors of their own."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if isinstance(error, OSError):
            full, why = error.errno in NO_ROOM, (error.strerror or str(error)).lower()
        else:
            text = str(error)
            full, why = "os error" in text or "inline_container" in text, "no room, or a disk error"
        if not full:
            raise
        with contextlib.suppress(OSError):
            why += f"; {shutil.disk_usage(folder).free / 2**20:,.1f} MiB are free there"
        raise UserError(
            f"{folder}: {what} could not be written ({why}). What was complete before is as it was: "
            "make room, and the same command continues from there"
        ) from error
