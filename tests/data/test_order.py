"""The order of a mixture is exact, shuffled, and a pure function of (seed, i)."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unified.data.order import MixtureOrder, hash64, hash64_range, permute

TASKS = [("a", 100, 0.5), ("b", 10**9, 0.3), ("c", 7, 0.2 - 1e-4), ("d", 50, 1e-4)]


@pytest.mark.parametrize("n", [1, 2, 3, 7, 10, 64, 65, 1000])
@pytest.mark.parametrize("key", [0, 1, 2**63])
def test_permutation_is_a_bijection(n, key):
    assert sorted(permute(i, n, key) for i in range(n)) == list(range(n))


def test_permutations_differ_by_key_and_look_shuffled():
    a, b = ([permute(i, 1000, key) for i in range(1000)] for key in (1, 2))
    assert np.mean(np.array(a) == np.array(b)) < 0.02
    assert abs(np.corrcoef(a, np.arange(1000))[0, 1]) < 0.1


def test_huge_tasks_cost_no_memory():
    assert len({permute(i, 10**12, 3) for i in range(1000)}) == 1000


@given(st.integers(0, 2**64 - 1), st.integers(1, 50))
def test_hash_of_a_range_is_the_hash_of_each(prefix, n):
    assert hash64_range(hash64(prefix), n).tolist() == [hash64(prefix, i) for i in range(n)]


def test_hash_values_never_change():
    # a change here would silently change the order of every resumed run
    assert hash64(0) == 16294208416658607535
    assert hash64(1, 2, 3) == hash64(1, 2, 3) != hash64(3, 2, 1)


def test_shares_are_exact_after_every_block():
    order = MixtureOrder(0, TASKS)
    assert order.block == 10_000  # the rarest task gets one place a block
    for blocks in (1, 3, 10):
        counts = np.bincount(order.task_of(0, blocks * order.block), minlength=4)
        exact = order.rates * blocks * order.block
        assert np.all(np.abs(counts - exact) < 1), counts


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 500), min_size=1, max_size=8), st.integers(0, 5))
def test_ordinals_count_up_without_gaps(weights, seed):
    rates = np.array(weights) / sum(weights)
    order = MixtureOrder(seed, [(f"t{i}", 13, r) for i, r in enumerate(rates)])
    task, ordinal = order._slice(0, 3 * order.block)
    for t in range(len(weights)):
        assert sorted(ordinal[task == t]) == list(range((task == t).sum()))


def test_every_epoch_visits_every_row_once_in_another_order():
    order = MixtureOrder(0, TASKS)
    samples = [s for s in map(order.sample, range(order.block)) if s.task == 2]
    rows = {e: [s.row for s in sorted(samples, key=lambda s: s.ordinal) if s.epoch == e] for e in range(40)}
    assert all(sorted(r) == list(range(7)) for r in rows.values())
    assert len({tuple(r) for r in rows.values()}) > 30


def test_slices_agree_with_single_samples_across_blocks():
    order = MixtureOrder(5, TASKS)
    start = order.block - 5
    assert order.task_of(start, start + 10).tolist() == [order.sample(start + i).task for i in range(10)]


def test_order_does_not_depend_on_the_other_tasks_rows():
    """Adding a task moves samples, but not the permutation of another task's rows."""
    alone = MixtureOrder(0, [("a", 100, 1.0)])
    both = MixtureOrder(0, [("z", 10, 0.5), ("a", 100, 0.5)])
    rows = {s.ordinal: s.row for s in map(both.sample, range(400)) if s.task == 1}
    mine = {s.ordinal: s.row for s in map(alone.sample, range(100))}
    assert all(mine[o] == r for o, r in rows.items() if o in mine) and len(rows) > 100


def test_seed_changes_everything():
    a, b = MixtureOrder(0, TASKS), MixtureOrder(1, TASKS)
    assert [a.sample(i).row for i in range(50)] != [b.sample(i).row for i in range(50)]


def test_rng_depends_on_row_and_epoch_only():
    order = MixtureOrder(0, TASKS)
    s = order.sample(3)
    assert order.rng(s).integers(1 << 60) == order.rng(order.sample(3)).integers(1 << 60)
    draws = Counter(int(order.rng(order.sample(i)).integers(1 << 60)) for i in range(200))
    assert len(draws) > 150


def test_attempts_walk_the_same_epoch():
    order = MixtureOrder(0, [("a", 10, 1.0)])
    rows = {order.sample(4, attempt=k).row for k in range(10)}
    assert rows == set(range(10))


def test_bad_arguments():
    with pytest.raises(ValueError, match="sum to 1"):
        MixtureOrder(0, [("a", 10, 0.7)])
    with pytest.raises(ValueError, match="no rows"):
        MixtureOrder(0, [("a", 0, 1.0)])
