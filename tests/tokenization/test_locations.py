import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unified.tokenization.locations import LocationTokenizer
from unified.tokenization.vocabulary import IdRange, Vocabulary


def locations(rounding="nearest", order="yx", bins=1000, reversed_=False) -> LocationTokenizer:
    vocabulary = Vocabulary(
        pieces=50, location=IdRange(50, bins, reversed_), sentinel=None, text_size=60 + bins, image_size=8
    )
    return LocationTokenizer(vocabulary, order=order, rounding=rounding)


sides = st.sampled_from([1, 64, 128, 384, 640])


@given(st.floats(0, 1), sides, st.integers(2, 2000))
def test_nearest_is_within_half_a_bin(v, side, bins):
    tokenizer = locations(bins=bins)
    x = np.array([v * side])
    back = tokenizer.dequantise(tokenizer.quantise(x, side), side)
    assert abs(back - x)[0] <= side / (bins - 1) / 2 * (1 + 1e-9)
    assert tokenizer.tolerance(side) == pytest.approx(side / (bins - 1) / 2)


@given(st.floats(0, 1), sides)
def test_the_official_rule_is_within_a_bin(v, side):
    tokenizer = locations("unified_io")
    x = np.array([v * side])
    back = tokenizer.dequantise(tokenizer.quantise(x, side), side)
    assert abs(back - x)[0] <= side / 1000 * (1 + 1e-9)


@pytest.mark.parametrize("side", [1, 64, 333])
def test_edges_come_back_exactly(side):
    tokenizer = locations()
    edges = np.array([0.0, side])
    assert tokenizer.quantise(edges, side).tolist() == [0, 999]
    assert tokenizer.dequantise(tokenizer.quantise(edges, side), side).tolist() == edges.tolist()


@given(st.integers(0, 999), st.sampled_from(["nearest", "unified_io"]), sides)
def test_bins_are_legal_and_nearest_bins_are_stable(bin_, rounding, side):
    tokenizer = locations(rounding)
    again = tokenizer.quantise(tokenizer.dequantise(np.array([bin_]), side), side)
    assert 0 <= again[0] <= 999
    if rounding == "nearest":
        assert again[0] == bin_


def test_what_is_outside_is_clipped():
    for rounding in ("nearest", "unified_io"):
        assert locations(rounding).quantise(np.array([-5.0, 70.0]), 64).tolist() == [0, 999]


@pytest.mark.parametrize("reversed_", [False, True])
@pytest.mark.parametrize("order", ["yx", "xy"])
def test_order_and_ids_round_trip(order, reversed_):
    tokenizer = locations(order=order, reversed_=reversed_)
    boxes = np.array([[0.0, 64.0, 32.0, 16.0], [1.0, 2.0, 3.0, 4.0]])
    ids = tokenizer.encode(boxes, 64)
    first, last = (1049, 50) if reversed_ else (50, 1049)
    assert ids[0, :2].tolist() == ([last, first] if order == "yx" else [first, last])
    np.testing.assert_allclose(tokenizer.decode(ids, 64), boxes, atol=tokenizer.tolerance(64))


def test_official_rounding_is_not_nearest():
    x = np.array([0.9994 * 64])
    assert locations("unified_io").quantise(x, 64) == 998 and locations().quantise(x, 64) == 998
    x = np.array([0.9996 * 64])
    assert locations("unified_io").quantise(x, 64) == 998 and locations().quantise(x, 64) == 999
