"""Questions about one picture."""

from __future__ import annotations

from unified.sources.toybox.context import Context, Maker, Row, graph
from unified.sources.toybox.language import (
    RELATIONS,
    Layout,
    a,
    by_attributes,
    name,
    plural,
    short,
    single_out,
)
from unified.sources.toybox.scene import View
from unified.sources.toybox.world import COLOURS, MATERIALS, SHAPES, SIZES, Look

VALUES = {"colour": tuple(COLOURS), "shape": SHAPES, "size": tuple(SIZES), "material": MATERIALS}


def asked(view: View, question: str, answer: str, **more: object) -> Row:
    return {"image": view.image, "question": question, "answer": answer, "scene": graph(view), **more}


def vqa_count(c: Context) -> Row:
    """How many things of a kind there are: 1 to 5, all equally often."""
    rng, n = c.rng, c.count(1, 5)
    keys = rng.pick((("shape",), ("colour",), ("size",), ("material",), ("colour", "shape"), ()))
    model = c.focus()

    def looks() -> list[Look]:
        wanted = {k: getattr(model, k) for k in keys}
        out = [model] + [c.look(**wanted) for _ in range(n - 1)]
        for _ in range(rng.between(0, 5 - n) if keys else 0):
            other = c.look()
            while all(getattr(other, k) == v for k, v in wanted.items()):
                other = c.look()
            out.append(other)
        return out

    view, _ = c.view(looks, lambda layout: layout)
    words = [getattr(model, k) for k in ("size", "material", "colour") if k in keys]
    kind = plural(" ".join([*words, model.shape if "shape" in keys else "thing"]))
    question = rng.pick(
        (f"how many {kind} are there?", f"how many {kind} are in the room?", f"what is the number of {kind}?")
    )
    return asked(view, question, str(n))


def _values(c: Context, key: str) -> list[str]:
    """The values of an attribute that a thing may have which a row is about."""
    return [v for v in VALUES[key] if key not in ("colour", "shape") or any(v in pair for pair in c.pairs)]


def _attribute(c: Context, key: str, questions: tuple[str, ...]) -> Row:
    """A question for one attribute of a thing that is singled out without naming it."""
    value = c.rng.pick(_values(c, key))
    view, phrase = c.view(
        lambda: [c.focus(**{key: value}), *(c.look() for _ in range(c.count(1, 5) - 1))],
        lambda layout: single_out(c.rng, layout, 0, hide=(key,)) if len(layout.looks) > 1 else "thing",
    )
    return asked(view, c.rng.pick(questions).format(phrase), value)


def vqa_colour(c: Context) -> Row:
    return _attribute(
        c, "colour", ("what colour is the {}?", "what is the colour of the {}?", "which colour is the {}?")
    )


def vqa_shape(c: Context) -> Row:
    return _attribute(
        c, "shape", ("what shape is the {}?", "what is the shape of the {}?", "which shape is the {}?")
    )


def vqa_material(c: Context) -> Row:
    return _attribute(
        c, "material", ("is the {} matte or shiny?", "is the surface of the {} shiny or matte?")
    )


def vqa_exist(c: Context) -> Row:
    """Half of the questions name something present; the others differ from what is there by little."""
    rng, yes = c.rng, c.rng.flip()
    keys = rng.pick(
        (
            ("colour", "shape"),
            ("colour", "shape"),
            ("size", "shape"),
            ("material", "shape"),
            ("shape",),
            ("colour",),
            ("size", "colour", "shape"),
        )
    )
    asked_for = c.focus()

    def looks() -> list[Look]:
        n = c.count(2, 5)
        out = [asked_for] if yes else []
        if not yes and len(keys) > 1:
            # A trap or two: things that share all but one of the attributes asked for.
            for key in rng.sample(keys, 2):
                kept = {k: getattr(asked_for, k) for k in keys if k != key}
                if {"colour", "shape"} <= kept.keys() and not c.allowed(kept["colour"], kept["shape"]):
                    continue
                out.append(c.look(**kept))
        while len(out) < n:
            out.append(c.look())
        if yes:
            return out
        return [
            look for look in out if any(getattr(look, k) != getattr(asked_for, k) for k in keys)
        ] or looks()

    view, _ = c.view(looks, lambda layout: layout)
    words = [getattr(asked_for, k) for k in ("size", "material", "colour") if k in keys]
    thing = a(" ".join([*words, asked_for.shape if "shape" in keys else "thing"]))
    question = rng.pick((f"is there {thing}?", f"do you see {thing}?", f"is there {thing} in the room?"))
    return asked(view, question, "yes" if yes else "no")


