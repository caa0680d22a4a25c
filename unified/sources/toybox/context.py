"""What a row maker works with: draws, and scenes of its split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from unified.sources.toybox.draws import Draws
from unified.sources.toybox.language import Layout
from unified.sources.toybox.render import render
from unified.sources.toybox.scene import View, draw_look, draw_scene, readable
from unified.sources.toybox.world import HELD_OUT, TRAIN_PAIRS, Look, Scene

P = TypeVar("P")
Row = dict[str, Any]


@dataclass(frozen=True)
class Context:
    """The draws of one row. `held_out`: whether the row must be about a held-out colour-shape pair."""

    rng: Draws
    held_out: bool
    size: int = 64
    max_things: int = 5

    def look(self, **fixed: str) -> Look:
        """Any thing that this split may show beside the one a row is about."""
        return draw_look(self.rng, None if self.held_out else False, **fixed)

    def focus(self, **fixed: str) -> Look:
        """The thing that a row is about: always of a held-out pair in the split of that name.

        A `fixed` attribute that no such pair has is an error of the caller.
        """
        return draw_look(self.rng, self.held_out, **fixed)

    def allowed(self, colour: str, shape: str) -> bool:
        """Whether this split may show or name the pair."""
        return self.held_out or (colour, shape) not in HELD_OUT

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Pairs that a row may be about."""
        return HELD_OUT if self.held_out else TRAIN_PAIRS

    def count(self, low: int = 1, high: int = 5) -> int:
        """A number of things."""
        high = max(min(high, self.max_things), low)
        return self.rng.between(low, high)

    def looks(self, low: int = 1, high: int = 5, distinct: bool = False) -> list[Look]:
        """The focus, then others; with `distinct` no two share colour and shape."""
        out = [self.focus()]
        for _ in range(self.count(low, high) - 1):
            look = self.look()
            while distinct and any(o.colour == look.colour and o.shape == look.shape for o in out):
                look = self.look()
            out.append(look)
        return out

    def scene(
        self, looks: Callable[[], Sequence[Look]], plan: Callable[[Layout], P | None]
    ) -> tuple[Scene, P]:
        """Draws scenes until one fits and `plan` finds what it looks for in it."""
        while True:
            scene = draw_scene(self.rng, looks())
            if scene is not None and (found := plan(Layout(scene))) is not None:
                return scene, found

    def view(
        self,
        looks: Callable[[], Sequence[Look]],
        plan: Callable[[Layout], P | None],
        span: tuple[float, float] = (0.01, 0.99),
    ) -> tuple[View, P]:
        """The same, drawn and readable. Nothing is drawn before the plan has agreed."""
        while True:
            scene = draw_scene(self.rng, looks(), span)
            if scene is None or (found := plan(Layout(scene))) is None:
                continue
            picture = render(scene, self.size)
            if readable(picture):
                return View(scene, picture), found

    def any_view(self, low: int = 1, high: int = 5, distinct: bool = False) -> tuple[View, Layout]:
        return self.view(lambda: self.looks(low, high, distinct), lambda layout: layout)


def graph(view: View) -> dict[str, Any]:
    """The scene graph as plain data: what stands where, in the world, in the camera's and in the picture."""
    camera, size = view.scene.camera, view.size
    things, figures = [], []
    for i, thing in enumerate(view.things):
        middle = (thing.x, thing.base + thing.height / 2, thing.z)
        things.append(
            {
                **thing.look._asdict(),
                "position": middle,
                "camera": camera.to_camera(middle),
                "box": view.box(i).tolist(),
            }
        )
    for k, figure in enumerate(view.scene.figures):
        figures.append(
            {
                "colour": figure.colour,
                "action": figure.action,
                "item": figure.item,
                "mood": figure.mood,
                "joints": {n: camera.project(p, size) for n, p in figure.joints.items()},
                "box": view.box(len(view.things) + k).tolist(),
            }
        )
    return {"things": things, "figures": figures}


Maker = Callable[[Context], Row]
