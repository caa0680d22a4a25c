"""Which examples of a micro-batch share a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unified.tokenization.processor import Encoded

Ints = npt.NDArray[np.int64]
Lengths = tuple[int, int]
"""Positions that an example needs in the encoder and in the decoder."""


@dataclass(frozen=True)
class Rows:
    """rows: the examples of each; overflow: how many examples were longer than a budget."""

    rows: list[list[int]]
    overflow: int


def lengths(example: Encoded) -> Lengths:
    """Positions of an example, padding of its pictures not counted."""
    codes = 0 if example.target_code_mask is None else int(example.target_code_mask.sum())
    return len(example.input_ids) + int(example.patch_mask.sum()), len(example.target_ids) + codes


def pack(examples: Sequence[Lengths], encoder: int, decoder: int) -> Rows:
    """Divides examples into few rows of nearly equal length, at most `encoder` and `decoder` positions each.

    All are kept and nothing is cut: an example that is longer than a budget makes it that long for this
    micro-batch. All rows are padded to the longest of them, so what counts is rows x (longest encoder +
    longest decoder row): for each number of rows examples are spread evenly (longest first, each into the row
    that stays shortest: Graham 1969), and the best division is then improved by exchanges. The result depends
    on the lengths alone.
    """
    sizes = np.array(examples, dtype=np.int64)
    overflow = int((sizes > (encoder, decoder)).any(1).sum())
    budgets = np.maximum((encoder, decoder), sizes.max(0))
    least = max(1, *(-(-sizes.sum(0) // budgets)).tolist())
    divisions: list[tuple[int, int, Ints]] = []
    for n in range(least, len(sizes) + 1):
        if n > 2 * least and divisions:
            break
        if (row_of := _spread(sizes, n, budgets)) is not None:
            divisions.append((n * int(_filled(sizes, row_of, n).max(0).sum()), n, row_of))
    _, n, row_of = min(divisions, key=lambda division: division[0])
    _exchange(sizes, row_of, n, budgets)
    return Rows([np.flatnonzero(row_of == row).tolist() for row in range(n)], overflow)


def _filled(sizes: Ints, row_of: Ints, n: int) -> Ints:
    """(n, 2) positions of each row."""
    return np.stack([np.bincount(row_of, side, n) for side in sizes.T], 1).astype(np.int64)


def _spread(sizes: Ints, n: int, budgets: Ints) -> Ints | None:
    """The row of each example, none of the n rows empty, or None where the budgets do not hold."""
    share = np.maximum(sizes.sum(0) / n, 1)
    row_of, filled = np.zeros(len(sizes), dtype=np.int64), np.zeros((n, 2), dtype=np.int64)
    for i in np.argsort(-(sizes / share).max(1), kind="stable"):
        after = filled + sizes[i]
        load = np.where((after <= budgets).all(1), (after / share).max(1), np.inf)
        row_of[i] = row = load.argmin()
        if np.isinf(load[row]):
            return None
        filled[row] = after[row]
    return row_of


def _exchange(sizes: Ints, row_of: Ints, n: int, budgets: Ints) -> None:
    """Moves an example out of a longest row, or exchanges it for one elsewhere, while that helps."""
    filled = _filled(sizes, row_of, n)
    none = np.zeros((1, 2), dtype=np.int64)
    for _ in range(len(sizes)):
        best, change = int(filled.max(0).sum()), None
        for row in set(filled.argmax(0).tolist()):
            for i in np.flatnonzero(row_of == row):
                for other in range(n):
                    if other == row:
                        continue
                    theirs = np.flatnonzero(row_of == other)
                    moved = sizes[i] - np.concatenate([none, sizes[theirs]])  # alone, or for one of theirs
                    rest = np.delete(filled, [row, other], 0).max(0, initial=0)
                    after = np.maximum(np.maximum(filled[row] - moved, filled[other] + moved), rest)
                    longest = np.where((after <= budgets).all(1), after.sum(1), best)
                    if (row_of == row).sum() == 1:
                        longest[0] = best  # no row may end up empty
                    k = int(longest.argmin())
                    if longest[k] < best:
                        best, change = int(longest[k]), (i, row, other, theirs[k - 1] if k else None)
        if change is None:
            return
        i, row, other, back = change
        row_of[i] = other
        if back is not None:
            row_of[back] = row
        filled = _filled(sizes, row_of, n)
