"""Pictures from strangers: checked for their bytes, format and pixels before they are unpacked."""

from __future__ import annotations

import base64
import binascii
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from unified.errors import UserError
from unified.sources.images import read_rgb
from unified.specs.example import BadRow
from unified.values.types import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")


class TooLarge(UserError):
    """More bytes or pixels than are taken here."""


@dataclass(frozen=True)
class Limits:
    """Of one picture: bytes of the file, pixels once it is unpacked."""

    max_bytes: int = 10 * 2**20
    max_pixels: int = 16_000_000


def read_picture(data: bytes, name: str, limits: Limits) -> Image:
    """The picture in a file's bytes: EXIF orientation applied, transparency over white, the first frame of
    several. `name`: what the sender calls it, for messages. Raises TooLarge, and UserError for what is no
    picture or a damaged one."""
    picture = _opened(data, name, limits)
    try:
        return Image(read_rgb(picture, Path()))
    except BadRow as bad:
        raise _damaged(name, bad.__cause__ or bad) from None


def read_map(data: bytes, name: str, limits: Limits) -> npt.NDArray[np.generic]:
    """The stored numbers of a mask, depth map or segmentation, (h, w) or (h, w, c), no colours converted.
    Raises as `read_picture` does."""
    picture = _opened(data, name, limits)
    try:
        return np.array(picture)
    except Exception as error:  # Pillow raises many kinds for broken files
        raise _damaged(name, error) from None


def from_base64(text: str, name: str, limits: Limits) -> bytes:
    """The bytes of a base64 text or `data:` URI. Raises TooLarge, and UserError where it is neither."""
    if text.startswith("data:"):
        head, comma, text = text.partition(",")
        if not comma or not head.endswith(";base64"):
            raise UserError(f"{name}: write a data URI as data:image/png;base64,...")
    elif text[:8].lower().startswith(("http://", "https://")):
        raise UserError(f"{name}: addresses are not fetched; send the picture itself as base64")
    if len(text) * 3 // 4 > limits.max_bytes + 3:
        raise _too_many_bytes(len(text) * 3 // 4, name, limits)
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise UserError(f"{name}: is not base64; send a picture file's bytes in base64") from None


def _opened(data: bytes, name: str, limits: Limits) -> Pillow.Image:
    """With its header read and nothing unpacked."""
    if len(data) > limits.max_bytes:
        raise _too_many_bytes(len(data), name, limits)
    if not data:
        raise UserError(f"{name}: is empty; send a picture file")
    try:
        with warnings.catch_warnings():  # Pillow's, of sizes, which are checked below
            warnings.simplefilter("ignore")
            picture = Pillow.open(io.BytesIO(data), formats=FORMATS)
    except Pillow.DecompressionBombError:
        raise TooLarge(f"{name}: has too many pixels; send a smaller picture") from None
    except Exception:  # Pillow raises many kinds for broken files
        raise UserError(
            f"{name}: is no picture that can be read; send {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        ) from None
    if picture.width * picture.height > limits.max_pixels:
        size = f"{picture.width} x {picture.height}"
        most = f"{limits.max_pixels:,} pixels"
        raise TooLarge(f"{name}: is {size} pixels large, more than {most}; send a smaller picture")
    return picture


def _damaged(name: str, error: BaseException) -> UserError:
    return UserError(f"{name}: is damaged ({error or type(error).__name__}); save it again as PNG")


def _too_many_bytes(found: int, name: str, limits: Limits) -> TooLarge:
    size, most = found / 2**20, limits.max_bytes / 2**20
    return TooLarge(f"{name}: is {size:.1f} MB large, more than {most:g} MB; send a smaller picture")
