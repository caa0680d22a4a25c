"""Random draws that depend on nothing but their key."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
BLOCK = 128


class Draws:
    """Draws from a counter-based generator (Philox) keyed by a stream name and a row number.

    The same key gives the same draws in every process and on every machine. Floats are fetched in
    blocks because a scalar draw through numpy costs more than the rest of a small scene's set-up.
    """

    def __init__(self, stream: str, row: int) -> None:
        digest = hashlib.blake2b(stream.encode(), digest_size=8).digest()
        key = np.array([int.from_bytes(digest, "little"), row], dtype=np.uint64)
        self._generator = np.random.Generator(np.random.Philox(key=key))
        self._block: list[float] = []

    def random(self) -> float:
        """A float in [0, 1)."""
        if not self._block:
            self._block = self._generator.random(BLOCK).tolist()
        return self._block.pop()

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.random()

    def below(self, n: int) -> int:
        """An integer in [0, n)."""
        return int(self.random() * n)

    def between(self, low: int, high: int) -> int:
        """An integer in [low, high], both included."""
        return low + int(self.random() * (high - low + 1))

    def flip(self, chance: float = 0.5) -> bool:
        return self.random() < chance

    def pick(self, items: Sequence[T]) -> T:
        return items[int(self.random() * len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        out = list(items)
        for i in range(len(out) - 1, 0, -1):
            j = int(self.random() * (i + 1))
            out[i], out[j] = out[j], out[i]
        return out

    def sample(self, items: Sequence[T], n: int) -> list[T]:
        """`n` different elements, in random order."""
        return self.shuffled(items)[:n]
