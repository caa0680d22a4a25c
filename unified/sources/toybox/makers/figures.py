"""Pictures of a figure that does something; numbers read from a picture."""

from __future__ import annotations

import numpy as np

from unified.sources.toybox.context import Context, Maker, Row, graph
from unified.sources.toybox.language import a, short, single_out
from unified.sources.toybox.render import keypoints as joints_in
from unified.sources.toybox.scene import View, draw_figure_view
from unified.sources.toybox.world import ACTIONS, COLOURS, HELD_OUT, JOINTS, Look
from unified.values.types import Keypoints

WITH_ITEM = ("point", "kick", "sit", "hold")
PHRASES = {
    "wave": "waves",
    "point": "points at {}",
    "kick": "kicks {}",
    "sit": "sits on {}",
    "jump": "jumps",
    "hold": "holds {}",
    "run": "runs",
    "stand": "stands",
}


def _acting(c: Context, extras: int = 1) -> View:
    """All actions equally often. The item is of a held-out pair where the split asks for one and the
    action can be done with it, else another thing of such a pair stands by."""
    rng = c.rng
    action, colour = rng.pick(ACTIONS), rng.pick(tuple(COLOURS))
    item, others = None, [c.look() for _ in range(rng.between(0, extras))]
    if action in WITH_ITEM:
        item = _item(c, action)
    if c.held_out and (item is None or (item.colour, item.shape) not in HELD_OUT):
        others = [c.focus()]
    return draw_figure_view(rng, c.size, action=action, colour=colour, item=item, extras=others)


def _item(c: Context, action: str) -> Look:
    if action == "sit":
        return c.focus(shape=c.rng.pick(("cube", "cylinder")), size="small")
    if action == "kick":
        return c.focus(shape="sphere", size="small")
    return c.focus(size="small")


def _row(view: View, **more: object) -> Row:
    return {"image": view.image, **more, "scene": graph(view)}


def keypoints(c: Context) -> Row:
    view = _acting(c)
    found, area = joints_in(view.scene, view.picture, 0)[None], np.array([float(view.picture.seen[-1])])
    value = Keypoints(found[..., :2], found[..., 2].astype(np.int64), JOINTS, area)
    return _row(view, keypoints=value, box=view.box(len(view.things)))


def action(c: Context) -> Row:
    view = _acting(c)
    return _row(view, action=view.scene.figures[0].action)


def roles(c: Context) -> Row:
    """Who does what with what."""
    view = _acting(c)
    figure = view.scene.figures[0]
    item = "nothing" if figure.item is None else short(view.things[figure.item].look)
    return _row(view, verb=figure.action, agent=f"{figure.colour} figure", item=item)


def caption_action(c: Context) -> Row:
    view = _acting(c)
    figure = view.scene.figures[0]
    item = "" if figure.item is None else a(short(view.things[figure.item].look))
    did = PHRASES[figure.action].format(item)
    who = a(f"{figure.colour} figure")
    return _row(view, caption=f"{who} {did}", captions=[f"{who} {did}", f"in the picture {who} {did}"])


def mood(c: Context) -> Row:
    """How happy a figure is, -3 to 3: the higher the arms the happier."""
    value = round(c.rng.uniform(-3.0, 3.0), 1) + 0.0  # no minus zero
    extras = [c.focus()] if c.held_out or c.rng.flip() else []
    view = draw_figure_view(
        c.rng, c.size, action="stand", colour=c.rng.pick(tuple(COLOURS)), item=None, extras=extras, mood=value
    )
    return _row(view, mood=value)


def distance(c: Context) -> Row:
    """How far, in metres along the viewing axis, a thing's middle is."""
    view, phrase = c.view(lambda: c.looks(1, 4), lambda layout: single_out(c.rng, layout, 0, relations=0.2))
    return _row(view, phrase=phrase, distance=round(view.distance(0), 1))


MAKERS: dict[str, Maker] = {
    "keypoints": keypoints,
    "action": action,
    "roles": roles,
    "caption_action": caption_action,
    "mood": mood,
    "distance": distance,
}
