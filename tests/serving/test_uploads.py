"""Untrusted images: what is taken, and one clear message for what is not."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from unified.errors import UserError
from unified.serving.uploads import Limits, read_map, read_picture


def read_image(data: bytes, max_bytes: int = 2**20, max_pixels: int = 2**20) -> Pillow.Image:
    return Pillow.fromarray(read_picture(data, "room.png", Limits(max_bytes, max_pixels)).pixels)


def encoded(picture: Pillow.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def halves(width: int = 8, height: int = 4) -> Pillow.Image:
    """Left half red, right half blue."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = pixels[:, width // 2 :, 2] = 255
    return Pillow.fromarray(pixels)


def colour(picture: Pillow.Image, x: int = 0, y: int = 0) -> tuple[int, ...]:
    return tuple(np.asarray(picture)[y, x].tolist())


def png_header(width: int, height: int) -> bytes:
    """A PNG of that claimed size with next to no data."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(9)))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_formats_taken(kind: str) -> None:
    picture = read_image(encoded(halves(32, 16), kind))
    assert picture.mode == "RGB" and picture.size == (32, 16)
    left, right = colour(picture, 4, 8), colour(picture, 28, 8)
    assert left[0] > 200 > left[2] and right[2] > 200 > right[0]


@pytest.mark.parametrize("kind", ["TIFF", "PPM", "ICO", "TGA", "PDF", "EPS"])
def test_other_decoders_see_no_upload(kind: str) -> None:
    with pytest.raises(UserError, match="^room.png: is no picture that can be read; send PNG, .* or BMP$"):
        read_image(encoded(halves(32, 32), kind))


def test_exif_rotation_is_applied() -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise: the left half comes to the top
    picture = read_image(encoded(halves(32, 16), "JPEG", exif=exif))
    assert picture.size == (16, 32)
    top, bottom = colour(picture, 8, 4), colour(picture, 8, 28)
    assert top[0] > 200 and bottom[2] > 200


def test_first_frame_and_transparency() -> None:
    gif = encoded(halves(), "GIF", save_all=True, append_images=[Pillow.new("RGB", (8, 4), "lime")])
    assert colour(read_image(gif))[0] > 200
    for white in (Pillow.new("RGBA", (2, 2), (0, 0, 0, 0)), Pillow.new("I;16", (2, 2), 65535)):
        assert colour(read_image(encoded(white, "PNG"))) == (255, 255, 255)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "is empty"),
        (b"dear model, this is a text", "is no picture"),
        (encoded(halves(64, 64), "PNG")[:60], "is damaged"),
        (encoded(halves(96, 96), "JPEG")[:650], "is damaged"),
        (png_header(8, 8), "is damaged"),
        (bytes(2 * 2**20), "is 2.0 MB large, more than 1 MB"),
        (png_header(100_000, 90_000), "too many pixels"),
        (png_header(12_000, 10_000), "is 12000 x 10000 pixels large, more than 10,000 pixels"),
        (png_header(101, 100), "is 101 x 100 pixels large"),
    ],
    ids=["empty", "text", "cut png", "cut jpeg", "no pixels", "bytes", "bomb", "warned", "pixels"],
)
def test_refusals(data: bytes, told: str) -> None:
    with pytest.raises(UserError, match=told) as raised:
        read_image(data, max_pixels=10_000)
    assert str(raised.value).startswith("room.png: ") and "\n" not in str(raised.value)


def test_limits_are_inclusive() -> None:
    data = encoded(halves(), "PNG")
    assert read_image(data, max_bytes=len(data), max_pixels=32).size == (8, 4)


def test_stored_numbers() -> None:
    classes = Pillow.fromarray(np.array([[0, 3], [1, 2]], np.uint8)).convert("P")
    classes.putdata([0, 3, 1, 2])
    assert read_map(encoded(classes, "PNG"), "map", Limits()).tolist() == [[0, 3], [1, 2]]
    with pytest.raises(UserError, match="map: is damaged"):
        read_map(encoded(halves(64, 64), "PNG")[:60], "map", Limits())


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP"]), st.data())
def test_a_damaged_file_is_read_or_refused(kind: str, data: st.DataObject) -> None:
    whole = bytearray(encoded(halves(16, 16), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(whole)))
    try:
        picture = read_image(bytes(whole[:cut]), max_pixels=10_000)
    except UserError as error:
        assert str(error)
    else:
        assert picture.mode == "RGB" and picture.width * picture.height <= 10_000
