"""Tasks without a picture: the scene exists in words alone."""

from __future__ import annotations

from unified.sources.toybox.context import Context, Maker, Row
from unified.sources.toybox.language import (
    NUMBERS,
    OPPOSITE,
    RELATIONS,
    Layout,
    a,
    name,
    paragraph,
    plural,
    short,
)
from unified.sources.toybox.makers.ask import VALUES
from unified.sources.toybox.world import COLOURS, SHAPES, Look

ORDERS = {"left of": "to the left of", "right of": "to the right of"}


def _other(c: Context, look: Look, keys: tuple[str, ...]) -> tuple[str, Look]:
    """The look with one of `keys` changed; also which."""
    while True:
        key = c.rng.pick(keys)
        new = look._replace(**{key: c.rng.pick([v for v in VALUES[key] if v != getattr(look, key)])})
        if c.allowed(new.colour, new.shape):
            return key, new


def paraphrase(c: Context) -> Row:
    """Two sentences that say the same in other words, or differ in a word or in who stands where."""
    rng, same = c.rng, c.rng.flip()
    x, y = c.focus(), c.look()
    while short(x) == short(y):
        y = c.look()
    if rng.flip():
        relation = rng.pick(RELATIONS)
        first = f"the {short(x)} is {relation} the {short(y)}"
        back = OPPOSITE[relation]
        if not same:
            if rng.flip():
                x, y = y, x
            else:
                _, x = _other(c, x, ("colour", "shape"))
                if short(x) == short(y):
                    return paraphrase(c)
        second = f"the {short(y)} is {ORDERS.get(back, back)} the {short(x)}"
    else:
        first = f"there is {a(name(x, 'size', 'colour'))} and {a(short(y))}"
        if not same:
            _, x = _other(c, x, ("colour", "shape", "size"))
        second = f"you can see {a(short(y))} and {a(f'{x.colour} {x.shape}')} that is {x.size}"
    if rng.flip():
        first, second = second, first
    return {"first": first, "second": second, "answer": "yes" if same else "no"}


def reading(c: Context) -> Row:
    """A passage and a question about it with the answer yes or no."""
    rng, yes = c.rng, c.rng.flip()
    kind = rng.pick(("exist", "attribute", "count", "side"))

    def plan(layout: Layout) -> str | None:
        looks = layout.looks
        pairs = [short(k) for k in looks]
        if pairs.count(pairs[0]) > 1:
            return None
        if kind == "exist":
            if yes:
                return f"is there {a(pairs[0])} in the room?"
            absent = [f"{k.colour} {s}" for k in looks for s in SHAPES if c.allowed(k.colour, s)]
            absent += [f"{col} {k.shape}" for k in looks for col in COLOURS if c.allowed(col, k.shape)]
            return f"is there {a(rng.pick([p for p in absent if p not in pairs]))} in the room?"
        if kind == "attribute":
            key = rng.pick(("size", "material"))
            value = getattr(looks[0], key)
            other = next(v for v in VALUES[key] if v != value)
            return f"is the {pairs[0]} {value if yes else other}?"
        if kind == "count":
            n = len(looks)
            return (
                f"are there {NUMBERS[n if yes else rng.pick([n - 1, n + 1])]} things in the room?"
                if n > 2
                else None
            )
        if abs(layout.x[0] - 0.5) < 0.15:
            return None
        side = "left" if (layout.x[0] < 0.5) == yes else "right"
        return f"is the {pairs[0]} on the {side} side?"

    scene, question = c.scene(lambda: c.looks(2, 4), plan)
    return {"passage": paragraph(Layout(scene)), "question": question, "answer": "yes" if yes else "no"}


def reading_answer(c: Context) -> Row:
    """A passage and a question whose answer is a word of it or a number."""
    rng = c.rng
    kind = rng.pick(("colour", "shape", "size", "count"))

    def plan(layout: Layout) -> tuple[str, str] | None:
        looks, look = layout.looks, layout.looks[0]
        if kind == "count":
            key = rng.pick(("shape", "colour", "size", "material"))
            value = getattr(look, key)
            n = sum(getattr(k, key) == value for k in looks)
            return f"how many {plural(value if key == 'shape' else f'{value} thing')} are there?", str(n)
        if kind == "colour":
            alone = sum(k.shape == look.shape for k in looks) == 1
            return (f"what colour is the {look.shape}?", look.colour) if alone else None
        if kind == "shape":
            alone = sum(k.colour == look.colour for k in looks) == 1
            return (f"what shape is the {look.colour} thing?", look.shape) if alone else None
        alone = sum(short(k) == short(look) for k in looks) == 1
        return (f"how big is the {short(look)}?", look.size) if alone else None

    scene, (question, answer) = c.scene(lambda: c.looks(2, 4), plan)
    return {"passage": paragraph(Layout(scene)), "question": question, "answer": answer}


def text_entailment(c: Context) -> Row:
    """Whether the second sentence follows from the first: yes, no, or it is not said (maybe)."""
    rng = c.rng
    label = rng.pick(("yes", "no", "maybe"))
    x, y = c.focus(), c.look()
    while short(x) == short(y) or x.shape == y.shape:
        y = c.look()
    relation = rng.pick(RELATIONS)
    told = rng.pick((("size", "colour"), ("material", "colour"), ("colour",)))
    premise = f"{a(name(x, *told))} stands {relation} {a(short(y))}"
    hidden = [k for k in ("size", "material") if k not in told]
    if label == "yes":
        key = rng.pick(told)
        ways = (
            f"the {x.shape} is {getattr(x, key)}",
            f"the {y.shape} is {OPPOSITE[relation]} the {x.shape}",
            f"there is {a(y.shape)}",
        )
    elif label == "no":
        key, new = _other(c, x, told)
        _, other = _other(c, y, ("colour",))
        ways = (
            f"the {x.shape} is {getattr(new, key)}",
            f"the {x.shape} is {OPPOSITE[relation]} the {y.shape}",
            f"the {y.shape} is {other.colour}",
        )
    else:
        key = rng.pick(hidden)
        apart = [r for r in RELATIONS if r not in (relation, OPPOSITE[relation])]
        ways = (
            f"the {x.shape} is {getattr(x, key)}",
            f"the {x.shape} is {rng.pick(apart)} the {y.shape}",
            f"the {y.shape} is {rng.pick((y.size, y.material))}",
        )
    return {"premise": premise, "hypothesis": rng.pick(ways), "answer": label}


MAKERS: dict[str, Maker] = {
    "paraphrase": paraphrase,
    "reading": reading,
    "reading_answer": reading_answer,
    "text_entailment": text_entailment,
}
