"""One optimiser step over all ranks, and the sums that are reported about it."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from unified.data.collate import Batch, ImageEncoder
from unified.data.dataset import SkipLog
from unified.data.loader import StepLoader
from unified.data.order import hash64
from unified.errors import UserError
from unified.objectives.base import SUMS, Objective, empty_sums
from unified.training.checkpoints import tag_of
from unified.training.config import RunConfig
from unified.training.engine import TrainEngine
from unified.training.launch import Ranks
from unified.training.schedules import learning_rate
from unified.training.signals import StopRequest

TIMES = ("seconds", "tokens_per_second", "examples_per_second", "data_wait")
"""Values of a report that depend on the clock; all others are the same for the same run."""
MOST_LEFT_OUT = 20
"""Steps in a row whose loss is not a number: then the weights are to blame, not the rows."""


class Feed:
    """This rank's micro-batches, step by step, and why there are none any more. Its workers live until the
    context ends."""

    def __init__(self, loader: StepLoader, skips: SkipLog, stop: StopRequest) -> None:
        self.loader, self.skips, self.stop = loader, skips, stop
        self.iterator = iter(loader)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the workers."""
        self.iterator.close()

    def next(self) -> tuple[list[Batch] | None, UserError | None]:
        """The micro-batches of the next step, or the error that this rank's data ended in.

        Neither, where workers died of the signal that asks the run to stop.
        """
        try:
            _, batches, skipped = next(self.iterator)
            self.skips.record(skipped)
        except UserError as error:
            return None, error
        except RuntimeError as error:
            if self.stop.number:
                return None, None
            if "DataLoader worker" not in str(error):
                raise
            return None, UserError(
                f"a data worker died ({str(error).splitlines()[0]}): there was no memory for it, or a file "
                "that it read was cut short. The same command continues from the newest checkpoint"
            )
        return batches, None


@dataclass(frozen=True)
class Agreement:
    """What all ranks know before a step.

    weight: sum of the loss weights of the whole step; seconds: training time so far on rank 0's clock;
    signal: number of the signal that asked any of them to stop, else 0; failed: ranks whose data ended in an
    error.
    """

    weight: float
    seconds: float
    signal: int
    failed: int


@dataclass(frozen=True)
class StepReport:
    """What a step did, over all ranks. sums: (len(SUMS), T) float64; tokens: positions without padding;
    places: with padding; overflow: examples longer than a packed row should be; wait: seconds that a rank, on
    average, waited for data."""

    sums: Tensor
    tokens: float
    places: float
    overflow: float
    wait: float
    lr: float
    grad_norm: float


