"""A strip of wrapped text with highlighted words, for the foot of a picture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

PAPER: Colour = (250, 250, 248)
INK: Colour = (35, 38, 44)


BLANKS = " \t\r"
"""Where a line may break; a no-break space is none of them."""
PAD = 4
"""Pixels of ground before and after highlighted words."""


class Run(NamedTuple):
    """Text of one look: plain on paper, or on a coloured ground."""

    text: str
    ground: Colour | None = None


def ink_on(ground: Colour) -> Colour:
    """Black or white, whichever reads better on a ground."""
    red, green, blue = ground
    return (20, 20, 20) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)


def font_of(size: int) -> Font:
    """Pillow's built-in scalable font."""
    return ImageFont.load_default(size)


def font_size(width: int) -> int:
    """A size that is easy to read on a picture of `width` pixels."""
    return round(max(12.0, 0.72 * width**0.5))


def text_strip(runs: Sequence[Run], width: int) -> Pillow.Image:
    """`runs` one after the other, wrapped to `width` pixels; a newline in a run starts a new line."""
    size = font_size(width)
    font = font_of(size)
    margin, leading = round(size * 0.6), round(size * 1.45)
    lines = _wrap(runs, font, width - 2 * margin)
    strip = Pillow.new("RGB", (width, len(lines) * leading + 2 * round(margin * 0.7)), PAPER)
    pen = ImageDraw.Draw(strip)
    for i, line in enumerate(lines):
        x, middle = float(margin), round(margin * 0.7) + (i + 0.5) * leading
        for text, ground in line:
            text = text.replace("\u00a0", " ")  # the font lacks it
            length = font.getlength(text)
            if ground is not None:
                box = (x, middle - 0.62 * size, x + length + 2 * PAD, middle + 0.62 * size)
                pen.rounded_rectangle(box, radius=size // 4, fill=ground)
                x += PAD
            pen.text(
                (x, middle), text, fill=INK if ground is None else ink_on(ground), font=font, anchor="lm"
            )
            x += length if ground is None else length + PAD
    return strip


def _wrap(runs: Sequence[Run], font: Font, width: float) -> list[list[Run]]:
    """Lines of runs no wider than `width`; words break only where one is wider than a line."""
    lines: list[list[Run]] = [[]]
    used, gap = 0.0, ""
    for word in _words(runs):
        text = "".join(part.text for part in word)
        if text == "\n":
            lines.append([])
            used, gap = 0.0, ""
        elif not text.strip(BLANKS):
            gap = " " if lines[-1] else ""
        else:
            length = font.getlength(text) + 2 * PAD * any(part.ground for part in word)
            if lines[-1] and used + font.getlength(gap) + length > width:
                lines.append([])
                used, gap = 0.0, ""
            if gap:
                # A gap inside one highlighted phrase keeps its ground.
                same = lines[-1][-1].ground if lines[-1][-1].ground == word[0].ground else None
                lines[-1].append(Run(gap, same))
                used, gap = used + font.getlength(gap), ""
            for part in word:
                for piece in _fit(part.text, font, width - 2 * PAD):
                    length = font.getlength(piece) + (0 if part.ground is None else 2 * PAD)
                    if lines[-1] and used + length > width:
                        lines.append([])
                        used = 0.0
                    lines[-1].append(Run(piece, part.ground))
                    used += length
    return [_merge(line) for line in lines]


def _words(runs: Sequence[Run]) -> list[list[Run]]:
    """Newlines, blanks, and words; a word that spans runs holds a part of each."""
    words: list[list[Run]] = []
    joins = False
    for run in runs:
        for atom in re.findall(rf"\n|[{BLANKS}]+|[^\n{BLANKS}]+", run.text):
            blank = not atom.strip("\n" + BLANKS)
            if joins and not blank:
                words[-1].append(Run(atom, run.ground))
            else:
                words.append([Run(atom, run.ground)])
            joins = not blank
    return words


def _fit(text: str, font: Font, width: float) -> list[str]:
    """`text` cut into pieces no wider than `width` (a single character may be)."""
    pieces, piece = [], ""
    for character in text:
        if piece and font.getlength(piece + character) > width:
            pieces.append(piece)
            piece = ""
        piece += character
    return [*pieces, piece]


def _merge(line: list[Run]) -> list[Run]:
    """Neighbours of one look as one run, so that letters keep their spacing."""
    merged: list[Run] = []
    for run in line:
        if merged and merged[-1].ground == run.ground:
            merged[-1] = Run(merged[-1].text + run.text, run.ground)
        else:
            merged.append(run)
    return merged
