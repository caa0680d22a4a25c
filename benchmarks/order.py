"""What the order of the data costs: time a sample and memory, for mixtures of a thousand to a billion rows.

    python benchmarks/order.py

Samples are asked for at random places of a long run, so nothing is reused from one to the next.
"""

from __future__ import annotations

import random
import time
import tracemalloc

from unified.data.order import MixtureOrder

SIZES = (10**3, 10**6, 10**9)
ASKED = 2000
TASKS = 10


def main() -> None:
    print(f"{'rows':>15} {'us a sample':>12} {'peak KiB':>9}")
    base = None
    for size in SIZES:
        rates = [(i + 1) / sum(range(1, TASKS + 1)) for i in range(TASKS)]
        tracemalloc.start()
        order = MixtureOrder(0, [(f"task{i}", size // TASKS, rate) for i, rate in enumerate(rates)])
        draw = random.Random(0)
        for _ in range(50):
            order.sample(draw.randrange(3 * size))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        started = time.perf_counter()
        for _ in range(ASKED // 100):
            first = draw.randrange(3 * size)
            for i in range(first, first + 100):  # a loader walks on from wherever it starts
                order.sample(i)
        each = (time.perf_counter() - started) / ASKED
        base = base or each
        print(f"{size:>15,} {1e6 * each:>12.1f} {peak / 2**10:>9,.0f}   {each / base:.2f}x of the first")


if __name__ == "__main__":
    main()
