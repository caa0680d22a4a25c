"""Statements about one picture or several, and frame sequences."""

from __future__ import annotations

from dataclasses import replace

from unified.sources.toybox.context import Context, Maker, Row, graph
from unified.sources.toybox.language import NUMBERS, Layout, a, listing, plural, short
from unified.sources.toybox.render import outline, render
from unified.sources.toybox.scene import View, readable
from unified.sources.toybox.world import COLOURS, SHAPES, Look, Scene, Thing

# --------------------------------------------------------------------------------- two pictures


def pair_statement(c: Context) -> Row:
    """True or false of a left and a right picture."""
    rng, true = c.rng, c.rng.flip()
    kind = rng.pick(("more", "both", "only", "total"))
    while True:
        left, right = c.looks(1, 3), c.looks(1, 3)
        if rng.flip():
            right = [left[0]._replace(size=right[0].size), *right[1:]]  # a pair in common makes `both` likely
        statement = _pair_statement(c, kind, left, right, true)
        if statement is not None:
            break
    first, _ = c.view(lambda: left, lambda layout: layout)
    second, _ = c.view(lambda: right, lambda layout: layout)
    return {
        "image_1": first.image,
        "image_2": second.image,
        "statement": statement,
        "answer": "true" if true else "false",
        "scene": graph(first),
        "scene_2": graph(second),
    }


def _pair_statement(c: Context, kind: str, left: list[Look], right: list[Look], true: bool) -> str | None:
    """A statement of some kind that is `true` or not; None if these looks give none."""
    rng = c.rng
    thing = rng.pick([*left, *right])
    if kind == "more":
        shape = rng.pick((*SHAPES, "thing"))
        counts = [sum(shape in (k.shape, "thing") for k in side) for side in (left, right)]
        if counts[0] == counts[1]:
            return None
        more, less = ("left", "right") if (counts[0] > counts[1]) == true else ("right", "left")
        return f"the {more} picture has more {plural(shape)} than the {less} one"
    if kind == "total":
        shape = thing.shape
        total = sum(k.shape == shape for k in (*left, *right))
        told = total if true else rng.pick([n for n in range(1, 7) if abs(n - total) == 1])
        if told == 1:
            return f"the two pictures together show one {shape}"
        return f"the two pictures together show {NUMBERS[told]} {plural(shape)}"
    phrase, fits = rng.pick(
        ((short(thing), lambda k: short(k) == short(thing)), (thing.shape, lambda k: k.shape == thing.shape))
    )
    has = [any(fits(k) for k in side) for side in (left, right)]
    if kind == "both":
        return f"both pictures show {a(phrase)}" if all(has) == true else None
    return f"only one picture shows {a(phrase)}" if (has[0] != has[1]) == true else None


# ----------------------------------------------------------------------------------- entailment


def entailment(c: Context) -> Row:
    """Does the picture say so? Behind a curtain there may be what is not seen."""
    rng = c.rng
    label = rng.pick(("yes", "no", "maybe"))
    every = rng.flip()
    curtain = label == "maybe" or (rng.flip() if label == "yes" or every else False)
    if every and label == "yes":
        curtain = False
    span = (0.01, 0.99)
    if curtain:
        width = rng.uniform(0.3, 0.4)
        span = (width + 0.01, 0.99) if rng.flip() else (0.01, 0.99 - width)
    focus = c.focus()

    def looks() -> list[Look]:
        more = [c.look() for _ in range(c.count(1, 3))]
        if not every:
            more = [k for k in more if short(k) != short(focus)] or [c.look()]
            return [focus, *more] if label == "yes" else more
        kept = [k for k in more if k.shape != focus.shape]
        if label == "no":
            other = rng.pick([col for col in COLOURS if col != focus.colour and c.allowed(col, focus.shape)])
            kept.insert(0, focus._replace(colour=other))
        twin = [c.look(colour=focus.colour, shape=focus.shape)] if rng.flip(0.4) else []
        return [focus, *kept[:1], *twin, *kept[1:]][:4] if label != "no" or rng.flip() else kept[:4]

    def plan(layout: Layout) -> bool | None:
        return (
            None
            if not every and label != "yes" and any(short(k) == short(focus) for k in layout.looks)
            else True
        )

    view, _ = c.view(looks, plan, span)
    image = view.image
    if curtain:
        image = image.copy()
        edge = round((span[0] if span[0] > 0.1 else span[1]) * c.size)
        hidden = image[:, :edge] if span[0] > 0.1 else image[:, edge:]
        hidden[:] = (96, 60, 44)
        hidden[:, ::4] = (78, 46, 34)
    text = (
        f"every {focus.shape} in the room is {focus.colour}"
        if every
        else f"there is {a(short(focus))} in the room"
    )
    return {"image": image, "statement": text, "answer": label, "curtain": curtain, "scene": graph(view)}


# ------------------------------------------------------------------------------------ sequences

Frames = list[View]
Event = tuple[str, str, str]
"""Kind, the thing's name, detail (a direction or a colour)."""


