"""Checkpoints of a run: written whole or not at all, and resumed only where they fit.

`<run>/checkpoints/step_00000100/` holds DeepSpeed's files, `meta.json` and, once all ranks have written, the
marker COMPLETE. A folder without the marker is what an interrupted save left behind; it is never read.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unified.errors import UserError
from unified.training.config import RunConfig
from unified.training.disk import room_for
from unified.training.engine import TrainEngine, ema_file
from unified.training.launch import Ranks

COMPLETE = "COMPLETE"
META = "meta.json"
FOLDER = "checkpoints"
STAGES = ((1, 2), (2, 1))
"""ZeRO stages between which DeepSpeed can convert."""


@dataclass(frozen=True)
class Meta:
    """What a checkpoint belongs to. `step`: steps done; `seconds`: training time so far."""

    step: int
    seconds: float
    seed: int
    world: int
    batch_size: int
    zero: int
    precision: str
    optimizer: str
    tokenizer: str
    """Hash of the tokenizer set."""
    tasks: dict[str, str]
    """Task -> identity of its spec."""
    rows: dict[str, int]
    """Task -> rows that the run draws from."""
    rates: dict[str, float]
    """Task -> share of the examples."""
    model: dict[str, Any]
    """The model's configuration."""
    config: dict[str, Any]
    """The run's configuration, for the record: what must not change stands in the fields above."""
    meter: dict[str, Any] | None = None
    """Sums of the steps that no report has told yet, as `Meter.state` gives them."""

    @classmethod
    def of(
        cls,
        config: RunConfig,
        step: int,
        seconds: float,
        world: int,
        tokenizer: str,
        tasks: dict[str, str],
        rows: dict[str, int],
        rates: dict[str, float],
        model: dict[str, Any],
    ) -> Meta:
        return cls(
            step=step,
            seconds=seconds,
            seed=config.seed,
            world=world,
            batch_size=config.data.batch_size,
            zero=config.engine.zero,
            precision=config.engine.precision,
            optimizer=config.optim.name,
            tokenizer=tokenizer,
            tasks=tasks,
            rows=rows,
            rates=rates,
            model=json.loads(json.dumps(model)),  # as it will be read back
            config=config.model_dump(mode="json"),
        )

    @classmethod
    def load(cls, checkpoint: Path) -> Meta:
        """Raises UserError where the file is missing or of another version."""
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(cls).validate_python(json.loads((checkpoint / META).read_text()))
        except ValidationError as error:
            first = error.errors()[0]
            why = f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg'].lower()}"
        except (OSError, ValueError) as error:
            why = str(error)
        raise UserError(f"{checkpoint / META}: cannot be read ({why}); {_instead(checkpoint)}")


def tag_of(step: int) -> str:
    return f"step_{step:08d}"


