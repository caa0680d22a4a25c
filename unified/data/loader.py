"""The micro-batches of each optimiser step, made by worker processes.

Step s consumes samples [s * batch_size, (s + 1) * batch_size) whatever the number of ranks, micro-batches
or workers. Inside a step, samples are sorted by what is known of their shape from the task alone (dense
target? how many images?).

- Padded, they are cut into as many global micro-batches as there are accumulation steps, and each of those
  is striped over the ranks: little padding, equal work.
- Packed, they are striped over all micro-batches of all ranks: each holds the same mixture, so that its rows
  fill up. What a micro-batch holds then depends on its size alone, not on the number of ranks.

No rank needs another's data.
"""

from __future__ import annotations

import ctypes
import signal
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass

from torch.utils.data import DataLoader, Dataset

from unified.data.collate import Batch, collate, collate_packed
from unified.data.dataset import MixtureDataset, SkippedRow
from unified.data.packing import lengths, pack
from unified.errors import UserError
from unified.tokenization.processor import Encoded
from unified.values.types import DENSE_TYPES

_PR_SET_PDEATHSIG = 1
"""Of prctl(2): the signal that a process gets when its parent ends."""


@dataclass(frozen=True)
class _Item:
    """What a worker sends: a micro-batch, or the message of the error that stopped it."""

    batch: Batch | None
    skipped: list[SkippedRow]
    error: str | None = None


class _MicroBatches(Dataset[_Item]):
    """Item n is micro-batch n % accumulation of step n // accumulation, for one rank."""

    def __init__(
        self,
        data: MixtureDataset,
        batch_size: int,
        micro_batch: int,
        rank: int,
        world: int,
        length_power: float,
        packing: tuple[int, int] | None,
    ) -> None:
        self.data, self.batch_size, self.micro_batch = data, batch_size, micro_batch
        self.rank, self.world, self.length_power, self.packing = rank, world, length_power, packing
        self.accumulation = batch_size // (micro_batch * world)
        self.shapes = [
            (t.task.spec.modality in DENSE_TYPES, len(t.task.spec.input.images), i)
            for i, t in enumerate(data.tasks)
        ]

    def samples(self, step: int, micro: int) -> list[int]:
        """Indices of the samples in this rank's micro-batch."""
        start = step * self.batch_size
        tasks = self.data.order.task_of(start, start + self.batch_size)
        order = sorted(range(self.batch_size), key=lambda i: (self.shapes[tasks[i]], i))
        if self.packing is not None:
            groups = self.accumulation * self.world
            return [start + i for i in order[micro * self.world + self.rank :: groups]]
        width = self.micro_batch * self.world
        return [start + i for i in order[micro * width : (micro + 1) * width][self.rank :: self.world]]

    def __getitem__(self, n: int) -> _Item:
        try:
            pairs = [self.data[i] for i in self.samples(*divmod(n, self.accumulation))]
        except UserError as error:
            return _Item(None, [], str(error))
        batch = self._collate([encoded for encoded, _ in pairs])
        return _Item(batch, [row for _, skipped in pairs for row in skipped])

    def _collate(self, examples: list[Encoded]) -> Batch:
        if self.packing is None:
            return collate(examples, self.length_power)
        packed = pack([lengths(e) for e in examples], *self.packing)
        return collate_packed(examples, packed.rows, self.length_power, packed.overflow)


class StepLoader:
    """Iterates over (step, this rank's micro-batches, rows skipped on the way).

    batch_size: examples of one optimiser step over all ranks; micro_batch: examples of one forward pass on
    one rank. batch_size must be a multiple of micro_batch x world (UserError). workers: processes that read
    and tokenise ahead (0: none). packing: most positions of a packed row in encoder and decoder; None: every
    example has a row of its own. `wait`: seconds that the last step spent waiting for data.
    """

    def __init__(
        self,
        data: MixtureDataset,
        *,
        batch_size: int,
        micro_batch: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        start_step: int = 0,
        steps: int,
        length_power: float = 0.0,
        packing: tuple[int, int] | None = None,
    ) -> None:
        if batch_size % (micro_batch * world):
            raise UserError(
                f"data.batch_size: {batch_size} examples a step do not divide into micro-batches of "
                f"{micro_batch} on {world} rank(s); make it a multiple of {micro_batch * world}"
            )
        self.items = _MicroBatches(data, batch_size, micro_batch, rank, world, length_power, packing)
        self.accumulation = self.items.accumulation
        self.start_step, self.steps, self.workers = start_step, steps, workers
        self.wait = 0.0

    def __iter__(self) -> Generator[tuple[int, list[Batch], list[SkippedRow]]]:
        first, last = self.start_step * self.accumulation, self.steps * self.accumulation
        loader: DataLoader[_Item] = DataLoader(
            self.items,
            batch_size=None,
            sampler=range(first, last),
            num_workers=self.workers,
            prefetch_factor=max(2, self.accumulation) if self.workers else None,
            worker_init_fn=_follow_the_trainer,
        )
        items = iter(loader)
        try:
            for step in range(self.start_step, self.steps):
                started = time.perf_counter()
                micro = [next(items) for _ in range(self.accumulation)]
                self.wait = time.perf_counter() - started
                for item in micro:
                    if item.error is not None:
                        raise UserError(item.error)
                yield (
                    step,
                    [item.batch for item in micro if item.batch is not None],
                    [row for item in micro for row in item.skipped],
                )
        finally:
            del items  # ends the workers, which no signal does: a process that exits would wait for them


def _follow_the_trainer(worker: int) -> None:
    """Launchers and terminals signal the whole process tree. A worker that died of it would take the trainer
    down (torch raises wherever it stands) before it has saved. A worker whose trainer is killed ends at once:
    it holds copies of the trainer's connections, by which other ranks know that it is alive."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
