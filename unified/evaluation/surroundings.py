"""What a run or an evaluation happened in: versions of packages, the machine, the command."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "unified", "torch", "deepspeed", "transformers", "datasets", "sentencepiece", "numpy", "pillow",
    "pycocotools", "pycocoevalcap",
)  # fmt: skip
"""On which numbers may depend."""


def surroundings() -> dict[str, Any]:
    """JSON data: `versions` of Python and of the PACKAGES that are installed, the `machine`, the number of
    `threads` and, where there is one, the `accelerator`."""
    import torch

    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # an optional one, or a checkout that was not installed
            continue
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    out: dict[str, Any] = {
        "versions": versions,
        "machine": f"{platform.platform()}, {cores} cores",
        "threads": torch.get_num_threads(),
    }
    if torch.cuda.is_available():
        out["accelerator"] = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    return out


def command_line() -> str:
    """The command of this process, as one would type it."""
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.name  # python -m unified
    return shlex.join([name, *sys.argv[1:]])