class Trainer:
    """Runs steps. `image_tokenizer` makes the codes of picture answers, and of input pictures for a model
    that `reads_codes`; None where there are neither."""

    def __init__(
        self,
        engine: TrainEngine,
        objective: Objective,
        tasks: Sequence[str],
        config: RunConfig,
        ranks: Ranks,
        image_tokenizer: ImageEncoder | None,
        reads_codes: bool = False,
    ) -> None:
        self.engine, self.objective, self.tasks = engine, objective, list(tasks)
        self.config, self.ranks = config, ranks
        self.image_tokenizer, self.reads_codes = image_tokenizer, reads_codes
        self.state: Any = None
        self.left_out = 0

    def agree(self, batches: Sequence[Batch] | None, seconds: float, signal: int, failed: bool) -> Agreement:
        """Tells the other ranks and hears from them: one small all-reduce."""
        mine = torch.zeros(4 + 64, dtype=torch.float64)
        mine[0] = sum(float(b.weight) for b in batches or ())
        mine[1] = seconds if self.ranks.main else 0.0
        mine[2] = float(failed)
        mine[3 + signal] = 1.0
        weight, seconds, failures, _, *signals = self.ranks.sum(mine).tolist()
        first = next((number for number, ranks in enumerate(signals, start=1) if ranks), 0)
        return Agreement(weight, seconds, first, int(failures))

    def step(self, step: int, batches: Sequence[Batch], agreed: Agreement, wait: float) -> StepReport:
        """Forward and backward of this rank's micro-batches, and the update.

        The loss is the weighted mean over the target tokens of the whole step, so the update does not depend
        on how the step is split. Where the loss or the gradient is not a number nothing is updated, on no
        rank, and UserError is raised unless the config says `on_nan: skip`.
        """
        # dropout depends on the step and the rank alone: nothing to save, nothing to resume
        torch.manual_seed(hash64(self.config.seed, step, self.ranks.rank) >> 1)
        scale = self.ranks.world / agreed.weight if agreed.weight else 0.0
        lr = learning_rate(self.config.optim, step, agreed.seconds)
        parts = []
        for batch in batches:
            batch = self._with_codes(batch.to(self.ranks.device))
            outputs = self.engine.forward(batch.inputs)
            loss, metrics, self.state = self.objective(outputs, batch, self.state)
            self.engine.backward(loss * scale)
            parts.append(metrics)

        counts = [
            float(sum(b.n_tokens for b in batches)),
            float(sum(b.n_places for b in batches)),
            float(sum(b.overflow for b in batches)),
            wait / self.ranks.world,
        ]
        sums = sum(parts, empty_sums(len(self.tasks), self.ranks.device))
        mine = torch.cat([sums.double().flatten().cpu(), torch.tensor(counts, dtype=torch.float64)])
        all_ = self.ranks.sum(mine)
        tokens, places, overflow, wait = all_[-len(counts) :].tolist()
        totals = all_[: -len(counts)].view(len(SUMS), -1)
        # before the update, so that no rank makes one from a loss that is a number only there
        grad_norm = self.engine.step(lr, apply=bool(totals.isfinite().all()))
        # fp16 leaves out an update whose gradient overflows and lowers its scale: that is no divergence
        fine = math.isfinite(grad_norm) or self.config.engine.precision == "fp16"
        if fine and totals.isfinite().all():
            self.left_out = 0
        else:
            self._leave_out(step, totals, batches, parts)
            totals = torch.zeros_like(totals)
        return StepReport(totals, tokens, places, overflow, wait, lr, grad_norm)

    def _with_codes(self, batch: Batch) -> Batch:
        """Codes for picture answers and, where the model reads codes, for the input pictures."""
        if self.image_tokenizer is None:
            return batch
        batch = batch.with_codes(self.image_tokenizer)
        if not self.reads_codes or "images" not in batch.inputs:
            return batch
        inputs = dict(batch.inputs)
        images = inputs.pop("images")
        codes = self.image_tokenizer.encode(images.flatten(0, 1))
        return replace(batch, inputs={**inputs, "image_codes": codes.unflatten(0, images.shape[:2])})

    def _leave_out(
        self, step: int, totals: Tensor, batches: Sequence[Batch], parts: Sequence[Tensor]
    ) -> None:
        """Writes down what was in a step whose loss or gradient is not a number, and ends the run or lets it
        go on without that step. All ranks call it. Raises UserError on all of them.

        parts: the sums (len(SUMS), T) of each of this rank's micro-batches.
        """
        self.left_out += 1
        bad = [name for name, sums in zip(self.tasks, totals.T, strict=True) if not sums.isfinite().all()]
        present = [name for name, n in zip(self.tasks, totals[3], strict=True) if n]
        file = self.config.folder / "not_a_number" / f"{tag_of(step + 1)}.json"
        mine = [
            {
                "rank": self.ranks.rank,
                "is_a_number": bool(part.isfinite().all()),
                "rows": [{"task": t, "key": k} for t, k in zip(batch.tasks, batch.keys, strict=True)],
            }
            for batch, part in zip(batches, parts, strict=True)
        ]
        gathered = self.ranks.gather(mine)
        if gathered is not None and self.config.folder.is_dir():  # not in a dry run
            file.parent.mkdir(exist_ok=True)
            record = {"step": step + 1, "tasks": bad, "micro_batches": sum(gathered, [])}
            file.write_text(json.dumps(record, indent=1) + "\n")
        what = f"the loss of {', '.join(bad)} is not a number" if bad else "the gradient is not a number"
        where = f"step {step + 1:,}: {what}. Tasks in the step: {', '.join(present)}; its rows are in {file}."
        if self.config.on_nan == "skip" and self.left_out < MOST_LEFT_OUT:
            if self.ranks.main:
                print(f"{where} It is left out", file=sys.stderr, flush=True)
            return
        again = f" So it was in {self.left_out} steps in a row." if self.left_out > 1 else ""
        hint = "" if self.config.on_nan == "skip" else ", or leave such steps out with on_nan=skip"
        raise UserError(
            f"{where}{again} Nothing of this step was saved. Lower optim.lr or raise optim.warmup_steps, "
            f"look at these rows{hint}"
        )


