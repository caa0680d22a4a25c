"""What a prompt answers: a typed value that can be looked at, printed and saved."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from unified.errors import UserError, did_you_mean
from unified.evaluation.plain import describe, plain
from unified.values.dense import palette, to_image
from unified.values.draw import draw
from unified.values.types import Depth, Image, Mask, Normals, Segmentation, Text, Value

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def check_writable(path: str | Path) -> Path:
    """The file that `Result.save` would write. Raises UserError for a suffix that it does not know, a folder
    that is not there and a folder in the file's place."""
    path = Path(path).expanduser()
    known = [*PICTURES, ".json", ".txt"]
    suffix = path.suffix.lower()
    if suffix not in known:
        hint = did_you_mean(suffix, known)
        raise UserError(f"{path}: cannot save to '{suffix}'{hint}; there are {', '.join(known)}")
    if not path.parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} is not there; make it first")
    if path.is_dir():
        raise UserError(f"{path}: is a folder, not a file")
    return path


def as_picture(value: Value) -> Pillow.Image | None:
    """An image or map as the picture that stores its numbers; None for values without pixels."""
    match value:
        case Image() | Normals():
            return Pillow.fromarray(to_image(value).pixels)
        case Mask():
            return Pillow.fromarray(np.where(value.array, np.uint8(255), np.uint8(0)))
        case Depth(metres, valid):
            millimetres = np.clip(np.rint(metres * 1000), 0, 65535)
            if valid is not None:
                millimetres = np.where(valid, millimetres, 0)
            return Pillow.fromarray(millimetres.astype(np.uint16))
        case Segmentation(classes, names):
            picture = Pillow.fromarray(classes.astype(np.uint8)).convert("P")
            picture.putdata(classes.astype(np.uint8).ravel())
            picture.putpalette(palette(len(names)).astype(np.uint8).tobytes())
            return picture
    return None


@dataclass(frozen=True)
class Result:
    """One answer.

    `value` is in the frame of the (first) input image. `malformed`: the model's output was no whole answer
    of its kind, and `value` holds what could be read of it. `task`: the task whose rules were followed, None
    for a free prompt. `ids`: the text side of what was generated, without start and end; `codes`: those of a
    generated image; `score`: the summed log-probability of either, end included, or that of the chosen
    option; None where the answer was sampled.
    """

    value: Value
    prompt: str
    images: tuple[Image, ...] = ()
    task: str | None = None
    malformed: bool = False
    ids: tuple[int, ...] = ()
    score: float | None = None
    codes: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        """The answer in words: the text itself, or coordinates with labels, one a line."""
        return describe(self.value)

    def to_dict(self) -> dict[str, Any]:
        """JSON data: the task, the prompt, and the value with its `type`. Pixels are left to `save`."""
        return {
            "task": self.task,
            "prompt": self.prompt,
            "malformed": self.malformed,
            "answer": plain(self.value),
        }

    def drawn(self) -> Image:
        """The answer over the input image; depth in colours, images as they are."""
        blank = Image(np.full((160, 320, 3), 255, np.uint8))
        return draw(self.value, self.images[0] if self.images else blank)

    def show(self) -> None:
        """Opens the drawn answer in the desktop's image viewer; notebooks display a Result by themselves."""
        Pillow.fromarray(self.drawn().pixels).show()

    def save(self, path: str | Path) -> Path:
        """Writes the answer to a file and returns its path.

        `.json`: `to_dict`. `.txt`: the words. A picture (`.png` and others): an image as it is, depth as
        16-bit millimetres (PNG only), a mask in black and white, a segmentation as class numbers with a
        palette (PNG), normals as RGB, anything else drawn over the input image. UserError for other suffixes,
        and for folders that are not there.
        """
        path = check_writable(path)
        suffix = path.suffix.lower()
        if suffix == ".json":
            path.write_text(json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n")
        elif suffix == ".txt":
            path.write_text(self.text + "\n")
        else:
            picture = self.picture()
            if picture.mode not in ("RGB", "L") and suffix != ".png":
                raise UserError(f"{path}: a {type(self.value).__name__.lower()} map is saved as .png")
            picture.save(path)
        return path

    def picture(self) -> Pillow.Image:
        """The answer as the picture that `save` writes."""
        if (stored := as_picture(self.value)) is not None:
            return stored
        if isinstance(self.value, Text) and not self.images:
            raise UserError("a text without an image is saved as .txt or .json")
        return Pillow.fromarray(self.drawn().pixels)

    def _repr_png_(self) -> bytes:
        """For notebooks."""
        out = io.BytesIO()
        Pillow.fromarray(self.drawn().pixels).save(out, "PNG")
        return out.getvalue()

    def __str__(self) -> str:
        return self.text