def complete(run: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    return sorted(marker.parent for marker in (run / FOLDER).glob(f"step_*/{COMPLETE}"))


def find_checkpoint(resume: str, run: Path) -> Path | None:
    """The checkpoint that `--resume auto|none|PATH` means; None: start from the beginning.

    PATH is a checkpoint or the folder of a run, whose newest complete one is taken. Raises UserError where
    PATH holds none, and where `none` would overwrite the checkpoints of an earlier run.
    """
    if resume == "auto":
        found = complete(run)
        return found[-1] if found else None
    if resume == "none":
        if complete(run):
            raise UserError(
                f"{run}: holds the checkpoints of an earlier run; continue it with --resume auto, choose "
                "another folder with run=..., or delete this one"
            )
        return None
    path = Path(resume).expanduser()
    if (path / FOLDER).is_dir():
        found = complete(path)
        if not found:
            raise UserError(f"{path}: none of its checkpoints is complete")
        return found[-1]
    if not path.is_dir():
        raise UserError(f"--resume {resume}: there is no such folder; give auto, none, a checkpoint or a run")
    if not (path / COMPLETE).exists():
        raise UserError(f"{path}: is no complete checkpoint (its file {COMPLETE} is missing)")
    return path


def save_checkpoint(engine: TrainEngine, ranks: Ranks, run: Path, meta: Meta, keep: int) -> Path:
    """Writes a checkpoint and drops all but the `keep` newest. All ranks call it. Raises UserError, perhaps
    on one rank alone, where there is no room for it."""
    folder = run / FOLDER
    target = folder / tag_of(meta.step)
    with room_for(f"the checkpoint of step {meta.step:,}", run):
        if ranks.main:
            _remove(target)  # of a longer run that was resumed before its end
            _prune(run, keep)  # what interrupted saves have left, whose room may be needed
            folder.mkdir(parents=True, exist_ok=True)
        ranks.barrier()
        engine.save(folder, target.name)
        ranks.barrier()  # now every rank has written
        if ranks.main:
            (target / META).write_text(json.dumps(asdict(meta), indent=1) + "\n")
            _write_marker(target / COMPLETE)
            _prune(run, keep)
    ranks.barrier()
    return target


def load_checkpoint(engine: TrainEngine, checkpoint: Path, then: Meta) -> None:
    """Puts the state of a checkpoint into the engine. All ranks call it, after `check_fits`, whose result is
    `then`. Raises UserError where its files are damaged or gone; they stay as they are."""
    try:
        if engine.universal:
            with _universal(checkpoint, engine.ranks) as converted:
                engine.load(converted.parent, converted.name)
        else:
            engine.load(checkpoint.parent, checkpoint.name)
        engine.load_ema(checkpoint, then.world, then.zero)
    except UserError:
        raise
    except Exception as error:  # DeepSpeed and torch raise all kinds for files that are cut short or gone
        why = f"{type(error).__name__}: {error}".splitlines()[0].split(". ")[0].removesuffix(": ")
        raise UserError(f"{checkpoint}: its state cannot be read ({why}); {_instead(checkpoint)}") from error


def needs_conversion(then: Meta, now: Meta) -> bool:
    """Whether optimizer state that ZeRO has split over ranks must be split anew."""
    return (then.world, then.zero) != (now.world, now.zero) and now.zero > 0


def write_universal(checkpoint: Path, out: Path) -> None:
    """Writes DeepSpeed's universal form of a checkpoint of ZeRO 1 to 3. Raises UserError where it cannot."""
    work = out.with_name(f"{out.name}.tmp")
    for folder in (work, out):
        shutil.rmtree(folder, ignore_errors=True)
    command = [
        sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state",
        "--num_extract_workers", "1", "--num_merge_workers", "1",
        "--input_folder", str(checkpoint), "--output_folder", str(work),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        shutil.rmtree(work, ignore_errors=True)
        why = (done.stderr.strip() or done.stdout.strip() or f"code {done.returncode}").splitlines()[-1]
        raise UserError(f"{checkpoint}: DeepSpeed cannot convert it ({why}); its files are as they were")
    work.rename(out)


def weights_of(checkpoint: Path, model: nn.Module) -> dict[str, Tensor]:
    """The whole weights in a checkpoint, or their running mean where the run keeps one, named and shaped as
    those of `model`. Raises UserError where its files are damaged."""
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    meta = Meta.load(checkpoint)
    try:
        ranks = range(meta.world if meta.zero == 3 else 1)
        means = [checkpoint / ema_file(rank, meta.zero) for rank in ranks]
        if means[0].exists():
            parts = [torch.load(file, map_location="cpu", weights_only=True)["mean"] for file in means]
            found = {name: torch.cat([part[name].flatten() for part in parts]) for name in parts[0]}
        elif meta.zero == 3:
            with contextlib.redirect_stdout(io.StringIO()):
                found = get_fp32_state_dict_from_zero_checkpoint(str(checkpoint.parent), checkpoint.name)
        else:
            states = checkpoint / "mp_rank_00_model_states.pt"
            found = torch.load(states, map_location="cpu", weights_only=True)["module"]
        return {
            name: found[name].flatten()[: weight.numel()].view(weight.shape).to(weight.dtype).contiguous()
            for name, weight in model.state_dict().items()
        }
    except (OSError, KeyError, RuntimeError, ValueError, pickle.UnpicklingError, EOFError) as error:
        raise UserError(
            f"{checkpoint}: its weights cannot be read ({error}); {_instead(checkpoint)}"
        ) from error


@contextlib.contextmanager
def _universal(checkpoint: Path, ranks: Ranks) -> Iterator[Path]:
    """A copy of the checkpoint in DeepSpeed's universal form, which any number of ranks can read. All ranks
    enter; rank 0 makes it. It is deleted at the end, and one that was left half-made is not read."""
    target = checkpoint.parent / f".universal_{checkpoint.name}"
    failed, why = torch.zeros(1), ""
    if ranks.main:
        try:
            write_universal(checkpoint, target)
        except UserError as error:
            failed[0], why = 1.0, f": {error}"
    if ranks.sum(failed):
        raise UserError(f"{checkpoint}: cannot be converted for this number of ranks{why}")
    try:
        yield target
    finally:
        ranks.barrier()
        if ranks.main:
            shutil.rmtree(target, ignore_errors=True)


def _instead(checkpoint: Path) -> str:
    """What to do where a checkpoint is damaged."""
    run = checkpoint.parent.parent
    others = [str(path) for path in complete(run) if path.name != checkpoint.name]
    if others:
        return f"continue from another: --resume {others[-1]}"
    start = f" from its weights (run=... init={run})" if (run / "model").is_dir() else " (run=...)"
    return f"there is no other in {run}, so start a new run{start}"


def check_fits(checkpoint: Path, now: Meta) -> Meta:
    """The checkpoint's meta. Raises UserError with every reason why a run like `now` cannot continue it."""
    then = Meta.load(checkpoint)
    init = f"init={checkpoint.parent.parent}"
    problems = []
    if then.tokenizer != now.tokenizer:
        old, new = then.tokenizer[:12], now.tokenizer[:12]
        problems.append(f"its tokenizer set is {old}, this run's {new}: the same ids mean other things")
    problems += [f"the model's {line}" for line in _changes(_shape(then.model), _shape(now.model))]
    problems += [f"task {line}" for line in _changes(then.tasks, now.tasks)]
    if then.tasks.keys() == now.tasks.keys():
        problems += [f"rows of {line}" for line in _changes(then.rows, now.rows)]
    if not problems and any(abs(then.rates[t] - now.rates[t]) > 1e-9 for t in now.rates):
        problems.append("the tasks are mixed at other rates, so the order of examples is another")
    for name, word in (("seed", "seed"), ("batch_size", "data.batch_size"), ("optimizer", "optim.name")):
        old, new = getattr(then, name), getattr(now, name)
        if old != new:
            problems.append(f"{word} was {old} and is {new}")
    if problems:
        raise UserError(
            f"{checkpoint}: cannot be continued by this run:\n"
            + "\n".join(f"  {p}" for p in problems)
            + f"\nundo the change, or start a new run from its weights (run=... {init})"
        )
    if why := _cannot_convert(then, now):
        raise UserError(f"{checkpoint}: {why}, or start a new run from its weights (run=... {init})")
    return then


def _cannot_convert(then: Meta, now: Meta) -> str | None:
    """Why optimizer state laid out for one engine cannot serve another, and what to do."""
    back = f"continue with engine.zero={then.zero} engine.precision={then.precision}"
    if then.precision != now.precision:
        return f"its optimizer state is in {then.precision}, this run's would be in {now.precision}; {back}"
    if then.zero != now.zero and (then.zero, now.zero) not in STAGES:
        return (
            f"DeepSpeed cannot bring the optimizer state of engine.zero={then.zero} to {now.zero} "
            f"(1 and 2 can be exchanged); {back}"
        )
    if then.world != now.world and then.zero and then.optimizer != "adamw":
        return f"DeepSpeed splits the state of {then.optimizer} anew for no other number of ranks; {back}"
    return None


def _changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    return [
        f"{key}: was {old.get(key, 'not there')}, is {new.get(key, 'not there')}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def _shape(model: dict[str, Any]) -> dict[str, Any]:
    """A model configuration without what leaves the weights usable."""
    return {
        k: v for k, v in model.items() if k not in ("dropout", "dtype", "transformers_version", "use_cache")
    }


def _write_marker(path: Path) -> None:
    """Appears at once and only after what was written before has reached the disk."""
    for file in path.parent.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    temporary = path.with_suffix(".tmp")
    temporary.write_text("all ranks have written\n")
    temporary.replace(path)


def _prune(run: Path, keep: int) -> None:
    kept = complete(run)[-keep:]
    for path in (run / FOLDER).glob("step_*"):
        if path not in kept and re.fullmatch(r"step_\d+", path.name):
            _remove(path)
    for path in (run / FOLDER).glob(".universal_*"):  # of a conversion that was killed
        shutil.rmtree(path, ignore_errors=True)


def _remove(path: Path) -> None:
    (path / COMPLETE).unlink(missing_ok=True)  # first, so that half a folder never looks complete
    shutil.rmtree(path, ignore_errors=True)