KEPT = ("tokens", "places", "overflow", "wait", "steps", "norms", "lr")
"""Attributes of a Meter that a checkpoint keeps as they are."""


class Meter:
    """Means over the steps since the last report."""

    def __init__(self, tasks: Sequence[str], batch_size: int) -> None:
        self.tasks, self.batch_size = list(tasks), batch_size
        self.lr = 0.0
        self._reset()

    def _reset(self) -> None:
        self.sums = torch.zeros(len(SUMS), len(self.tasks), dtype=torch.float64)
        self.tokens = self.places = self.overflow = self.wait = 0.0
        self.steps = 0
        self.norms: list[float] = []
        self.since = time.perf_counter()

    def add(self, report: StepReport) -> None:
        self.sums += report.sums
        self.tokens += report.tokens
        self.places += report.places
        self.overflow += report.overflow
        self.wait += report.wait
        self.steps += 1
        self.norms.append(report.grad_norm)
        self.lr = report.lr

    def state(self) -> dict[str, Any]:
        """JSON data: what `restore` needs so that a run that goes on from here reports what it would have."""
        elapsed = time.perf_counter() - self.since
        return {"sums": self.sums.tolist(), "elapsed": elapsed} | {name: getattr(self, name) for name in KEPT}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.sums = torch.tensor(state["sums"], dtype=torch.float64)
        self.since = time.perf_counter() - state["elapsed"]
        for name in KEPT:
            setattr(self, name, state[name])

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves the time of what is not training (saving, evaluation) out of the rates."""
        started = time.perf_counter()
        yield
        self.since += time.perf_counter() - started

    def read(self, seconds: float) -> dict[str, float]:
        """The values since the last call; `seconds`: training time of the whole run."""
        elapsed = max(time.perf_counter() - self.since, 1e-9)
        loss, weight, correct, tokens = self.sums
        norms = [n for n in self.norms if math.isfinite(n)]
        values = {
            "loss": float(loss.sum() / weight.sum()),
            "token_accuracy": float(correct.sum() / tokens.sum()),
            "lr": self.lr,
            "seconds": seconds,
            "tokens_per_second": self.tokens / elapsed,
            "examples_per_second": self.steps * self.batch_size / elapsed,
            "data_wait": self.wait / elapsed,
            "fill": self.tokens / self.places,
        }
        if self.overflow:
            values["overflow"] = self.overflow / (self.steps * self.batch_size)
        if norms:
            values["grad_norm"] = sum(norms) / len(norms)
        if len(norms) < self.steps:
            values["skipped_updates"] = float(self.steps - len(norms))
        for i, name in enumerate(self.tasks):
            if weight[i]:
                values[f"loss/{name}"] = float(loss[i] / weight[i])
                values[f"token_accuracy/{name}"] = float(correct[i] / tokens[i])
        self._reset()
        return values
