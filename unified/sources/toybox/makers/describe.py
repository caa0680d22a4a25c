"""Pictures to text."""

from __future__ import annotations

from unified.sources.toybox.context import Context, Maker, Row, graph
from unified.sources.toybox.language import a, by_relation, captions, full, paragraph, short
from unified.sources.toybox.world import Look
from unified.values.types import Boxes, GroundedText


def caption(c: Context) -> Row:
    view, layout = c.any_view(1, 4)
    told = captions(layout)
    return {"image": view.image, "caption": told[0], "captions": told, "scene": graph(view)}


def describe(c: Context) -> Row:
    view, layout = c.any_view(2, 5)
    return {"image": view.image, "paragraph": paragraph(layout), "scene": graph(view)}


def grounded_caption(c: Context) -> Row:
    """Every thing named on its own, left to right, each phrase with its box."""
    view, layout = c.any_view(1, 4)
    text, spans, order = "", [], layout.left_to_right()
    for k, i in enumerate(order):
        phrase = a(short(layout.looks[i]))
        text += "" if k == 0 else " and " if k == len(order) - 1 else ", "
        spans.append((len(text), len(text) + len(phrase)))
        text += phrase
    grounded = GroundedText(text, tuple(spans), Boxes(view.picture.boxes[order]))
    return {"image": view.image, "caption": grounded, "text": text, "scene": graph(view)}


def classify_object(c: Context) -> Row:
    view, _ = c.any_view(1, 1)
    look = view.things[0].look
    return {
        "image": view.image,
        "label": short(look),
        "shape": look.shape,
        "colour": look.colour,
        "scene": graph(view),
    }


def classify_region(c: Context) -> Row:
    """Every pair equally often, among other things."""
    view, _ = c.any_view(2, 5)
    return {
        "image": view.image,
        "box": view.box(0),
        "label": short(view.things[0].look),
        "scene": graph(view),
    }


def caption_region(c: Context) -> Row:
    """All attributes of the thing in a box, and what it stands beside."""

    def looks() -> list[Look]:
        return c.looks(2, 4)

    view, layout = c.view(looks, lambda layout: layout)
    look = view.things[0].look
    beside = by_relation(layout, 0)
    told = [a(full(look))]
    if beside:
        told.append(f"{a(full(look))} {beside[0].split(' ', 1)[1]}")
    return {
        "image": view.image,
        "box": view.box(0),
        "caption": told[0],
        "captions": told,
        "scene": graph(view),
    }


MAKERS: dict[str, Maker] = {
    "caption": caption,
    "paragraph": describe,
    "grounded_caption": grounded_caption,
    "classify_object": classify_object,
    "classify_region": classify_region,
    "caption_region": caption_region,
}
