"""How long a mixture's examples are, and the budgets of packed rows that follow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unified.data.collate import LENGTH_MULTIPLE
from unified.data.dataset import MixtureDataset
from unified.data.packing import lengths, pack

QUANTILES = (50, 90, 99, 100)
MULTIPLES = (1, 1.5, 2, 3, 4)
"""Row lengths that are tried, as multiples of the longest example's."""
WANTED = 0.95


@dataclass(frozen=True)
class Measured:
    """sizes: (n, 2) positions of the first n examples of a run in encoder and decoder; tasks: of each."""

    sizes: npt.NDArray[np.int64]
    tasks: list[str]


@dataclass(frozen=True)
class Budget:
    """encoder, decoder: most positions of a row; fill: share of positions that are not padding; rows: of a
    micro-batch, on average."""

    encoder: int
    decoder: int
    fill: float
    rows: float


def measure(dataset: MixtureDataset, examples: int) -> Measured:
    encoded = [dataset[i][0] for i in range(examples)]
    return Measured(np.array([lengths(e) for e in encoded]), [e.task for e in encoded])


def padded_fill(sizes: npt.NDArray[np.int64], micro_batch: int) -> float:
    """Share of positions that are not padding where every example has a row of its own."""
    places = sum(len(part) * _rounded(part.max(0)).sum() for part in _parts(sizes, micro_batch))
    return float(sizes.sum() / places)


def budgets(sizes: npt.NDArray[np.int64], micro_batch: int) -> list[Budget]:
    """What packing would fill with rows of several lengths, shortest first.

    The decoder's budget is a quarter above its share of the encoder's: rows are padded to the longest one,
    so room that is not needed costs nothing.
    """
    longest, (encoder, decoder) = sizes.max(0), sizes.sum(0)
    found = []
    for multiple in MULTIPLES:
        most = _rounded(longest[0] * multiple)
        other = max(_rounded(longest[1]), _rounded(1.25 * most * decoder / encoder))
        places = rows = 0
        parts = _parts(sizes, micro_batch)
        for part in parts:
            packed = pack([tuple(size) for size in part.tolist()], int(most), int(other)).rows
            row_sizes = np.array([part[row].sum(0) for row in packed])
            rows += len(packed)
            places += len(packed) * int(_rounded(row_sizes.max(0)).sum())
        found.append(Budget(int(most), int(other), float(sizes.sum() / places), rows / len(parts)))
    return found


def suggested(found: Sequence[Budget]) -> Budget:
    """The shortest rows that are full, or the fullest: attention's work grows with the length of rows."""
    full = [budget for budget in found if budget.fill >= WANTED]
    return full[0] if full else max(found, key=lambda budget: budget.fill)


def lengths_table(measured: Measured, micro_batch: int) -> str:
    """Lengths by task, what padding costs, and what packing would leave of it."""
    by_task: dict[str, list[int]] = defaultdict(list)
    for i, task in enumerate(measured.tasks):
        by_task[task].append(i)
    width = max(4, *(len(task) for task in by_task))
    heads = [f"{side} {name}" for side in ("enc", "dec") for name in ("p50", "p90", "p99", "max")]
    lines = [" ".join([f"{'task':{width}}", *(f"{head:>7}" for head in heads)])]
    for task, rows in [*sorted(by_task.items()), ("all", list(range(len(measured.tasks))))]:
        values = np.percentile(measured.sizes[rows], QUANTILES, axis=0, method="higher").T.flatten()
        lines.append(" ".join([f"{task:{width}}", *(f"{int(value):>7,}" for value in values)]))
    fill = padded_fill(measured.sizes, micro_batch)
    lines += [
        "",
        f"micro-batches of {micro_batch} examples, a row each: {fill:.1%} of positions are not padding",
    ]
    found = budgets(measured.sizes, micro_batch)
    for budget in found:
        lines.append(
            f"  packed, rows of {budget.encoder:,} + {budget.decoder:,}: {budget.fill:.1%}, "
            f"{budget.rows:.1f} rows"
        )
    best = suggested(found)
    lines += ["", f"data: {{packing: {{encoder: {best.encoder}, decoder: {best.decoder}}}}}"]
    return "\n".join(lines)


def _parts(sizes: npt.NDArray[np.int64], micro_batch: int) -> list[npt.NDArray[np.int64]]:
    """Whole micro-batches of consecutive examples; the rest is left out unless it is all there is."""
    whole = len(sizes) // micro_batch * micro_batch
    return np.split(sizes[:whole], whole // micro_batch) if whole else [sizes]


def _rounded(length: npt.ArrayLike) -> npt.NDArray[np.int64]:
    return (-(-np.asarray(length) // LENGTH_MULTIPLE) * LENGTH_MULTIPLE).astype(np.int64)
