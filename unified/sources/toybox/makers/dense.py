"""Pictures to maps of the same size: depth, normals, classes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from unified.sources.toybox.context import Context, Maker, Row, graph
from unified.sources.toybox.scene import View, draw_figure_view
from unified.sources.toybox.world import ACTIONS, COLOURS, SHAPES

SHAPE_CLASSES = (*SHAPES, "figure")
COLOUR_CLASSES = tuple(COLOURS)


def peopled_view(c: Context, chance: float = 0.2) -> View:
    """Things, now and then with a figure among them."""
    if not c.rng.flip(chance):
        return c.any_view(1, 5)[0]
    extras = [c.focus(), *(c.look() for _ in range(c.rng.between(0, 1)))]
    action = c.rng.pick([a for a in ACTIONS if a not in ("point", "kick", "sit", "hold")])
    return draw_figure_view(
        c.rng, c.size, action=action, colour=c.rng.pick(COLOUR_CLASSES), item=None, extras=extras
    )


def depth(c: Context) -> Row:
    view = peopled_view(c)
    return {"image": view.image, "depth": view.picture.depth, "scene": graph(view)}


def normals(c: Context) -> Row:
    view = peopled_view(c)
    return {"image": view.image, "normals": view.picture.normals, "scene": graph(view)}


def classes(view: View, numbers: list[int]) -> npt.NDArray[np.int64]:
    """(s, s) map with `numbers[i]` on the pixels of thing or figure i, 0 elsewhere."""
    return np.array([0, *numbers], np.int64)[view.picture.ids]


def by_shape(view: View) -> npt.NDArray[np.int64]:
    figures = [len(SHAPE_CLASSES)] * len(view.scene.figures)
    return classes(view, [SHAPES.index(t.look.shape) + 1 for t in view.things] + figures)


def by_colour(view: View) -> npt.NDArray[np.int64]:
    """A figure has the colour of its shirt."""
    figures = [COLOUR_CLASSES.index(f.colour) + 1 for f in view.scene.figures]
    return classes(view, [COLOUR_CLASSES.index(t.look.colour) + 1 for t in view.things] + figures)


def segmentation_shape(c: Context) -> Row:
    view = peopled_view(c)
    return {"image": view.image, "segmentation": by_shape(view), "scene": graph(view)}


def segmentation_colour(c: Context) -> Row:
    view, _ = c.any_view(1, 5)
    return {"image": view.image, "segmentation": by_colour(view), "scene": graph(view)}


MAKERS: dict[str, Maker] = {
    "depth": depth,
    "normals": normals,
    "segmentation_shape": segmentation_shape,
    "segmentation_colour": segmentation_colour,
}
