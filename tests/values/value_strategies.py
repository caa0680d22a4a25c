"""Hypothesis strategies for frames, geometries and values."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from unified.values.geometry import Geometry
from unified.values.types import Boxes, Keypoints, Points, Size

sizes = st.builds(Size, st.integers(1, 90), st.integers(1, 90))
rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@st.composite
def geometries(draw, source=None, lossless=False, depth=3):
    """A composition of up to `depth` flips, resizes and crops (no crops when `lossless`)."""
    size = source if source is not None else draw(sizes)
    geometry = Geometry.identity(size)
    kinds = ["flip", "resize"] if lossless else ["flip", "resize", "crop"]
    for kind in draw(st.lists(st.sampled_from(kinds), max_size=depth)):
        frame = geometry.target
        if kind == "flip":
            step = Geometry.flip(frame)
        elif kind == "resize":
            step = Geometry.resize_pad(frame, draw(st.integers(max(1, max(frame) // 8), 120)))
        else:
            x1, y1 = draw(st.integers(-5, frame.width - 1)), draw(st.integers(-5, frame.height - 1))
            x2 = draw(st.integers(max(1, x1 + 1), frame.width + 5))
            y2 = draw(st.integers(max(1, y1 + 1), frame.height + 5))
            step = Geometry.crop(frame, (x1, y1, x2, y2))
        geometry = geometry.then(step)
    return geometry


def random_points(rng, size, n):
    return Points(rng.random((n, 2)) * size, tuple(f"p{i}" for i in range(n)))


def random_boxes(rng, size, n):
    """Boxes inside a frame, none thinner than a thousandth of it."""
    low = rng.random((n, 2)) * 0.9
    high = low + 0.001 + rng.random((n, 2)) * (0.999 - low)
    xyxy = np.concatenate([low, high], axis=1) * (*size, *size)
    return Boxes(xyxy, tuple(f"b{i}" for i in range(n)), rng.random(n))


NAMES = ("nose", "left_eye", "right_eye", "knee left", "knee right", "l_hip", "r_hip", "tail_left")


def random_keypoints(rng, size, n):
    xy = rng.random((n, len(NAMES), 2)) * size
    return Keypoints(xy, rng.integers(1, 3, (n, len(NAMES))), NAMES, rng.random(n) * 100)
