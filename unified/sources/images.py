"""Pictures from wherever a row keeps them: a path, bytes, a PIL image, an array."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageOps

from unified.sources.location import AbsentFile
from unified.specs.example import BadRow

MAX_PIXELS = 89_478_485
"""Larger pictures are refused before they are decompressed (PIL warns from here on)."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")


def read_rgb(raw: Any, root: Path) -> npt.NDArray[np.uint8]:
    """`raw` as (h, w, 3) uint8 RGB: EXIF orientation applied, transparency over white."""
    if isinstance(raw, np.ndarray):
        return _array_rgb(raw)
    picture = open_image(raw, root)
    try:
        picture = PIL.ImageOps.exif_transpose(picture)
        return np.array(picture if picture.mode == "RGB" else _to_rgb(picture))
    except BadRow:
        raise
    except Exception as error:  # PIL raises many kinds for broken files
        raise BadRow(f"unreadable image {_name(raw)}: {error}") from error


def read_numbers(raw: Any, root: Path) -> npt.NDArray[Any]:
    """The stored numbers of a picture or array, no colour conversion: (h, w) or (h, w, c), 8 or 16
    bits or float. A path or bytes of an `.npy` file is read as such, never unpickled."""
    if isinstance(raw, np.ndarray):
        return raw
    if isinstance(raw, list):
        return _numeric(np.asarray(raw))
    if isinstance(raw, str) and raw.endswith(".npy"):
        path = _existing(raw, root)
        try:
            return _numeric(np.load(path, allow_pickle=False))
        except (ValueError, OSError, EOFError) as error:
            raise BadRow(f"unreadable array {path}: {error}") from error
    if isinstance(raw, bytes) and raw.startswith(b"\x93NUMPY"):
        try:
            return _numeric(np.load(io.BytesIO(raw), allow_pickle=False))
        except (ValueError, EOFError) as error:
            raise BadRow(f"unreadable array in the row: {error}") from error
    picture = open_image(raw, root)
    try:
        return np.array(picture)
    except Exception as error:  # PIL raises many kinds for broken files
        raise BadRow(f"unreadable image {_name(raw)}: {error}") from error


def open_image(raw: Any, root: Path) -> PIL.Image.Image:
    """A PIL image, header read and size checked. Raises BadRow."""
    if isinstance(raw, Mapping) and ("bytes" in raw or "path" in raw):
        raw = raw.get("bytes") if raw.get("bytes") is not None else raw.get("path")
    if isinstance(raw, PIL.Image.Image):
        picture = raw
    else:
        source: Any
        if isinstance(raw, (str, Path)):
            source = _existing(str(raw), root)
        elif isinstance(raw, (bytes, bytearray)):
            source = io.BytesIO(raw)
        else:
            raise BadRow(f"no image: expected a path, bytes or pixels, found {type(raw).__name__}")
        try:
            picture = PIL.Image.open(source)
        except Exception as error:  # PIL raises many kinds for broken files
            raise BadRow(f"unreadable image {_name(raw)}: {error}") from error
    if picture.width * picture.height > MAX_PIXELS:
        size = f"{picture.width} x {picture.height}"
        raise BadRow(f"image {_name(raw)} has {size} pixels: too large to be opened safely")
    return picture


def _existing(text: str, root: Path) -> Path:
    if text.startswith(("http://", "https://")):
        raise BadRow(f"images are not downloaded while training; fetch {text} first")
    path = root / text
    if not path.is_file():
        raise AbsentFile(f"no such file: {path}")
    return path


def _to_rgb(picture: PIL.Image.Image) -> PIL.Image.Image:
    if picture.mode.startswith("I"):
        # 16-bit grey: PIL's own conversion would clip at 255.
        values = np.array(picture, dtype=np.int64)
        scaled = values // 257 if values.max(initial=0) > 255 else values
        picture = PIL.Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8))
    elif picture.mode == "F":
        raise BadRow("the image holds floats: a picture has 8 or 16 bits (is the field's type `depth`?)")
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = PIL.Image.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = PIL.Image.alpha_composite(white, picture)
    return picture.convert("RGB")


def _array_rgb(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if array.dtype != np.uint8:
        raise BadRow(f"an image array holds 0..255 as uint8, not {array.dtype}")
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or 0 in array.shape:
        raise BadRow(f"an image array is (height, width, 3), not {array.shape}")
    if array.shape[2] == 1:
        return np.repeat(array, 3, axis=2)
    if array.shape[2] == 4:
        return np.array(_to_rgb(PIL.Image.fromarray(array, mode="RGBA")))
    return array


def _numeric(array: Any) -> npt.NDArray[Any]:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise BadRow(f"expected an array of numbers, found {getattr(array, 'dtype', type(array).__name__)}")
    return array


def _name(raw: Any) -> str:
    return str(raw) if isinstance(raw, (str, Path)) else f"({type(raw).__name__} in the row)"
