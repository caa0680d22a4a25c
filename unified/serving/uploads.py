"""Images from people whom nobody knows: read within limits, by the few decoders that they need."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from unified.errors import UserError
from unified.sources.images import MAX_PIXELS, read_rgb
from unified.specs.example import BadRow

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""The decoders that see an upload, and no other: PIL has dozens, some of which start programs."""

MAX_BYTES = 10 * 2**20
"""The default limit of a file's size."""


def read_image(data: bytes, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Pillow.Image:
    """The picture in `data` as RGB: upright (EXIF), transparency over white, the first frame of several.

    The size in pixels is read from the header, before anything is decompressed. Raises UserError for more
    than `max_bytes` or `max_pixels`, for anything but FORMATS, and for broken files.
    """
    if not data:
        raise UserError("the image is empty (0 bytes)")
    if len(data) > max_bytes:
        most = _megabytes(max_bytes)
        raise UserError(f"the image has {_megabytes(len(data))}; at most {most} are taken: make it smaller")
    try:
        with warnings.catch_warnings():  # about sizes, which are checked below
            warnings.simplefilter("ignore")
            picture = Pillow.open(io.BytesIO(data), formats=FORMATS)
    except Pillow.DecompressionBombError:
        raise UserError(_too_large(None, max_pixels)) from None
    except UnidentifiedImageError:
        raise UserError(
            "that is no image, or none of a kind taken here (PNG, JPEG, WebP, GIF, BMP)"
        ) from None
    except Exception as error:  # PIL raises many kinds for broken files
        raise UserError(_broken(error)) from None
    if picture.width * picture.height > max_pixels:
        raise UserError(_too_large(picture.size, max_pixels))
    try:
        with warnings.catch_warnings():  # about damaged EXIF, which is then left out
            warnings.simplefilter("ignore")
            return Pillow.fromarray(read_rgb(picture, Path()))
    except BadRow as error:
        raise UserError(_broken(error.__cause__ or error)) from None


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.3g} MB"


def _too_large(size: tuple[int, int] | None, most: int) -> str:
    told = f"{size[0]} x {size[1]}" if size else "far more"
    return f"the image has {told} pixels; at most {most / 1e6:.3g} million are taken: make it smaller"


def _broken(error: BaseException) -> str:
    return f"the image is broken or cut short ({error or type(error).__name__}); save it again as PNG or JPEG"
