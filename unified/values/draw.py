"""Pictures for people: any value drawn over its image, and pictures side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageDraw

from unified.values.dense import palette, to_image
from unified.values.geometry import Geometry, Rect
from unified.values.text_strip import PAPER, Colour, Run, font_of, font_size, ink_on, text_strip
from unified.values.types import (
    Boxes,
    Depth,
    GroundedText,
    Image,
    Keypoints,
    Label,
    Mask,
    Normals,
    Number,
    Points,
    Segmentation,
    Size,
    Text,
    Texts,
    Value,
)

SMALLEST = 320
"""Pixels of the longer side below which a picture is enlarged before anything is drawn on it."""

COLOURS: tuple[Colour, ...] = (
    (230, 57, 70),
    (29, 120, 225),
    (255, 183, 3),
    (40, 167, 90),
    (155, 75, 205),
    (251, 121, 21),
    (0, 180, 190),
    (240, 100, 170),
    (130, 90, 50),
    (150, 190, 30),
    (90, 100, 120),
    (70, 60, 170),
)
"""Colours of labels and figures, in order of appearance; repeated beyond the last."""

TURBO: tuple[Colour, ...] = (
    (48, 18, 59),
    (69, 91, 205),
    (62, 155, 254),
    (24, 214, 203),
    (70, 248, 132),
    (162, 252, 60),
    (225, 221, 55),
    (254, 161, 49),
    (239, 90, 17),
    (196, 37, 3),
    (122, 4, 3),
)
"""Evenly spaced stops of the depth colour map, near to far."""

LIMBS = (
    ("nose", "eye", ""),
    ("eye", "ear", ""),
    ("head", "neck", ""),
    ("neck", "shoulder", ""),
    ("neck", "elbow", "shoulder"),
    ("neck", "hip", "shoulder"),
    ("neck", "pelvis", ""),
    ("shoulder", "elbow", ""),
    ("shoulder", "hip", ""),
    ("elbow", "wrist", ""),
    ("elbow", "hand", ""),
    ("pelvis", "hip", ""),
    ("hip", "knee", ""),
    ("knee", "ankle", ""),
    ("knee", "foot", ""),
)
"""Joints that a line connects where a figure has both, sides aside, and lacks the third."""


def draw(
    value: Value, on: Image, caption: str | None = None, *, value_range: tuple[float, float] | None = None
) -> Image:
    """`value` over the image whose frame it lives in; a small picture is enlarged first.

    Boxes, points, joints, masks and segmentations are drawn on the image; depth, normals and images
    stand in its place; words, legends and `caption` follow in strips below. `value_range`: metres at
    the two ends of the depth colours (default: the range of the value itself). Raises ValueError
    where a mask or segmentation has another size than the image.
    """
    frame = value.size if isinstance(value, Image | Depth | Normals) else on.size
    view = _enlarge(frame, max(1, -(-SMALLEST // max(frame))))
    runs: list[Run] = []
    if isinstance(value, Image):  # pixel by pixel, so that it looks as it is
        picture = Pillow.fromarray(view.resample(value.pixels, "nearest").astype(np.uint8))
    elif isinstance(value, Depth | Normals):
        picture, runs = _picture_of(view.apply(value), value_range)
    else:
        base = view.resample(on.pixels, "nearest").astype(np.uint8)
        picture, runs = _over(view.apply(value), base)
    strips = [text_strip(r, picture.width) for r in (runs, [Run(caption)] if caption else []) if r]
    return Image(np.concatenate([np.asarray(part) for part in (picture, *strips)]))


def grid(images: Sequence[Image], columns: int) -> Image:
    """Images in rows of `columns`, each in the middle of its cell, on paper."""
    if not images or columns < 1:
        raise ValueError("a grid needs at least one image and one column")
    rows = [images[i : i + columns] for i in range(0, len(images), columns)]
    widths = [max(image.size.width for image in images[c::columns]) for c in range(min(columns, len(images)))]
    heights = [max(image.size.height for image in row) for row in rows]
    gap = max(4, max(widths) // 40)
    sheet = np.empty(
        (sum(heights) + gap * (len(rows) + 1), sum(widths) + gap * (len(widths) + 1), 3), np.uint8
    )
    sheet[:] = PAPER
    y = gap
    for row, height in zip(rows, heights, strict=True):
        x = gap
        for image, width in zip(row, widths, strict=False):  # the last row may be short
            size = image.size
            top, left = y, x + (width - size.width) // 2
            sheet[top : top + size.height, left : left + size.width] = image.pixels
            x += width + gap
        y += height + gap
    return Image(sheet)


def _enlarge(size: Size, factor: int) -> Geometry:
    target = Size(size.width * factor, size.height * factor)
    return Geometry(
        size, target, factor, factor, 0.0, 0.0, Rect(0.0, 0.0, float(target.width), float(target.height))
    )


def _picture_of(
    value: Depth | Normals, value_range: tuple[float, float] | None
) -> tuple[Pillow.Image, list[Run]]:
    """Depth in colours with a legend, or normals as RGB."""
    if isinstance(value, Normals):
        return Pillow.fromarray(to_image(value).pixels), []
    valid = np.isfinite(value.metres) & (True if value.valid is None else value.valid)
    if not valid.any():
        return Pillow.fromarray(np.zeros((*value.metres.shape, 3), np.uint8)), [Run("no depth")]
    seen = value.metres[valid]
    low, high = value_range or (float(seen.min()), float(seen.max()))
    level = np.zeros(value.metres.shape, np.int64)
    level[valid] = np.rint(((seen - low) / max(high - low, 1e-9)).clip(0, 1) * 255)
    pixels = np.where(valid[..., None], _turbo()[level], np.uint8(0))
    between = [Run("\u00a0\u00a0", colour) for colour in TURBO[1:-1]]
    legend = [Run(f"{low:.3g}\u00a0m", TURBO[0]), *between, Run(f"{high:.3g}\u00a0m", TURBO[-1])]
    return Pillow.fromarray(pixels), legend


def _over(value: Value, base: npt.NDArray[np.uint8]) -> tuple[Pillow.Image, list[Run]]:
    """A value over the pixels of its image, and the words for the strip below."""
    picture = Pillow.fromarray(base)
    match value:
        case Boxes():
            keys = value.labels or ("",) * len(value)
            colours = _colours(keys)
            if not len(value):
                return picture, [Run("no boxes")]
            untold = _boxes(picture, value, colours)
            return picture, _legend(dict(zip(keys, colours, strict=True))) if untold and value.labels else []
        case GroundedText():
            colours = _colours(value.spans)
            _boxes(picture, value.boxes, colours)
            return picture, _grounded_runs(value, dict(zip(value.spans, colours, strict=True)))
        case Points():
            colours = _colours(value.labels or range(len(value)))
            _points(picture, value, colours)
            return picture, [] if len(value) else [Run("no points")]
        case Keypoints():
            _figures(picture, value)
            return picture, [] if len(value) else [Run("no figures")]
        case Mask():
            regions = value.array.astype(np.int64)
            return _tint(base, regions, np.array([(0, 0, 0), (255, 30, 170)], np.uint8)), []
        case Segmentation():
            table = palette(len(value.names))
            shown = [int(c) for c in np.unique(value.classes) if c > 0]
            legend = _legend({value.names[c - 1]: _colour(table[c]) for c in shown})
            return _tint(base, value.classes, table), legend or [Run("background only")]
        case Text():
            return picture, [Run(value.text or "(no text)")]
        case Texts():
            return picture, [Run("\n".join(value.items) or "(no text)")]
        case Label():
            return picture, [Run(value.name, COLOURS[1])]
        case Number():
            return picture, [Run(f"{value.value:.6g}")]
    raise TypeError(f"{type(value).__name__} cannot be drawn")


def _colours(keys: Sequence[object]) -> list[Colour]:
    """One colour a distinct key, in order of appearance."""
    order = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return [COLOURS[order[key] % len(COLOURS)] for key in keys]


def _colour(rgb: npt.NDArray[np.uint8]) -> Colour:
    red, green, blue = (int(v) for v in rgb)
    return red, green, blue


def _line_width(picture: Pillow.Image) -> int:
    return max(2, round(max(picture.size) / 160))


def _boxes(picture: Pillow.Image, boxes: Boxes, colours: Sequence[Colour]) -> int:
    """Outlines, then name tags; returns how many tags found no free place and are left out."""
    pen = ImageDraw.Draw(picture)
    width = _line_width(picture)
    for (x1, y1, x2, y2), colour in zip(boxes.xyxy, colours, strict=True):
        # A dark seam keeps the line visible on ground of its own colour.
        pen.rectangle((x1 - 1, y1 - 1, max(x1, x2), max(y1, y2)), outline=(20, 20, 20), width=width + 2)
        pen.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour, width=width)
    taken: list[Rect] = []
    left_out = 0
    for i, colour in enumerate(colours):
        words = [] if boxes.labels is None else [boxes.labels[i]]
        if boxes.scores is not None:
            words.append(f"{boxes.scores[i]:.2f}")
        if words and not _tag(picture, " ".join(words), boxes.xyxy[i], colour, taken):
            left_out += 1
    return left_out


def _tag(
    picture: Pillow.Image, text: str, box: npt.NDArray[np.float64], colour: Colour, taken: list[Rect]
) -> bool:
    """A name tag at a box, where it hides no tag in `taken`; False where there is no such place."""
    font = font_of(font_size(picture.width))
    height = round(font_size(picture.width) * 1.35)
    length = font.getlength(text) + 8
    x1, y1, x2, y2 = (float(v) for v in box)
    places = [(x1, y1 - height), (x1, y1), (x1, y2), (x1, y2 - height), (x2 - length, y1), (x2 - length, y2)]
    for x, y in places:
        x = min(max(0.0, x), max(0.0, picture.width - length))
        y = min(max(0.0, y), max(0.0, picture.height - height))
        rect = Rect(x, y, x + length, y + height)
        if not any(rect.x1 < t.x2 and t.x1 < rect.x2 and rect.y1 < t.y2 and t.y1 < rect.y2 for t in taken):
            pen = ImageDraw.Draw(picture)
            pen.rectangle(rect, fill=colour)
            pen.text((x + 4, y + height / 2), text, fill=ink_on(colour), font=font, anchor="lm")
            taken.append(rect)
            return True
    return False


def _points(picture: Pillow.Image, points: Points, colours: Sequence[Colour]) -> None:
    radius = 2.5 * _line_width(picture)
    for (x, y), colour in zip(points.xy, colours, strict=True):
        _dot(picture, x, y, radius, colour, hollow=False)
    taken: list[Rect] = []
    for (x, y), colour, name in zip(points.xy, colours, points.labels or (), strict=False):
        around = np.array([x - radius, y - radius - 2, x + radius, y + radius + 2])
        _tag(picture, name, around, colour, taken)


def _figures(picture: Pillow.Image, figures: Keypoints) -> None:
    """A line for each limb, a dot for each joint: filled when visible, a ring when hidden."""
    pen = ImageDraw.Draw(picture)
    width = _line_width(picture)
    limbs = _limbs(figures.names)
    for n, (xy, visibility) in enumerate(zip(figures.xy, figures.visibility, strict=True)):
        line = COLOURS[n % len(COLOURS)]
        for a, b in limbs:
            if visibility[a] and visibility[b]:
                pen.line((*xy[a], *xy[b]), fill=(20, 20, 20), width=width + 2)
                pen.line((*xy[a], *xy[b]), fill=line, width=width)
        for (x, y), seen, side in zip(xy, visibility, map(_side, figures.names), strict=True):
            if seen:
                colour = {"left": (60, 220, 90), "right": (255, 150, 40), "": (255, 255, 255)}[side]
                _dot(picture, x, y, max(4.0, 1.4 * width), colour, hollow=seen == 1)


def _dot(picture: Pillow.Image, x: float, y: float, radius: float, colour: Colour, *, hollow: bool) -> None:
    pen = ImageDraw.Draw(picture)
    pen.circle((x, y), radius + 1.5, fill=(20, 20, 20))
    pen.circle((x, y), radius, fill=colour)
    if hollow:
        pen.circle((x, y), radius * 0.5, fill=(20, 20, 20))


def _side(name: str) -> str:
    """ "left", "right" or "" for a joint name."""
    words = set(re.split(r"[^a-z]+", re.sub(r"(left|right)", r" \1 ", name.lower())))
    return "left" if words & {"left", "l"} else "right" if words & {"right", "r"} else ""


def _limbs(names: Sequence[str]) -> list[tuple[int, int]]:
    """Index pairs of the joints that LIMBS connects, those of one side or one of the middle, and
    across the body between the shoulders and between the hips."""
    stems = [
        "".join(w for w in re.split(r"[^a-z]+|left|right", n.lower()) if w not in {"", "l", "r"})
        for n in names
    ]
    sides = [_side(name) for name in names]
    known = {(a, b) for a, b, unless in LIMBS if unless not in stems}
    pairs = []
    for a in range(len(names)):
        for b in range(len(names)):
            along = (stems[a], stems[b]) in known and (sides[a] == sides[b] or "" in (sides[a], sides[b]))
            across = a < b and stems[a] == stems[b] and stems[a] in ("shoulder", "hip")
            if along or across:
                pairs.append((a, b))
    return pairs


def _tint(
    base: npt.NDArray[np.uint8], regions: npt.NDArray[np.int64], colours: npt.NDArray[np.uint8]
) -> Pillow.Image:
    """Regions (0 is none) tinted in their colours, with a full line along their edges."""
    covered = (regions > 0)[..., None]
    mixed = 0.45 * base + 0.55 * colours[regions]
    rest = 0.4 * base + 0.5 * base.mean(axis=2, keepdims=True) + 12  # greyer, so that regions stand out
    pixels = np.where(covered, mixed, rest)
    edge = np.zeros(regions.shape, bool)
    reach = max(1, max(regions.shape) // 320)
    for step in range(1, reach + 1):
        for axis in (0, 1):
            differs = regions != np.roll(regions, step, axis)
            (differs[:step] if axis == 0 else differs[:, :step])[...] = False
            edge |= differs | np.roll(differs, -step, axis)
    pixels = np.where((edge & covered[..., 0])[..., None], colours[regions], pixels)
    return Pillow.fromarray(np.rint(pixels).astype(np.uint8))


def _legend(colours: dict[str, Colour]) -> list[Run]:
    """Names on their colours, each kept on one line."""
    runs: list[Run] = []
    for name, colour in colours.items():
        runs += [Run(" "), Run(name.replace(" ", "\u00a0"), colour)]
    return runs[1:]


def _grounded_runs(value: GroundedText, colours: dict[tuple[int, int], Colour]) -> list[Run]:
    """The text with each grounded phrase on the colour of its boxes."""
    runs, at = [], 0
    for (start, end), colour in colours.items():
        runs += [Run(value.text[at:start]), Run(value.text[start:end], colour)]
        at = end
    return [*(run for run in runs if run.text), Run(value.text[at:])]


@lru_cache(maxsize=1)
def _turbo() -> npt.NDArray[np.uint8]:
    """(256, 3): TURBO interpolated."""
    stops = np.array(TURBO, np.float64)
    at = np.linspace(0, len(stops) - 1, 256)
    channels = [np.interp(at, np.arange(len(stops)), stops[:, c]) for c in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
