"""The position bias against its definition, pair by pair."""

import numpy as np
import pytest
import small
import torch

from unified.model.attention import masked
from unified.model.packing import Packing
from unified.model.positions import (
    Positions,
    _image_square,
    _pair_buckets,
    _text_square,
    image_bucket,
    text_bucket,
)

GRID, TEXT = 3, 12


def made(bidirectional):
    torch.manual_seed(3)
    positions = Positions(small.config(), TEXT, GRID, bidirectional)
    for p in positions.parameters():
        torch.nn.init.normal_(p)
    return positions


def slow_bias(positions, text_rows, images):
    """(heads, L, L) of one row, one pair at a time."""
    tokens = [("text", p, None) for p in text_rows] + [
        ("image", c, m) for m in range(images) for c in range(GRID**2)
    ]
    rows = torch.tensor([p if kind == "text" else TEXT + p for kind, p, _ in tokens])
    x = positions.embedding.weight[rows]
    x = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * positions.norm.weight
    q, k = (linear(x).view(len(tokens), 3, 6) for linear in (positions.query, positions.key))
    bias = torch.einsum("ihd,jhd->hij", q, k) * (24 / 3) ** -0.5
    for i, (kind_i, at_i, image_i) in enumerate(tokens):
        for j, (kind_j, at_j, image_j) in enumerate(tokens):
            if kind_i == kind_j == "text":
                bias[:, i, j] += positions.text_relative[
                    :, int(text_bucket(np.array(at_j - at_i), positions.bidirectional))
                ]
            elif kind_i == kind_j and image_i == image_j:
                dx, dy = np.array(at_j % GRID - at_i % GRID), np.array(at_j // GRID - at_i // GRID)
                bias[:, i, j] += positions.image_relative[:, int(image_bucket(dx, dy))]
    return bias


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("images", [0, 1, 2])
@torch.no_grad()
def test_one_example_a_row(bidirectional, images):
    positions = made(bidirectional)
    text, image, bias = positions(5, images)
    torch.testing.assert_close(bias[0], slow_bias(positions, range(5), images), atol=1e-5, rtol=1e-5)
    assert bias.shape[0] == 1, "one bias for the whole batch"
    assert torch.equal(text[0], positions.embedding.weight[:5])
    assert torch.equal(
        image[0], positions.embedding.weight[TEXT:] if images else positions.embedding.weight[:0]
    )


def packed(texts, owners=None, cells=GRID**2):
    """All tokens of these texts (their lengths) and of the pictures of `owners` in one row, then padding."""
    longest, layout = max(texts), []
    for i, n in enumerate(texts):
        layout += [i * longest + k for k in range(n)]
        for m in range(len(owners or ())):
            if owners[m] == i:
                layout += [len(texts) * longest + m * cells + c for c in range(cells)]
    owners = None if owners is None else torch.tensor(owners)
    return Packing.of(torch.tensor([[*layout, -1]]), (len(texts), longest), cells, owners, "rows")


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("owners", [None, [1], [0, 1, 1]])
@torch.no_grad()
def test_packed_rows(bidirectional, owners):
    positions, texts = made(bidirectional), [3, 5]
    bias = positions(5, 1 if owners else 0, packing=packed(texts, owners))[2][0]
    start = 0
    for i, n in enumerate(texts):
        images = (owners or []).count(i)
        expected = slow_bias(positions, range(n), images)
        if not bidirectional:
            expected = expected.masked_fill(torch.ones_like(expected).triu(1).bool(), masked(torch.float32))
        here = slice(start, start + n + images * GRID**2)
        hidden = torch.cat([bias[:, here, :start], bias[:, here, here.stop :]], -1)
        assert (hidden < masked(torch.float32) / 2).all(), "nothing of another example is seen"
        seen = expected > masked(torch.float32) / 2
        torch.testing.assert_close(bias[:, here, here][seen], expected[seen], atol=1e-5, rtol=1e-5)
        assert (bias[:, here, here][~seen] < masked(torch.float32) / 2).all()
        start = here.stop


def test_more_text_than_positions_is_refused():
    with pytest.raises(ValueError, match="13 text tokens, but this model has 12"):
        made(True)(13, 0)


def test_tables_first_made_in_inference_mode_serve_training():
    for table in (_text_square, _image_square, _pair_buckets):
        table.cache_clear()
    positions = made(True)
    rows = packed([2, 2], [0])
    with torch.inference_mode():
        positions(4, 1)
        positions(4, 1, packing=rows)
    (positions(4, 1)[2].sum() + positions(4, 1, packing=rows)[2].sum()).backward()
    assert positions.image_relative.grad.abs().sum() > 0
