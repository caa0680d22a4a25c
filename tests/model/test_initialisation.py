"""Embeddings that start with the geometry of their ids."""

import pytest
import torch
from small import model

from unified.model.initialisation import project_rows, relate_embeddings, smooth_rows

LOCATIONS = range(5, 35)


@pytest.fixture
def generator():
    torch.manual_seed(3)


def alike(rows, apart):
    """Mean cosine of rows `apart` places apart."""
    return torch.cosine_similarity(rows[:-apart], rows[apart:]).mean()


def test_neighbours_are_alike_and_far_rows_are_not(generator):
    rows = smooth_rows(1000, 128, coarse=1 / 12, fine=1 / 60)
    assert rows.std() == pytest.approx(1, abs=0.05)
    assert alike(rows, 1) > 0.99
    assert 0.4 < alike(rows, 50) < 0.8
    assert abs(alike(rows, 500)) < 0.05
    assert alike(rows, 5) > alike(rows, 20) > alike(rows, 100) > alike(rows, 300)


def test_rows_keep_the_neighbourhood_of_the_vectors_they_stand_for(generator):
    vectors = torch.randn(200, 16)
    vectors[1] = vectors[0] + 0.05 * torch.randn(16)
    vectors[3] = vectors[2]
    rows = project_rows(vectors * 7 + 3, 128)
    assert rows.std() == pytest.approx(1, abs=0.05)
    close = torch.cosine_similarity(rows[0], rows[1], dim=0)
    assert close > 0.6
    assert abs(torch.cosine_similarity(rows[0], rows[9], dim=0)) < 0.4
    assert not torch.equal(rows[2], rows[3])  # equal vectors, yet two codes


@pytest.mark.parametrize("codes", [True, False])
def test_only_rows_with_a_geometry_are_rewritten(codes, generator):
    made = model()
    before = {name: p.clone() for name, p in made.named_parameters()}
    relate_embeddings(made, LOCATIONS, torch.randn(11, 4) if codes else None)
    changed = {name for name, p in made.named_parameters() if not torch.equal(p, before[name])}
    positions = [f"{side}.positions.embedding.weight" for side in ("encoder", "decoder")]
    assert changed == {"token_embedder.weight", *positions}

    text = made.config.vocab_size
    rows = (made.token_embedder.weight != before["token_embedder.weight"]).any(1).nonzero().flatten().tolist()
    assert rows == [*LOCATIONS, *(range(text, text + 11) if codes else ())]
    for name, grid in zip(positions, (2, 3), strict=True):
        rows = (made.get_parameter(name) != before[name]).any(1).nonzero().flatten().tolist()
        first = made.get_parameter(name).shape[0] - grid**2
        assert rows == list(range(first, first + grid**2))


def test_cells_of_a_row_share_a_part(generator):
    made = model(target_grid=8, decoder_max_text_length=16)
    relate_embeddings(made, LOCATIONS, None)
    cells = made.decoder.positions.embedding.weight[16:].unflatten(0, (8, 8)).detach()
    # row + column vectors: the difference of two columns is the same in every row
    difference = cells[:, 1] - cells[:, 5]
    torch.testing.assert_close(difference, difference[:1].expand(8, -1))
