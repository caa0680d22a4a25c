"""Measured lengths and the budgets that follow."""

import numpy as np
import pytest

from unified.cli import main
from unified.data.lengths import Budget, Measured, budgets, lengths_table, padded_fill, suggested

SIZES = np.array([[10, 2], [16, 8], [30, 4], [8, 8]])


def test_padded_fill_by_hand():
    # micro-batches of two: rows of 16 + 8 and of 32 + 8 positions, two of each
    assert padded_fill(SIZES, 2) == pytest.approx((10 + 2 + 16 + 8 + 30 + 4 + 8 + 8) / (2 * 24 + 2 * 40))


def test_budgets_by_hand():
    first, *others = budgets(SIZES, 4)
    assert (first.encoder, first.decoder) == (32, 16)
    # the third fills a row; the others need two, of which one has 10 decoder positions: 3 x (32 + 16)
    assert first.rows == 3 and first.fill == pytest.approx(86 / 144)
    assert [b.encoder for b in (first, *others)] == [32, 48, 64, 96, 120]
    assert others[-1].rows == 1 and others[-1].fill == pytest.approx(86 / (64 + 24))


def test_the_shortest_full_rows_are_suggested():
    made = [Budget(64, 8, 0.5, 4), Budget(128, 16, 0.96, 2), Budget(256, 32, 0.99, 1)]
    assert suggested(made) == made[1]
    assert suggested([made[0], Budget(128, 16, 0.9, 2)]).fill == 0.9


def test_table_of_a_measurement():
    table = lengths_table(Measured(SIZES, ["a", "a", "b", "b"]), 2)
    assert table.splitlines()[1].split() == ["a", "16", "16", "16", "16", "8", "8", "8", "8"]
    assert table.splitlines()[-1].startswith("data: {packing: {encoder: ")


def test_command(capsys):
    assert main(["mixture", "lengths", "demo", "tasks=[toybox_refer]", "mixture=null", "-n", "16"]) == 0
    out = capsys.readouterr().out
    assert "toybox_refer" in out and "data: {packing: {encoder: " in out
    assert main(["mixture", "lengths", "dmo"]) == 2
    assert "did you mean 'demo'" in capsys.readouterr().err
