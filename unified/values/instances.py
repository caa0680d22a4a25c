"""Pictures of several masks, as the official Unified-IO models read and paint them.

An answered picture shows up to four instances in white, red, green and blue; a picture to be drawn
from masks has a colour, called by its name in the prompt, for each of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from unified.values.types import Image, Mask

INSTANCE_COLOURS = np.array(
    [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)], dtype=np.uint8
)
"""Background, then the colour of each instance."""
BLACK = 30
"""Up to this mean of its channels a pixel is background."""
GREY = 100
"""Below this sum of the channels' distances from their mean a pixel is grey or white: the first instance."""
COLOURED = 40
"""By more than this, red, green or blue differs from the mean where it is an instance's colour."""
SPECK = 10
"""Connected pixels up to this number are no part of an instance."""


def instances(image: Image) -> npt.NDArray[np.int64]:
    """(h, w): which instance a pixel shows, 1 white, 2 red, 3 green, 4 blue, and 0 the background.

    The official rule, which allows for what an image tokenizer blurs. Where the official code lets a
    pixel be of two instances, or looks for specks in the flattened picture, here a pixel is of the
    first, never of a dark one, and specks are connected by their sides.
    """
    pixels = image.pixels.astype(np.float64)
    means = pixels.mean(axis=2)
    offset = np.abs(pixels - means[..., None])
    free = means > BLACK
    strongest = pixels.argmax(axis=2)
    shown = [offset.sum(axis=2) < GREY]
    shown += [(strongest == channel) & (offset[..., channel] > COLOURED) for channel in range(3)]
    out = np.zeros(means.shape, dtype=np.int64)
    for number, mask in enumerate(shown, start=1):
        out[_without_specks(mask & free)] = number
        free &= ~mask
    return out


def _without_specks(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    from scipy import ndimage

    parts, _ = ndimage.label(mask)
    large = np.bincount(parts.ravel()) > SPECK
    large[0] = False
    return large[parts]


PAINTS: dict[str, tuple[int, int, int]] = {
    "white": (255, 255, 255), "red": (255, 0, 0), "lime": (0, 255, 0), "blue": (0, 0, 255),
    "gray": (128, 128, 128), "fuchsia": (255, 0, 255), "yellow": (255, 255, 0), "aqua": (0, 255, 255),
    "silver": (192, 192, 192), "maroon": (128, 0, 0), "olive": (128, 128, 0), "green": (0, 128, 0),
    "teal": (0, 128, 128), "navy": (0, 0, 128), "purple": (128, 0, 128),
}  # fmt: skip
"""The official colours by name. The official list has white twice, and paints its first white red."""


def colour_map(masks: Sequence[Mask], labels: Sequence[str]) -> tuple[Image, str]:
    """The picture of masks of one size, later ones over earlier ones on black, and its words
    `label : colour , label : colour`, for segmentation-based generation.

    Raises ValueError for no masks, more than there are colours, or not one label a mask.
    """
    if not 0 < len(masks) <= len(PAINTS) or len(labels) != len(masks):
        raise ValueError(
            f"{len(masks)} masks and {len(labels)} labels; there must be as many, 1 to {len(PAINTS)}"
        )
    width, height = masks[0].size
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    for mask, colour in zip(masks, PAINTS.values(), strict=False):
        pixels[mask.array] = colour
    named = zip(labels, PAINTS, strict=False)
    return Image(pixels), " , ".join(f"{label} : {name}" for label, name in named).lower()
