"""Scenes from draws: which things there are, and where they stand so that all can be seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unified.sources.toybox.draws import Draws
from unified.sources.toybox.figures import item_for, make_figure, make_mood
from unified.sources.toybox.render import Rendering, outline, render
from unified.sources.toybox.world import (
    HELD_OUT,
    MATERIALS,
    PAIRS,
    SIZES,
    TRAIN_PAIRS,
    Camera,
    Figure,
    Look,
    Scene,
    Thing,
)

NEAR, DEEP = 3.2, 6.6
"""Metres ahead of the camera between which things stand."""
MIN_SEEN = 0.6
"""Least visible share of every thing."""
MIN_SIDE = 0.11
"""Least side of a visible box in picture widths."""


@dataclass(frozen=True)
class View:
    """A scene and what the camera makes of it."""

    scene: Scene
    picture: Rendering

    @property
    def image(self) -> npt.NDArray[np.uint8]:
        return self.picture.image

    @property
    def things(self) -> tuple[Thing, ...]:
        return self.scene.things

    @property
    def size(self) -> int:
        return len(self.picture.image)

    def box(self, index: int) -> npt.NDArray[np.float64]:
        """(4,) xyxy of a thing or figure."""
        return self.picture.boxes[index]

    def distance(self, index: int) -> float:
        """Depth in metres of a thing's centre."""
        thing = self.things[index]
        return self.scene.camera.to_camera((thing.x, thing.base + thing.height / 2, thing.z))[2]


def draw_camera(rng: Draws) -> Camera:
    return Camera(rng.uniform(3.95, 4.25), math.radians(rng.uniform(30.5, 33.0)), rng.uniform(1.12, 1.18))


def draw_room(rng: Draws, things: Sequence[Thing], camera: Camera, figures: Sequence[Figure] = ()) -> Scene:
    """A scene of given things under a slightly varying light and floor."""
    side, ahead = rng.uniform(-0.75, -0.25), rng.uniform(0.4, 0.7)
    n = math.sqrt(side * side + 0.7 + ahead * ahead)
    tone, tint = rng.uniform(-0.04, 0.04), rng.uniform(-0.02, 0.02)
    return Scene(
        tuple(things),
        tuple(figures),
        camera,
        (side / n, math.sqrt(0.7) / n, -ahead / n),
        floor=(0.55 + tone + tint, 0.52 + tone, 0.49 + tone - tint),
    )


def draw_look(
    rng: Draws,
    held_out: bool | None = False,
    *,
    colour: str | None = None,
    shape: str | None = None,
    size: str | None = None,
    material: str | None = None,
) -> Look:
    """A look with the given attributes. `held_out`: False for the pairs of training, True for the
    held-out ones, None for all. Colour and shape are uniform as far as the pairs allow."""
    pairs = {False: TRAIN_PAIRS, True: HELD_OUT, None: PAIRS}[held_out]
    if colour is None and shape is None:
        colour, shape = rng.pick(pairs)
    elif colour is None:
        colour = rng.pick([c for c, s in pairs if s == shape])
    elif shape is None:
        shape = rng.pick([s for c, s in pairs if c == colour])
    assert shape is not None
    return Look(colour, shape, size or rng.pick(tuple(SIZES)), material or rng.pick(MATERIALS))


def place(
    rng: Draws,
    looks: Sequence[Look],
    camera: Camera,
    taken: Sequence[Thing] = (),
    span: tuple[float, float] = (0.01, 0.99),
) -> list[Thing] | None:
    """Positions for `looks`, none in another's way, inside the columns `span` of the picture (in
    widths); None if the draws did not fit."""
    boxes = [outline(t, camera, 1) for t in taken]
    feet = [(t.x, t.z, t.reach) for t in taken]
    order = sorted(range(len(looks)), key=lambda i: -SIZES[looks[i].size])
    spots: dict[int, Thing] = {}
    for i in order:
        reach = Thing(looks[i], 0.0, 0.0).reach
        for _ in range(25):
            z = rng.uniform(NEAR, DEEP)
            wide = camera.to_camera((0.0, 0.4, z))[2] / camera.focal
            x = rng.uniform((span[0] - 0.5) * wide + reach, (span[1] - 0.5) * wide - reach)
            yaw = rng.uniform(0.0, math.pi / 2)
            if any((a - x) ** 2 + (b - z) ** 2 < (r + reach + 0.05) ** 2 for a, b, r in feet):
                continue
            thing = Thing(looks[i], x, z, yaw)
            box = outline(thing, camera, 1)
            if box[0] < span[0] or box[2] > span[1] or box[1] < 0.01 or box[3] > 0.99:
                continue
            if all(_hidden(box, z, other, foot[1]) < 0.4 for other, foot in zip(boxes, feet, strict=True)):
                spots[i] = thing
                feet.append((x, z, reach))
                boxes.append(box)
                break
        else:
            return None
    return [spots[i] for i in range(len(looks))]


