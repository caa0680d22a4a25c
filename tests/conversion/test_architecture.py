"""The manifests that official checkpoints were measured to have."""

import contextlib
import random
import re
from pathlib import Path

import official
import pytest

from unified.conversion.architecture import Architecture, from_shapes, of_size
from unified.errors import UserError

FILE = Path("some.bin")


@pytest.mark.parametrize("size", official.SIZES)
def test_official_manifests(size):
    assert of_size(size).manifest == official.shapes(size)


@pytest.mark.parametrize("size", [*official.SIZES, "tiny_a"])
def test_sizes_are_read_off_the_shapes(size):
    shapes = official.shapes(size)
    found = from_shapes(shapes, FILE)
    found.check(shapes, FILE)
    assert found.manifest == shapes
    assert found.size == (None if size == "tiny_a" else size)
    if size != "tiny_a":
        assert found.same(of_size(size))


def test_a_checkpoint_of_other_dimensions():
    """Nothing is taken from the official sizes: patches, grids, layers, and levels of the VQGAN."""
    from unified.model import UnifiedConfig
    from unified.tokenization.vqgan import NetworkConfig, VQConfig

    network = NetworkConfig(
        z_channels=40, resolution=64, ch=32, ch_mult=(2, 1, 3), num_res_blocks=1, attn_resolutions=(64, 16)
    )
    model = UnifiedConfig(
        vocab_size=77, image_vocab_size=50, d_model=24, num_heads=5, head_dim=6, encoder_layers=3,
        decoder_layers=1, d_ff=33, image_size=40, patch_size=8, target_grid=16, num_segments=3,
    )  # fmt: skip
    other = Architecture(model, VQConfig(embed_dim=12, n_embed=50, ddconfig=network))
    assert from_shapes(other.manifest, FILE).same(other)


def changed(change):
    shapes = official.shapes("tiny_a")
    change(shapes)
    return shapes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.clear(), "it has no token_embedder/embedding"),
        (lambda s: s.pop("decoder/cross_position_q_linear/kernel"), "1 of 426 keys are missing, the first is "
         "decoder/cross_position_q_linear/kernel (48, 24)"),
        (lambda s: s.update(extra=(3,)), "1 keys are unknown, the first is extra (3,)"),
        (lambda s: s.update({"decoder/pre_ln/scale": (49,)}), "1 keys have other shapes, the first is "
         "decoder/pre_ln/scale with (49,) instead of (48,)"),
        (lambda s: s.update({"encoder/layers_999999999/x": (1,)}), "9 of 435 keys are missing"),
        (lambda s: s.update({"token_embedder/embedding": (48,)}), "embedding (48,): must have 2"),
        (lambda s: s.update({"token_embedder/embedding": (96, 48)}), "has no rows for text beside 96"),
        (lambda s: s.update({"encoder/relpos_bias/rel_embedding": (0, 32)}), "none of them 0"),
        (lambda s: s.update({"encoder/relpos_bias/rel_embedding": (5, 32)}), "24 is no multiple of 5 heads"),
        (lambda s: s.update({"encoder/position_embedding/embedding": (833, 48)}), "leaves 577 cells"),
        (lambda s: s.update({"decoder/position_embedding/embedding": (200, 48)}), "leaves -56 cells"),
        (lambda s: s.update({"encoder/image_projection/kernel": (767, 48)}), "no multiple of 3 colours"),
        (lambda s: s.update({"discrete_vae/encoder/conv_in/kernel": (3, 3, 3, 20)}), "are no multiple"),
        (lambda s: s.pop("discrete_vae/encoder/down_3_block_0/conv1/kernel"),
         "it has no discrete_vae/encoder/down_3_block_0/conv1/kernel"),
    ],
)  # fmt: skip
def test_foreign_shapes(change, message):
    shapes = changed(change)
    with pytest.raises(UserError) as error:
        from_shapes(shapes, FILE).check(shapes, FILE)
    assert message in str(error.value) and str(error.value).startswith("some.bin: ")


def test_random_shapes():
    """Whatever the keys and shapes of a file are: refused, never another error, never a huge network."""
    for seed in range(60):
        chance = random.Random(seed)
        shapes = official.shapes("tiny_a")
        read = [k for k in shapes if not re.search(r"/(layers|mid|up|down)_", k) or "block_0/conv1" in k]
        for _ in range(chance.randrange(1, 3)):
            key = chance.choice(read)
            dims = list(shapes.pop(key, (1,)))
            dims[chance.randrange(len(dims))] = chance.choice([0, 1, 2, 3, 7, 64, 100, 2**20, 2**40])
            if chance.random() < 0.8:
                shapes[key if chance.random() < 0.8 else re.sub(r"\d", "7", key) + "x"] = tuple(dims)
        with contextlib.suppress(UserError):
            from_shapes(shapes, FILE).check(shapes, FILE)


def test_another_size_than_said():
    with pytest.raises(UserError, match="is no Unified-IO checkpoint of size 'base'"):
        of_size("base").check(official.shapes("small"), FILE)
    with pytest.raises(UserError, match="there are auto, small, base, large, xl"):
        of_size("tiny")
