"""What all pages share: one file each, no scripts, nothing from the network, light or dark as the reader's
system is, readable on a phone. `base.html.j2` holds the frame and the styles."""

from __future__ import annotations

import base64
import io
from functools import cache
from pathlib import Path

import jinja2
from PIL import Image as Pillow

from unified.errors import UserError
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


@cache
def template(name: str, package: str = "unified.evaluation") -> jinja2.Template:
    """A template of a package; it may extend `base.html.j2`."""
    folders = [jinja2.PackageLoader(p, ".") for p in dict.fromkeys((package, "unified.evaluation"))]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(folders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template(name)


def data_uri(image: Image | Pillow.Image, side: int = PICTURE) -> str:
    """A picture as a data URI, shrunk to `side`; a small one is enlarged by whole pixels."""
    picture = Pillow.fromarray(image.pixels) if isinstance(image, Image) else image.convert("RGB")
    enlarge = side // max(picture.size)
    if enlarge > 1:
        picture = picture.resize(
            (picture.width * enlarge, picture.height * enlarge), Pillow.Resampling.NEAREST
        )
    picture.thumbnail((side, side), Pillow.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
