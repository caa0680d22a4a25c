"""Pictures of the built-in world for the fixtures in `tests/assets/library`, with what is in them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unified.sources.toybox.context import Context
from unified.sources.toybox.draws import Draws
from unified.sources.toybox.language import Layout, captions, full, short
from unified.sources.toybox.render import keypoints
from unified.sources.toybox.scene import View, draw_figure_view
from unified.sources.toybox.world import ACTIONS, COLOURS, JOINTS

LIBRARY = Path(__file__).parents[1] / "assets" / "library"
WIDTH, CUT = 96, 12
"""Pictures are 96 x 84: twelve rows of wall are cut off, so that width and height differ."""


@dataclass
class Item:
    """One thing or figure: its shape (`person` for figures), a phrase, its mask and its box (xyxy)."""

    shape: str
    phrase: str
    mask: np.ndarray
    joints: dict[str, tuple[float, float, int]] = field(default_factory=dict)

    @property
    def box(self) -> list[float]:
        ys, xs = np.nonzero(self.mask)
        return [float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)]


@dataclass
class Picture:
    pixels: np.ndarray
    items: list[Item]
    captions: list[str]
    verb: str = ""

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        return self.pixels.shape[1]

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(self.pixels).save(path, quality=80)


def picture(stream: str, index: int, *, figure: bool = False) -> Picture:
    """Picture `index` of a stream of its own; things are large enough to keep a mask after the cut."""
    rng = Draws(f"library/{stream}", index)
    while True:
        c = Context(rng, held_out=False, size=WIDTH)
        if figure:
            action = rng.pick([a for a in ACTIONS if a in ("wave", "kick", "stand", "run", "jump", "point")])
            colour = rng.pick(tuple(COLOURS))
            item = c.focus(shape="sphere", size="small") if action in ("kick", "point") else None
            view = draw_figure_view(rng, WIDTH, action=action, colour=colour, item=item, extras=[c.look()])
            made = _cut(view, f"the {colour} figure")
            made.verb = {"kick": "kicking", "wave": "waving", "run": "running", "jump": "jumping"}.get(
                action, "standing" if action == "stand" else "pointing"
            )
        else:
            view, layout = c.any_view(2, 4, distinct=True)
            made = _cut(view, "")
        if all(i.mask.sum() >= 40 for i in made.items):
            return made


def _cut(view: View, person: str) -> Picture:
    items = []
    for i, thing in enumerate(view.things):
        phrase = short(thing.look) if i % 2 else full(thing.look)
        items.append(Item(thing.look.shape, f"the {phrase}", view.picture.mask(i)[CUT:]))
    for k in range(len(view.scene.figures)):
        found = keypoints(view.scene, view.picture, k)
        joints = {
            n: (float(x), float(y) - CUT, int(v) if y >= CUT else 0)
            for n, (x, y, v) in zip(JOINTS, found.tolist(), strict=True)
        }
        items.append(Item("person", person, view.picture.mask(len(view.things) + k)[CUT:], joints))
    texts = list(dict.fromkeys(captions(Layout(view.scene))))
    return Picture(np.ascontiguousarray(view.image[CUT:]), items, texts)


def write_json(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, separators=(", ", ": ")))
