"""Pages of one file, no scripts, nothing from the network."""

from __future__ import annotations

import base64
import io
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image as Pillow

from unified.errors import UserError
from unified.preview.rows import Preview, Row
from unified.preview.terminal import summary
from unified.values.types import Image

PICTURE = 384
"""Longest side of a picture on a page, in pixels."""


def check_page(path: str | Path) -> Path:
    """The file of a page that can be written. Raises UserError for another suffix than .html, a folder that
    is not there and a folder in the file's place."""
    page = Path(path).expanduser()
    if page.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--html {path}: a page is an .html file")
    if not page.parent.is_dir():
        raise UserError(f"--html {path}: the folder {page.parent} is not there; make it first")
    if page.is_dir():
        raise UserError(f"--html {path}: is a folder, not a file")
    return page


def write_preview(found: Preview, path: Path) -> None:
    """Writes the page of a preview."""
    encoder, decoder = [row.encoder for row in found.rows], [row.decoder for row in found.rows]
    failed = sum(not row.passed for row in found.rows)
    cards = [
        (str(len(found.rows)), "rows shown", False),
        (str(len(found.skipped)), "rows skipped", bool(found.skipped)),
        (str(failed), "rows past a tolerance", bool(failed)),
        (_span(encoder), "positions in the encoder", False),
        (_span(decoder), "positions in the decoder", False),
    ]
    page = template("preview.html.j2").render(
        title=found.task.name,
        subtitle=summary(found),
        cards=cards,
        worst=found.worst,
        skipped=found.skipped,
        rows=[_row(row) for row in found.rows],
    )
    path.write_text(page, encoding="utf-8")


def _row(row: Row) -> dict[str, Any]:
    pictures = [{"name": picture.name, "src": data_uri(picture.image)} for picture in row.pictures]
    lossy = [check for check in row.checks if check.error]
    return {**vars(row), "passed": row.passed, "pictures": pictures, "lossy": lossy}


def _span(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


@cache
def template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("unified.preview", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template(name)


def data_uri(image: Image, side: int = PICTURE) -> str:
    """A picture as a data URI, shrunk to `side`; a small one is enlarged by whole pixels."""
    picture = Pillow.fromarray(image.pixels)
    enlarge = side // max(picture.size)
    if enlarge > 1:
        picture = picture.resize(
            (picture.width * enlarge, picture.height * enlarge), Pillow.Resampling.NEAREST
        )
    picture.thumbnail((side, side), Pillow.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