Box = tuple[float, float, float, float]


def _hidden(a: Box, a_z: float, b: Box, b_z: float) -> float:
    """Share of the farther box that the nearer one may hide."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0.0 or h <= 0.0:
        return 0.0
    far = a if a_z > b_z else b
    return w * h / ((far[2] - far[0]) * (far[3] - far[1]))


def readable(picture: Rendering) -> bool:
    """Whether every thing is big enough and seen well enough."""
    least = MIN_SIDE * len(picture.ids)
    return all(
        seen >= MIN_SEEN * area and seen > 0 and min(b[2] - b[0], b[3] - b[1]) >= least
        for seen, area, b in zip(picture.seen, picture.area, picture.boxes, strict=True)
    )


def draw_scene(rng: Draws, looks: Sequence[Look], span: tuple[float, float] = (0.01, 0.99)) -> Scene | None:
    """Things that look like `looks`, in their order, in a room; None if the draws did not fit."""
    camera = draw_camera(rng)
    things = place(rng, looks, camera, span=span)
    return None if things is None else draw_room(rng, things, camera)


def draw_figure_view(
    rng: Draws,
    size: int,
    *,
    action: str,
    colour: str,
    item: Look | None,
    extras: Sequence[Look] = (),
    mood: float | None = None,
) -> View:
    """A readable scene with one figure; its item, if any, is thing 0 and `extras` follow.

    Of a figure all joints are in the picture; a thing may hide part of it.
    """
    while True:
        camera = draw_camera(rng)
        # What is held up stays in the picture only near the camera, which looks down.
        x, z = rng.uniform(-1.0, 1.0), rng.uniform(3.2, 4.0) if action == "hold" else rng.uniform(3.6, 4.9)
        things: list[Thing] = []
        if mood is not None:
            figure = make_mood(rng, colour, x, z, mood)
        elif action == "sit" and item is not None:
            seat = Thing(item, x, z, rng.uniform(0.0, 1.5))
            figure = make_figure(rng, action, colour, x, z, seat=seat.height, item=0)
            back = 0.25 * seat.reach  # sits towards the front edge
            things = [Thing(item, x - back * figure.forward[0], z - back * figure.forward[2], seat.yaw)]
        else:
            figure = make_figure(rng, action, colour, x, z, item=None if item is None else 0)
            things = [item_for(figure, item, rng)] if item is not None else []
        if any(_outside(outline(t, camera, 1)) for t in things):
            continue
        body = Thing(Look("white", "cylinder", "small", "matte"), x, z)  # keeps the figure's place free
        more = place(rng, extras, camera, [*things, body])
        if more is None:
            continue
        scene = draw_room(rng, [*things, *more], camera, [figure])
        if any(
            _outside((px, py, px, py)) for px, py in (camera.project(p, 1) for p in figure.joints.values())
        ):
            continue
        picture = render(scene, size)
        seen = [s / a for s, a in zip(picture.seen, picture.area, strict=True) if a]
        if (
            len(seen) == len(picture.seen)
            and seen[-1] > 0.75
            and all(s > MIN_SEEN for s in seen[len(things) : -1])
        ):
            if things and (seen[0] < (0.3 if action == "sit" else MIN_SEEN)):
                continue
            return View(scene, picture)


def _outside(box: Box) -> bool:
    return box[0] < 0.02 or box[1] < 0.02 or box[2] > 0.98 or box[3] > 0.98
