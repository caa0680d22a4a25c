"""The position bias against its definition, pair by pair."""

import numpy as np
import pytest
import small
import torch

from unified.model.positions import (
    Positions,
    _image_square,
    _text_offsets,
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


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("images", [0, 2])
@torch.no_grad()
def test_packed_rows(bidirectional, images):
    positions = made(bidirectional)
    at = torch.tensor([[0, 1, 2, 0, 1], [0, 0, 1, 2, 3]])
    text, _, bias = positions(5, images, at)
    assert torch.equal(text, positions.embedding.weight[at])
    for row in range(2):
        expected = slow_bias(positions, at[row].tolist(), images)
        torch.testing.assert_close(bias[row], expected, atol=1e-5, rtol=1e-5)


def test_more_text_than_positions_is_refused():
    with pytest.raises(ValueError, match="13 text tokens, but this model has 12"):
        made(True)(13, 0)


def test_tables_first_made_in_inference_mode_serve_training():
    for table in (_text_square, _text_offsets, _image_square):
        table.cache_clear()
    positions = made(True)
    at = torch.tensor([[0, 1, 0, 1]])
    with torch.inference_mode():
        positions(4, 1)
        positions(4, 1, at)
    (positions(4, 1)[2].sum() + positions(4, 1, at)[2].sum()).backward()
    assert positions.image_relative.grad.abs().sum() > 0