def vqa_compare(c: Context) -> Row:
    """Yes or no, by comparing two things or two counts; each question has its twin with the other answer."""
    yes = c.rng.flip()
    kind = c.rng.pick(("size", "near", "side", "more", "same"))
    view, question = c.view(lambda: c.looks(2, 5), lambda layout: _comparison(c, layout, kind, yes))
    return asked(view, question, "yes" if yes else "no")


def _comparison(c: Context, layout: Layout, kind: str, yes: bool) -> str | None:
    rng, looks = c.rng, layout.looks
    if kind == "more":
        first, second = looks[0].shape, rng.pick(SHAPES)
        counts = [sum(look.shape == s for look in looks) for s in (first, second)]
        if first == second or counts[0] == counts[1] or 0 in counts:
            return None
        if (counts[0] > counts[1]) != yes:
            first, second = second, first
        return f"are there more {plural(first)} than {plural(second)}?"
    i, j = 0, rng.between(1, len(looks) - 1)
    hide = ("size",) if kind == "size" else ()
    names = []
    for k in (i, j):
        phrases = by_attributes(looks, k, hide)
        if not phrases:
            return None
        names.append(phrases[0] if len(phrases) == 1 else rng.pick(phrases[:2]))
    if kind == "same":
        key = rng.pick(("size", "colour", "shape", "material"))
        clean = [by_attributes(looks, k, (key,)) for k in (i, j)]
        if not all(clean) or (getattr(looks[i], key) == getattr(looks[j], key)) != yes:
            return None
        question = {
            "size": "are the {} and the {} equally large?",
            "colour": "do the {} and the {} have the same colour?",
            "shape": "do the {} and the {} have the same shape?",
            "material": "are the {} and the {} made of the same material?",
        }[key]
        return question.format(*(rng.pick(p[:2]) for p in clean))
    if kind == "size":
        if looks[i].size == looks[j].size:
            return None
        true, question = looks[i].size == "large", "is the {} larger than the {}?"
    elif kind == "near":
        if not (layout.related("in front of", i, j) or layout.related("behind", i, j)):
            return None
        true, question = layout.related("in front of", i, j), "is the {} nearer than the {}?"
    else:
        if not (layout.related("left of", i, j) or layout.related("right of", i, j)):
            return None
        side = rng.pick(("left", "right"))
        true, question = layout.related(f"{side} of", i, j), "is the {} " + side + " of the {}?"
    return question.format(*(names if true == yes else reversed(names)))


def vqa_relation(c: Context) -> Row:
    """What stands on some side of a thing; exactly one does."""

    def plan(layout: Layout) -> tuple[str, str] | None:
        looks = layout.looks
        anchor = c.rng.between(1, len(looks) - 1)
        if sum(short(k) == short(looks[anchor]) for k in looks) > 1:
            return None
        for relation in c.rng.shuffled(RELATIONS):
            if layout.alone(relation, 0, anchor):
                return f"what is {relation} the {short(looks[anchor])}?", short(looks[0])
        return None

    view, (question, answer) = c.view(lambda: c.looks(2, 4), plan)
    return asked(view, question, answer)


def dialogue(c: Context) -> Row:
    """Two turns about a thing, then a question that only says `it`."""
    rng = c.rng
    key = rng.pick(("colour", "colour", "shape", "size", "material", "side"))
    value = None
    if key != "side":
        value = rng.pick(_values(c, key))

    def plan(layout: Layout) -> tuple[str, str] | None:
        phrases = by_attributes(layout.looks, 0, (key,) if value else ())
        if not phrases:
            return None
        phrase = rng.pick(phrases[:3])
        if value is None and abs(layout.x[0] - 0.5) < 0.12:
            return None
        return phrase, value or ("left" if layout.x[0] < 0.5 else "right")

    view, (phrase, answer) = c.view(
        lambda: [
            c.focus() if value is None else c.focus(**{key: value}),
            *(c.look() for _ in range(c.count(1, 4))),
        ],
        plan,
    )
    ask = {
        "colour": "what colour is it?",
        "shape": "what shape is it?",
        "size": "is it small or large?",
        "material": "is it matte or shiny?",
        "side": "is it on the left or on the right?",
    }[key]
    first = rng.pick(("how many things are there?", "how many things do you see?"))
    history = f"q: {first} a: {len(view.things)}. q: is there {a(phrase)}? a: yes."
    return asked(view, ask, answer, history=history)


