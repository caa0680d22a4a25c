"""Text to places in the picture: boxes, points, masks."""

from __future__ import annotations

import numpy as np

from unified.sources.toybox.context import Context, Maker, Row, graph
from unified.sources.toybox.language import (
    RELATIONS,
    Layout,
    a,
    by_attributes,
    listing,
    plural,
    short,
    single_out,
)
from unified.sources.toybox.scene import View
from unified.sources.toybox.world import Look


def detect(c: Context) -> Row:
    view, layout = c.any_view(1, 5)
    looks = layout.looks
    return {
        "image": view.image,
        "boxes": view.picture.boxes,
        "labels": [k.shape for k in looks],
        "names": [short(k) for k in looks],
        "scene": graph(view),
    }


def find_all(c: Context) -> Row:
    """All things of a shape or colour."""
    key = c.rng.pick(("shape", "colour"))

    def looks() -> list[Look]:
        first, *rest = c.looks(2, 5)
        same = [c.look(**{key: getattr(first, key)}) if c.rng.flip(0.4) else k for k in rest]
        return [first, *same]

    view, layout = c.view(looks, lambda layout: layout)
    wanted = getattr(layout.looks[0], key)
    found = [i for i, k in enumerate(layout.looks) if getattr(k, key) == wanted]
    kind = plural(wanted if key == "shape" else f"{wanted} thing")
    return {"image": view.image, "kind": kind, "boxes": view.picture.boxes[found], "scene": graph(view)}


def _referred(c: Context, relations: float = 0.4) -> tuple[View, str]:
    return c.view(lambda: c.looks(2, 5), lambda layout: single_out(c.rng, layout, 0, relations=relations))


def refer(c: Context) -> Row:
    view, phrase = _referred(c)
    return {"image": view.image, "phrase": phrase, "box": view.box(0), "scene": graph(view)}


def refer_mask(c: Context) -> Row:
    view, phrase = _referred(c)
    return {"image": view.image, "phrase": phrase, "mask": view.picture.mask(0), "scene": graph(view)}


def segment_box(c: Context) -> Row:
    view, _ = c.any_view(1, 5)
    return {"image": view.image, "box": view.box(0), "mask": view.picture.mask(0), "scene": graph(view)}


def point(c: Context) -> Row:
    """A point well inside the visible part of the thing."""
    view, phrase = _referred(c)
    rows, cols = np.nonzero(view.picture.mask(0))
    centre = np.array([cols.mean(), rows.mean()])
    nearest = int(((cols - centre[0]) ** 2 + (rows - centre[1]) ** 2).argmin())
    at = np.array([cols[nearest] + 0.5, rows[nearest] + 0.5])
    return {
        "image": view.image,
        "phrase": phrase,
        "point": at,
        "mask": view.picture.mask(0),
        "scene": graph(view),
    }


def phrase_grounding(c: Context) -> Row:
    """A sentence about two or three of the things; each of its phrases with a box."""

    def plan(layout: Layout) -> list[tuple[int, str]] | None:
        told = [0, *c.rng.sample(range(1, len(layout.looks)), c.rng.between(1, 2))]
        phrases = [by_attributes(layout.looks, i) for i in told]
        return [(i, c.rng.pick(p[:3])) for i, p in zip(told, phrases, strict=True)] if all(phrases) else None

    view, told = c.view(lambda: c.looks(2, 5), plan)
    told = c.rng.shuffled(told)
    phrases = [phrase for _, phrase in told]
    caption = c.rng.pick(("the picture shows {}", "there are {}", "{} are in the room"))
    return {
        "image": view.image,
        "caption": caption.format(listing([f"the {p}" for p in phrases])),
        "phrases": phrases,
        "boxes": view.picture.boxes[[i for i, _ in told]],
        "scene": graph(view),
    }


def region_relation(c: Context) -> Row:
    """How the thing in one box stands to the thing in another; the four relations equally often."""
    relation = c.rng.pick(RELATIONS)

    def plan(layout: Layout) -> bool | None:
        """The relation is clear and the other axis does not speak louder."""
        aside = relation in ("left of", "right of")
        other = ("in front of", "behind") if aside else ("left of", "right of")
        clear = layout.related(relation, 0, 1, 1.5) and not any(layout.related(r, 0, 1, 1.2) for r in other)
        return True if clear else None

    view, _ = c.view(lambda: c.looks(2, 4), plan)
    return {
        "image": view.image,
        "subject": view.box(0),
        "object": view.box(1),
        "relation": relation,
        "subject_name": a(short(view.things[0].look)),
        "scene": graph(view),
    }


MAKERS: dict[str, Maker] = {
    "detect": detect,
    "find_all": find_all,
    "refer": refer,
    "refer_mask": refer_mask,
    "segment_box": segment_box,
    "point": point,
    "phrase_grounding": phrase_grounding,
    "region_relation": region_relation,
}