def told(event: Event) -> str:
    kind, thing, detail = event
    return {
        "move": f"the {thing} moves {detail}",
        "vanish": f"the {thing} disappears",
        "appear": f"{a(thing)} appears",
        "paint": f"the {thing} turns {detail}",
    }[kind]


STEPS = {
    "to the left": (-1.0, 0.0),
    "to the right": (1.0, 0.0),
    "to the back": (0.0, 1.0),
    "to the front": (0.0, -1.0),
}


def frames(c: Context, events: int = 2) -> tuple[Frames, list[Event]]:
    """A scene and what happens to it: after each event there is a new picture, all readable."""
    while True:
        view, _ = c.view(lambda: c.looks(2, 3, distinct=True), lambda layout: layout)
        views, happened = [view], []
        for _ in range(events):
            for _ in range(8):
                step = _step(c, views[-1].scene)
                if step is not None and readable(picture := render(step[0], c.size)):
                    views.append(View(step[0], picture))
                    happened.append(step[1])
                    break
            else:
                break
        if len(happened) == events:
            return views, happened


def _step(c: Context, scene: Scene) -> tuple[Scene, Event] | None:
    """The scene after something happened to one thing; None if what was drawn cannot be shown."""
    rng, things = c.rng, list(scene.things)
    kind = rng.pick(("move", "move", "vanish", "appear", "paint"))
    i = rng.below(len(things))
    thing = things[i]
    if kind == "vanish":
        if len(things) < 2:
            return None
        del things[i]
        return replace(scene, things=tuple(things)), ("vanish", short(thing.look), "")
    if kind == "paint":
        taken = [short(t.look) for t in things]
        colours = [
            k for k in COLOURS if c.allowed(k, thing.look.shape) and f"{k} {thing.look.shape}" not in taken
        ]
        colour = rng.pick(colours)
        things[i] = replace(thing, look=thing.look._replace(colour=colour))
        return replace(scene, things=tuple(things)), ("paint", short(thing.look), colour)
    if kind == "move":
        way = rng.pick(tuple(STEPS))
        dx, dz = STEPS[way]
        pace = rng.uniform(1.0, 1.8)
        new = replace(thing, x=thing.x + pace * dx, z=thing.z + pace * dz)
        rest = things[:i] + things[i + 1 :]
        event = ("move", short(thing.look), way)
        things[i] = new
    else:
        new = Thing(c.look(), rng.uniform(-2.0, 2.0), rng.uniform(3.4, 6.4), rng.uniform(0.0, 1.5))
        if len(things) > 3 or any(short(t.look) == short(new.look) for t in things):
            return None
        rest, event = things, ("appear", short(new.look), "")
        things = [*things, new]
    box = outline(new, scene.camera, 1)
    near = any((t.x - new.x) ** 2 + (t.z - new.z) ** 2 < (t.reach + new.reach) ** 2 for t in rest)
    if min(box) < 0.01 or max(box) > 0.99 or near or not 3.0 < new.z < 6.8:
        return None
    return replace(scene, things=tuple(things)), event


def _row(views: Frames) -> Row:
    return {f"image_{k + 1}": v.image for k, v in enumerate(views)} | {"scenes": [graph(v) for v in views]}


def story(c: Context) -> Row:
    views, events = frames(c)
    looks = Layout(views[0].scene)
    first = listing([a(short(looks.looks[i])) for i in looks.left_to_right()])
    text = f"first there are {first}. then {told(events[0])}. in the end {told(events[1])}."
    return {**_row(views), "story": text, "events": [list(e) for e in events]}


def frames_statement(c: Context) -> Row:
    """A statement about what happens; a false one differs from an event in one word."""
    rng, true = c.rng, c.rng.flip()
    views, events = frames(c)
    event = rng.pick(events)
    while not true:
        kind, thing, detail = event
        names = {short(t.look) for v in views for t in v.things}
        what = rng.pick(("thing", "detail", "kind"))
        if what == "thing":
            thing = rng.pick(sorted(names))
        elif what == "detail" and kind == "move":
            detail = rng.pick(tuple(STEPS))
        elif what == "detail" and kind == "paint":
            detail = rng.pick([k for k in COLOURS if c.allowed(k, thing.split()[1])])
        elif what == "kind":
            kind = rng.pick(("move", "vanish", "appear", "paint"))
            detail = (
                rng.pick(tuple(STEPS))
                if kind == "move"
                else rng.pick(tuple(COLOURS))
                if kind == "paint"
                else ""
            )
        wrong = (kind, thing, detail)
        painted_same = kind == "paint" and thing.split()[0] == detail
        legal = kind != "paint" or c.allowed(detail, thing.split()[1])
        if wrong not in events and not painted_same and legal:
            event = wrong
            break
    return {
        **_row(views),
        "statement": told(event),
        "answer": "true" if true else "false",
        "events": [list(e) for e in events],
    }


MAKERS: dict[str, Maker] = {
    "pair_statement": pair_statement,
    "entailment": entailment,
    "story": story,
    "frames_statement": frames_statement,
}