def choice(c: Context) -> Row:
    """Four answers of which one is right, and why."""
    rng, kind = c.rng, c.rng.pick(("present", "nearest", "beside"))

    def plan(layout: Layout) -> tuple[str, str, list[str], str] | None:
        looks = layout.looks
        answer, pairs = short(looks[0]), [short(k) for k in looks]
        if kind == "present":
            others = [f"{col} {sh}" for col, sh in _near_pairs(c, looks)]
            why = f"{a(answer)} is {layout.place(0)}"
            return "which of these is in the picture?", answer, rng.sample(others, 3), why
        rest = [p for p in dict.fromkeys(pairs[1:]) if p != answer]
        if pairs.count(answer) > 1:
            return None
        fill = [p for p in (f"{col} {sh}" for col, sh in _near_pairs(c, looks)) if p not in pairs]
        if kind == "nearest":
            if not all(layout.related("in front of", 0, j) for j in range(1, len(looks))):
                return None
            why = f"the {rest[0]} is farther away"
            return "which thing is nearest to the camera?", answer, (rest + rng.shuffled(fill))[:3], why
        anchors = [j for j in range(1, len(looks)) if pairs.count(pairs[j]) == 1]
        for j in anchors:
            for relation in ("left of", "right of"):
                if layout.alone(relation, 0, j):
                    wrong = [p for p in rest if p != pairs[j]] + rng.shuffled(fill)
                    side = relation.split()[0]
                    why = f"the {answer} is farther {side} than the {pairs[j]}"
                    return f"which thing is {relation} the {pairs[j]}?", answer, wrong[:3], why
        return None

    view, (question, answer, wrong, why) = c.view(lambda: c.looks(2, 5), plan)
    return asked(view, question, answer, choices=rng.shuffled([answer, *wrong]), rationale=why)


def _near_pairs(c: Context, looks: list[Look]) -> list[tuple[str, str]]:
    """Absent pairs; those that share a colour or shape with what is there come first."""
    present = {(k.colour, k.shape) for k in looks}
    absent = [
        p for p in ((col, sh) for col in COLOURS for sh in SHAPES) if p not in present and c.allowed(*p)
    ]
    return [p for p in absent if any(p[0] == k.colour or p[1] == k.shape for k in looks)]


def matching_text(c: Context) -> Row:
    """A description that is right, or wrong by one word."""
    yes = c.rng.flip()
    view, layout = c.any_view(1, 4)
    order = layout.left_to_right()
    told = [layout.looks[i] for i in order]
    if not yes:
        told = _spoiled(c, told, order.index(0))
    text = " and ".join(a(name(k, "size", "colour")) for k in told)
    return {"image": view.image, "text": text, "answer": "yes" if yes else "no", "scene": graph(view)}


def _spoiled(c: Context, looks: list[Look], i: int) -> list[Look]:
    """The looks with one attribute of number i changed, so that their order no longer fits."""
    out = list(looks)
    while True:
        key = c.rng.pick(("colour", "shape", "size"))
        new = looks[i]._replace(**{key: c.rng.pick([v for v in VALUES[key] if v != getattr(looks[i], key)])})
        if c.allowed(new.colour, new.shape):
            out[i] = new
            return out


MAKERS: dict[str, Maker] = {
    "vqa_count": vqa_count,
    "vqa_colour": vqa_colour,
    "vqa_shape": vqa_shape,
    "vqa_material": vqa_material,
    "vqa_exist": vqa_exist,
    "vqa_compare": vqa_compare,
    "vqa_relation": vqa_relation,
    "dialogue": dialogue,
    "choice": choice,
    "matching": matching_text,
}
