"""Resampling against torch in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from value_strategies import geometries, rngs

from unified.values.geometry import Geometry
from unified.values.types import Image, Size


def torch_resize(pixels, width, height):
    if width == 1:
        # torch's antialiased kernel repeats the first row where the width becomes 1 (seen in 2.14);
        # turned it is right, unless both sides become 1.
        assume(height > 1)
        return torch_resize(pixels.transpose(1, 0, 2), height, width).transpose(1, 0, 2)
    tensor = torch.from_numpy(np.ascontiguousarray(pixels)).double().permute(2, 0, 1)[None]
    out = torch.nn.functional.interpolate(
        tensor, (height, width), mode="bilinear", antialias=True, align_corners=False
    )
    return out[0].permute(1, 2, 0).numpy()


def assert_close(ours, reference):
    np.testing.assert_allclose(ours, reference, rtol=1e-6, atol=1e-6)


@given(st.integers(1, 150), st.integers(1, 150), st.integers(1, 200), rngs)
@settings(max_examples=150)
def test_resize_pad_is_torch_in_float64(width, height, side, rng):
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    geometry = Geometry.resize_pad(Size(width, height), side)
    inner_width, inner_height = (int(v) for v in geometry.content[2:])
    out = geometry.resample(pixels)
    assert out.shape == (side, side, 3) and out.dtype == np.float32
    assert_close(out[:inner_height, :inner_width], torch_resize(pixels, inner_width, inner_height))
    assert not out[inner_height:].any() and not out[:, inner_width:].any()


@given(st.data(), rngs)
def test_crop_flip_and_resize_in_one_go_is_torch_step_by_step(data, rng):
    width, height = data.draw(st.integers(2, 80)), data.draw(st.integers(2, 80))
    x1, y1 = data.draw(st.integers(0, width - 2)), data.draw(st.integers(0, height - 2))
    x2, y2 = data.draw(st.integers(x1 + 2, width)), data.draw(st.integers(y1 + 2, height))
    side = data.draw(st.integers(2, 100))
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    geometry = Geometry.flip(Size(width, height)).then(Geometry.crop(Size(width, height), (x1, y1, x2, y2)))
    geometry = geometry.then(Geometry.resize_pad(geometry.target, side))
    cut = pixels[:, ::-1][y1:y2, x1:x2]
    inner_width, inner_height = (int(v) for v in geometry.content[2:])
    out = geometry.resample(pixels)
    assert_close(out[:inner_height, :inner_width], torch_resize(cut, inner_width, inner_height))


@pytest.mark.parametrize("size", [(640, 480), (427, 640), (100, 37)])
@pytest.mark.parametrize("side", [64, 256, 384])
def test_usual_sizes_are_torch_in_float64(size, side):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    geometry = Geometry.resize_pad(Size(*size), side)
    inner_width, inner_height = (int(v) for v in geometry.content[2:])
    out = geometry.resample(pixels)[:inner_height, :inner_width]
    assert_close(out, torch_resize(pixels, inner_width, inner_height))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 90), rngs)
def test_nearest_is_torch_nearest_exact(width, height, side, rng):
    pixels = rng.integers(0, 256, (height, width, 1), dtype=np.uint8)
    geometry = Geometry.resize_pad(Size(width, height), side)
    inner = tuple(int(v) for v in geometry.content[2:])
    rows = [int(np.floor((i + 0.5) * height / inner[1] + 1e-9)) for i in range(inner[1])]
    columns = [int(np.floor((i + 0.5) * width / inner[0] + 1e-9)) for i in range(inner[0])]
    out = geometry.resample(pixels, "nearest")
    np.testing.assert_array_equal(out[: inner[1], : inner[0]], pixels[rows][:, columns])


@given(geometries(), rngs)
def test_a_flat_picture_stays_flat_inside_the_content(geometry, rng):
    level = int(rng.integers(0, 256))
    pixels = np.full((geometry.source.height, geometry.source.width, 3), level, np.uint8)
    valid = geometry.valid_mask()
    for kind in ("bilinear", "nearest"):
        out = geometry.resample(pixels, kind)
        np.testing.assert_allclose(out[valid], level, rtol=1e-6)
        assert not out[~valid].any()


def test_the_identity_changes_nothing():
    pixels = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    geometry = Geometry.identity(Size(40, 30))
    np.testing.assert_array_equal(geometry.resample(pixels), pixels)
    np.testing.assert_array_equal(geometry.apply(Image(pixels)).pixels, pixels)


def test_applying_to_an_image_rounds_to_the_nearest_level():
    pixels = np.random.default_rng(2).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    geometry = Geometry.resize_pad(Size(64, 48), 40)
    np.testing.assert_array_equal(geometry.apply(Image(pixels)).pixels, np.rint(geometry.resample(pixels)))
