"""Pictures to send."""

import base64
import io

import numpy as np
from PIL import Image


def png(width=48, height=32, kind="PNG"):
    out = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def base64_png(**sizes):
    return base64.b64encode(png(**sizes)).decode()
