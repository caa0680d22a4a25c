"""Where the numbers of a run go: trackers by name, and the line that a person watches."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from unified.errors import UserError, did_you_mean
from unified.values.types import Image

METRICS = "metrics.jsonl"


class Tracker(Protocol):
    """`values` are flat: `loss`, `lr`, ..., and `loss/<task>`, `token_accuracy/<task>`."""

    def log(self, step: int, values: Mapping[str, float]) -> None: ...

    def show(self, step: int, images: Mapping[str, Image]) -> None:
        """Pictures by task; those who take none pass them over."""

    def close(self) -> None: ...


class JsonLines:
    """One line a log point in `<run>/metrics.jsonl`. A resumed run first drops the lines after its start."""

    def __init__(self, run: Path, config: Mapping[str, Any], start_step: int) -> None:
        self.path = run / METRICS
        run.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            kept = [
                line
                for line in self.path.read_text(errors="replace").splitlines()
                if _step_of(line) <= start_step
            ]
            temporary = self.path.with_suffix(".tmp")
            temporary.write_text("".join(f"{line}\n" for line in kept))
            temporary.replace(self.path)
        self.file = self.path.open("a", buffering=1)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.file.write(json.dumps({"step": step, **values}) + "\n")

    def show(self, step: int, images: Mapping[str, Image]) -> None:
        """They are files of the run already."""

    def close(self) -> None:
        self.file.close()


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")  # cut short by a crash


class TensorBoard:
    """Event files in `<run>/tensorboard`."""

    def __init__(self, run: Path, config: Mapping[str, Any], start_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(
            str(run / "tensorboard"), purge_step=start_step + 1 if start_step else None
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def show(self, step: int, images: Mapping[str, Image]) -> None:
        for name, image in images.items():
            self.writer.add_image(f"samples/{name}", image.pixels, step, dataformats="HWC")

    def close(self) -> None:
        self.writer.close()


class Wandb:
    """Weights & Biases; the run's folder names the run."""

    def __init__(self, run: Path, config: Mapping[str, Any], start_step: int) -> None:
        self.wandb = importlib.import_module("wandb")
        self.run = self.wandb.init(
            project="unified", name=run.name, dir=str(run), config=dict(config), resume="allow"
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=step)

    def show(self, step: int, images: Mapping[str, Image]) -> None:
        pictures = {f"samples/{name}": self.wandb.Image(image.pixels) for name, image in images.items()}
        self.run.log(pictures, step=step)

    def close(self) -> None:
        self.run.finish()


class Trackio:
    """Trackio, on this machine unless its own variables say otherwise; the run's folder names the run."""

    def __init__(self, run: Path, config: Mapping[str, Any], start_step: int) -> None:
        self.trackio = importlib.import_module("trackio")
        self.trackio.init(project="unified", name=run.name, config=dict(config), resume="allow")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.trackio.log(dict(values), step=step)

    def show(self, step: int, images: Mapping[str, Image]) -> None:
        pictures = {f"samples/{name}": self.trackio.Image(image.pixels) for name, image in images.items()}
        self.trackio.log(pictures, step=step)

    def close(self) -> None:
        self.trackio.finish()


TRACKERS: dict[str, Callable[[Path, Mapping[str, Any], int], Tracker]] = {
    "jsonl": JsonLines,
    "tensorboard": TensorBoard,
    "wandb": Wandb,
    "trackio": Trackio,
}
OPTIONAL = ("wandb", "trackio")
"""Those whose package, of the same name, is not installed by default."""


def check_trackers(names: Sequence[str]) -> None:
    """Raises UserError for a name that no tracker has, and for a package that is not installed."""
    for name in names:
        if name not in TRACKERS:
            raise UserError(
                f"track: unknown tracker '{name}'{did_you_mean(name, list(TRACKERS))}; "
                f"there are {', '.join(TRACKERS)}"
            )
        if name in OPTIONAL:
            try:
                importlib.import_module(name)
            except ImportError:
                raise UserError(
                    f"track: {name} is not installed; pip install {name}, or leave it out of `track`"
                ) from None


def open_trackers(
    names: Sequence[str], run: Path, config: Mapping[str, Any], start_step: int
) -> list[Tracker]:
    check_trackers(names)
    return [TRACKERS[name](run, config, start_step) for name in names]


class ProgressLine:
    """What a person sees: on a terminal one live line and the loss of every task below it, elsewhere one
    line a log point."""

    def __init__(self, tasks: Sequence[str], *, live: bool | None = None) -> None:
        self.tasks = list(tasks)
        self.live: Any = None
        if sys.stdout.isatty() if live is None else live:
            from rich.live import Live

            self.live = Live(auto_refresh=False, transient=False)
            self.live.start()

    def show(self, step: int, done: float, values: Mapping[str, float]) -> None:
        """`done`: the share 0..1 of the run that is over after `step` steps."""
        line = progress_text(step, done, values)
        if self.live is None:
            print(line, flush=True)
            return
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        for name in self.tasks:
            if f"loss/{name}" in values:
                accuracy = f"{values[f'token_accuracy/{name}']:.0%}"
                table.add_row(name, f"loss {values[f'loss/{name}']:.3f}", accuracy)
        bar = ProgressBar(total=1.0, completed=done, width=60)
        self.live.update(Group(Text(line), bar, table), refresh=True)

    def close(self) -> None:
        if self.live is not None:
            self.live.stop()


def progress_text(step: int, done: float, values: Mapping[str, float]) -> str:
    seconds = values["seconds"]
    left = seconds * (1 - done) / done if done else 0.0
    return (
        f"step {step:,} ({done:.0%})  loss {values['loss']:.4f}  "
        f"token accuracy {values['token_accuracy']:.1%}  lr {values['lr']:.2e}  "
        f"{values['tokens_per_second']:,.0f} tokens/s  "
        f"{values['examples_per_second']:,.1f} examples/s  data wait {values['data_wait']:.0%}  "
        f"{_clock(left)} left"
    )


def _clock(seconds: float) -> str:
    return (
        time.strftime("%H:%M:%S", time.gmtime(seconds)) if seconds < 86400 else f"{seconds / 86400:.1f} days"
    )
