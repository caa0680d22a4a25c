"""The order of a mixture: sample i of a run is a pure function of (seed, i).

Nothing is stored, so a run resumes from one integer and its global batches do not depend on the
number of ranks or workers. All randomness is an integer hash: the order is the same on every
machine and with every version of numpy.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

MASK64 = 2**64 - 1
FEISTEL_ROUNDS = 6


def hash64(*parts: int) -> int:
    """Hashes integers to 64 bits: one SplitMix64 step (Steele et al. 2014) for each part."""
    state = 0
    for part in parts:
        state = ((state ^ part) + 0x9E3779B97F4A7C15) & MASK64
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK64
        state ^= state >> 31
    return state


def hash64_range(prefix: int, n: int) -> npt.NDArray[np.uint64]:
    """The last step of `hash64` for parts 0..n-1 after the state `prefix`, as an array."""
    state = np.uint64(prefix) ^ np.arange(n, dtype=np.uint64)
    state += np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def permute(index: int, n: int, key: int) -> int:
    """Where a pseudo-random permutation of range(n) sends `index`: a Feistel cipher with cycle walking
    (Black and Rogaway 2002), so that no permutation is ever held in memory."""
    half = max(1, ((n - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:  # the cipher's domain is at most four times n: a few walks
        left, right = index >> half, index & mask
        for turn in range(FEISTEL_ROUNDS):
            left, right = right, left ^ (hash64(key, turn, right) & mask)
        index = left << half | right
        if index < n:
            return index


@dataclass(frozen=True)
class Sample:
    """Sample `index` of a run: row `row` of the `epoch`-th pass over task number `task`. `ordinal` counts
    the task's samples from the start of the run."""

    index: int
    task: int
    ordinal: int
    epoch: int
    row: int


class MixtureOrder:
    """Which row of which task sample i is.

    Samples come in blocks. After any number of whole blocks every task has its exact share (largest
    remainder), and inside a block the tasks are shuffled. A block is large enough that the rarest task
    has at least one place in it; otherwise its running quota could step back. Within a task, every
    epoch is another permutation of its rows.

    tasks: (name, rows, rate) of each task; rates sum to one.
    """

    def __init__(self, seed: int, tasks: Sequence[tuple[str, int, float]]) -> None:
        if not math.isclose(sum(rate for _, _, rate in tasks), 1.0, rel_tol=1e-6):
            raise ValueError(f"rates must sum to 1, not {sum(rate for _, _, rate in tasks)}")
        for name, rows, _ in tasks:
            if rows < 1:
                raise ValueError(f"task {name} has no rows")
        self.seed = seed
        self.names = [name for name, _, _ in tasks]
        self.rows = np.array([rows for _, rows, _ in tasks], dtype=np.int64)
        self.rates = np.array([rate for _, _, rate in tasks], dtype=np.float64)
        self.block = max(1024, math.ceil(1 / self.rates.min()))
        self._task_keys = [hash64(seed, zlib.crc32(name.encode())) for name in self.names]
        self._block_cached = lru_cache(maxsize=4)(self._block)

    def _quota_before(self, block: int) -> npt.NDArray[np.int64]:
        """Samples of each task before a block: largest remainder of block x rate."""
        exact = self.rates * (block * self.block)
        quota = np.floor(exact + 1e-9).astype(np.int64)
        missing = block * self.block - int(quota.sum())
        # ties go to the earlier task: a stable sort by remainder
        quota[np.argsort(-(exact - quota), kind="stable")[:missing]] += 1
        return quota

    def _block(self, block: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Task and ordinal of every sample of a block, each (block size,)."""
        before = self._quota_before(block)
        counts = self._quota_before(block + 1) - before
        task = np.repeat(np.arange(len(self.names)), counts)
        ordinal = np.concatenate([b + np.arange(c) for b, c in zip(before, counts, strict=True)])
        order = np.argsort(hash64_range(hash64(self.seed, block), self.block), kind="stable")
        return task[order], ordinal[order]

    def task_of(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Task numbers of samples start..stop-1."""
        return self._slice(start, stop)[0]

    def _slice(self, start: int, stop: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        parts = [self._block_cached(b) for b in range(start // self.block, (stop - 1) // self.block + 1)]
        offset = start // self.block * self.block
        task, ordinal = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return task[start - offset : stop - offset], ordinal[start - offset : stop - offset]

    def sample(self, index: int, attempt: int = 0) -> Sample:
        """Sample number `index` >= 0. `attempt` k gives what stands in for it after k bad rows: the row k
        places on in the same epoch's permutation."""
        task, ordinal = (int(a[0]) for a in self._slice(index, index + 1))
        rows = int(self.rows[task])
        epoch, position = divmod(ordinal, rows)
        row = permute((position + attempt) % rows, rows, hash64(self._task_keys[task], epoch))
        return Sample(index, task, ordinal + attempt, epoch, row)

    def rng(self, sample: Sample) -> np.random.Generator:
        """The generator for a sample's own draws (prompt, augmentation): a function of (seed, task, epoch,
        row), never of a worker."""
        key = hash64(self._task_keys[sample.task], sample.epoch, sample.row, 1)
        return np.random.Generator(np.random.Philox(key=key))
