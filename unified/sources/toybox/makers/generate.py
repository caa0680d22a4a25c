"""Text, maps and pictures to pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from unified.sources.toybox.context import Context, Maker, Row, graph
from unified.sources.toybox.language import Layout, a, full, placed, short, single_out
from unified.sources.toybox.makers.dense import by_colour
from unified.sources.toybox.render import outline, render
from unified.sources.toybox.scene import View, readable
from unified.sources.toybox.world import COLOURS, DEPTH_RANGE, MATERIALS, SHAPES, Scene, Thing
from unified.values.dense import to_image
from unified.values.types import Depth

BLANK = 0
"""Level of the pixels to be filled in; nothing in the world is black."""


def text_to_image(c: Context) -> Row:
    """The text tells size, colour, shape and rough place of every thing."""
    view, layout = c.any_view(1, 3)
    return {"text": placed(layout), "image": view.image, "scene": graph(view)}


def segmentation_to_image(c: Context) -> Row:
    """From the map of colours; the shapes are those of its patches."""
    view, _ = c.any_view(1, 4)
    return {"segmentation": by_colour(view), "image": view.image, "scene": graph(view)}


def depth_to_image(c: Context) -> Row:
    """`depth_image` is the depth map in grey; the text tells the colours from left to right."""
    view, layout = c.any_view(1, 3)
    grey = to_image(Depth(view.picture.depth.astype(np.float64)), value_range=DEPTH_RANGE).pixels
    text = " and ".join(a(short(layout.looks[i])) for i in layout.left_to_right())
    return {"depth_image": grey, "text": text, "image": view.image, "scene": graph(view)}


def inpaint(c: Context) -> Row:
    """A black box covers one thing; the text tells which. The target is the whole picture."""
    view, _ = c.any_view(1, 4)
    box, size = view.box(0), view.size
    x1, y1, x2, y2 = (max(int(box[0]) - 2, 0), max(int(box[1]) - 2, 0), int(box[2]) + 2, int(box[3]) + 2)
    blank = view.image.copy()
    blank[y1:y2, x1:x2] = BLANK
    hole = np.array([x1, y1, min(x2, size), min(y2, size)], np.float64)
    return {
        "image": blank,
        "target_image": view.image,
        "box": hole,
        "phrase": a(full(view.things[0].look)),
        "scene": graph(view),
    }


def edit(c: Context) -> Row:
    """One thing is changed or taken away; nothing else moves, the light stays."""
    rng = c.rng
    kind = rng.pick(("colour", "colour", "shape", "material", "remove", "add"))
    while True:
        view, phrase = c.view(
            lambda: c.looks(1, 3),
            lambda layout: (
                single_out(rng, layout, 0, relations=0.15)
                if len(layout.looks) > 1
                else short(layout.looks[0])
            ),
        )
        things, look = list(view.things), view.things[0].look
        if kind == "remove":
            instruction = rng.pick((f"remove the {phrase}", f"take away the {phrase}"))
            del things[0]
        elif kind == "add":
            instruction = f"add {a(short(look))} {Layout(view.scene).place(0)}"
            after, before = view, _without_first(view)
            return _edited(before, after, instruction)
        else:
            key, values = {
                "colour": ("colour", tuple(COLOURS)),
                "shape": ("shape", SHAPES),
                "material": ("material", MATERIALS),
            }[kind]
            value = rng.pick([v for v in values if v != getattr(look, key)])
            new = look._replace(**{key: value})
            if not c.allowed(new.colour, new.shape):
                continue
            things[0] = replace(things[0], look=new)
            box = outline(things[0], view.scene.camera, 1)
            if min(box) < 0.0 or max(box) > 1.0:
                continue
            instruction = {
                "colour": rng.pick((f"make the {phrase} {value}", f"paint the {phrase} {value}")),
                "shape": f"turn the {phrase} into a {value}",
                "material": f"make the {phrase} {value}",
            }[kind]
        after = _redrawn(view.scene, things, view.size)
        if readable(after.picture):
            return _edited(view, after, instruction)


def _redrawn(scene: Scene, things: list[Thing], size: int) -> View:
    changed = replace(scene, things=tuple(things))
    return View(changed, render(changed, size))


def _without_first(view: View) -> View:
    return _redrawn(view.scene, list(view.things[1:]), view.size)


def _edited(before: View, after: View, instruction: str) -> Row:
    return {
        "image": before.image,
        "target_image": after.image,
        "instruction": instruction,
        "scene": graph(before),
        "scene_after": graph(after),
    }


def next_frame(c: Context) -> Row:
    """One thing moves evenly; the target is the third picture."""
    rng = c.rng
    while True:
        view, _ = c.any_view(1, 2)
        step = rng.pick(((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)))
        pace = rng.uniform(0.5, 0.85)
        thing, rest = view.things[0], list(view.things[1:])
        views = [view]
        for k in (1, 2):
            moved = replace(thing, x=thing.x + k * pace * step[0], z=thing.z + k * pace * step[1])
            box = outline(moved, view.scene.camera, 1)
            near = any(
                (t.x - moved.x) ** 2 + (t.z - moved.z) ** 2 < (t.reach + moved.reach) ** 2 for t in rest
            )
            if min(box) < 0.0 or max(box) > 1.0 or near or not 3.0 < moved.z < 7.0:
                break
            views.append(_redrawn(view.scene, [moved, *rest], view.size))
        if len(views) == 3 and all(readable(v.picture) for v in views):
            return {
                "image_1": views[0].image,
                "image_2": views[1].image,
                "target_image": views[2].image,
                "scene": graph(views[0]),
                "scene_after": graph(views[2]),
            }


MAKERS: dict[str, Maker] = {
    "text_to_image": text_to_image,
    "segmentation_to_image": segmentation_to_image,
    "depth_to_image": depth_to_image,
    "inpaint": inpaint,
    "edit": edit,
    "next_frame": next_frame,
}
