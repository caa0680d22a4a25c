"""What this machine has for training and serving, and what is wrong with it: each check says its mend."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import psutil

PACKAGES = (
    "torch", "transformers", "accelerate", "deepspeed", "taming-transformers-rom1504", "datasets", "einops",
    "sentencepiece", "numpy", "pillow", "pydantic", "gradio", "fastapi",
)  # fmt: skip
ROOM = 5
"""GiB of free disk below which a warning is due: a checkpoint of `base` takes 3."""

State = Literal["good", "note", "bad"]


@dataclass(frozen=True)
class Finding:
    """One line: `bad` where something that is needed does not work; `note` where it works with a drawback."""

    name: str
    state: State
    text: str


def examine(folder: Path) -> list[Finding]:
    """All findings; `folder`: where runs are written. Reads only, but for one small file that it removes."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _python, _packages, _torchvision, _accelerator, _deepspeed, lambda: _disk(folder),
        _shared_memory, _shipped,
    )  # fmt: skip
    return [finding for check in checks for finding in check()]


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    good = sys.version_info >= (3, 11)
    yield Finding(
        "python", "good" if good else "bad", version if good else f"{version}: 3.11 or newer is wanted"
    )
    memory = psutil.virtual_memory()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding(
        "machine", "good",
        f"{platform.platform()}, {cores} cores, {memory.available / 2**30:.0f} of {memory.total / 2**30:.0f} "
        "GiB of memory free",
    )  # fmt: skip


def _packages() -> Iterator[Finding]:
    for name in PACKAGES:
        try:
            yield Finding(name, "good", metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding(name, "bad", f"is not installed: pip install {name}")


def _torchvision() -> Iterator[Finding]:
    """transformers imports torchvision where it is installed, and one of another torch breaks that import."""
    try:
        version = metadata.version("torchvision")
    except metadata.PackageNotFoundError:
        yield Finding("torchvision", "good", "not installed, and not needed")
        return
    try:
        importlib.import_module("torchvision")
    except Exception as error:  # whatever an extension built for another torch raises
        yield Finding(
            "torchvision", "bad",
            f"{version} does not fit torch {metadata.version('torch')} ({str(error).splitlines()[0]}): "
            "pip uninstall torchvision, or install the release made for that torch",
        )  # fmt: skip
    else:
        yield Finding("torchvision", "good", version)


def _accelerator() -> Iterator[Finding]:
    import torch

    from unified.devices import computes_bf16

    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = (
            "this torch is built without CUDA"
            if built is None
            else f"torch is built for CUDA {built}, and finds no GPU"
        )
        seen = shutil.which("nvidia-smi") is not None
        hint = ", though nvidia-smi is here: install the torch build for its driver" if seen else ""
        bf16 = "has bfloat16" if computes_bf16("cpu") else "has no bfloat16: engine.precision auto means fp32"
        yield Finding("accelerator", "note", f"none: {why}{hint}; training runs on the CPU, which {bf16}")
        return
    for i in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(i)
        bf16 = "bf16" if computes_bf16(f"cuda:{i}") else "no bf16: set engine.precision to fp16 or fp32"
        name = torch.cuda.get_device_name(i)
        yield Finding(
            f"cuda:{i}", "good", f"{name}, {free / 2**30:.0f} of {total / 2**30:.0f} GiB free, {bf16}"
        )


def _deepspeed() -> Iterator[Finding]:
    """Its own operations are compiled on first use; that takes a compiler, and nvcc for those of a GPU."""
    import torch

    tools = {"ninja": "pip install ninja", "g++": "install g++"}
    if torch.cuda.is_available():
        tools["nvcc"] = "install the CUDA toolkit; only engine.offload needs it"
    absent = [name for name in tools if shutil.which(name) is None and not _beside_python(name)]
    for name in absent:
        state: State = "note" if name == "nvcc" else "bad"
        yield Finding("DeepSpeed ops", state, f"{name} is not here, which compiles them: {tools[name]}")
    if absent:
        return
    from deepspeed.ops.op_builder import CPUAdamBuilder

    works = CPUAdamBuilder().is_compatible()
    yield Finding(
        "DeepSpeed ops", "good" if works else "note",
        "can be compiled here" if works else "CPUAdam cannot be compiled here: engine.offload will not work",
    )  # fmt: skip


def _beside_python(name: str) -> bool:
    return (Path(sys.executable).parent / name).exists()


def _disk(folder: Path) -> Iterator[Finding]:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    try:
        probe = place / f".unified_doctor_{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        yield Finding("disk", "bad", f"{place}: cannot be written ({error.strerror}); runs go there")
        return
    free = shutil.disk_usage(place).free / 2**30
    text = f"{free:.0f} GiB free in {place}"
    yield Finding(
        "disk",
        "good" if free >= ROOM else "note",
        text if free >= ROOM else f"{text}: little for checkpoints",
    )


def _shared_memory() -> Iterator[Finding]:
    """Data workers hand their batches over through it; containers often give it 64 MiB."""
    place = Path("/dev/shm")
    if not place.is_dir():
        return
    total = shutil.disk_usage(place).total / 2**20
    if total >= 512:
        yield Finding("shared memory", "good", f"{total:,.0f} MiB")
    else:
        yield Finding(
            "shared memory", "note",
            f"{total:,.0f} MiB: data workers may die; docker run --shm-size=8g, or data.workers=0",
        )  # fmt: skip


def _shipped() -> Iterator[Finding]:
    """The toy weights load and fit their tokenizer set."""
    from unified.errors import UserError
    from unified.evaluation.model_folder import load_model_folder

    try:
        loaded = load_model_folder("toy", "cpu")
    except UserError as error:
        yield Finding("toy weights", "bad", f"{error}; install the package again")
    else:
        count = sum(p.numel() for p in loaded.model.parameters())
        yield Finding("toy weights", "good", f"{count:,} parameters, {len(loaded.tasks)} tasks")
