"""Toybox scenes a second on one core, at 64 and 128 pixels: the bare renderer and the rows of every kind.

OMP_NUM_THREADS=1 python benchmarks/toybox.py [rows a kind]
"""

from __future__ import annotations

import sys
import time

from unified.sources.toybox.context import Context
from unified.sources.toybox.draws import Draws
from unified.sources.toybox.rows import ROW_MAKERS


def rate(kind: str | None, size: int, rows: int) -> float:
    """Rows (or bare scenes) a second of processor time."""
    make = ROW_MAKERS[kind] if kind else lambda c: c.any_view(1, 5)
    start = time.process_time()
    for i in range(rows):
        make(Context(Draws(f"benchmark/{kind}", i), False, size))
    return rows / (time.process_time() - start)


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    for kind in (None, *ROW_MAKERS):
        figures = "".join(f"{rate(kind, size, rows):10.0f}" for size in (64, 128))
        print(f"{kind or 'scenes of 1 to 5 things':26s}{figures}")


if __name__ == "__main__":
    print(f"{'rows a second, a core':26s}{'64 px':>10s}{'128 px':>10s}")
    main()
