"""Words for scenes: noun phrases, phrases that single one thing out, relations, captions.

Everything is said of a `Scene`, before it is drawn; margins keep statements clear to the eye.
"""

from __future__ import annotations

from collections.abc import Sequence

from unified.sources.toybox.draws import Draws
from unified.sources.toybox.world import Look, Scene, Thing

NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
ASIDE, APART = 0.09, 0.75
"""Least gap, in picture widths and in metres of depth, between things said to be left of or behind
each other."""

# ---------------------------------------------------------------------------------- phrases


def name(look: Look, *attributes: str) -> str:
    """`small shiny red cube` with the chosen attributes, in that order."""
    words = [getattr(look, a) for a in ("size", "material", "colour") if a in attributes]
    return " ".join([*words, look.shape])


def short(look: Look) -> str:
    return f"{look.colour} {look.shape}"


def full(look: Look) -> str:
    return f"{look.size} {look.material} {look.colour} {look.shape}"


def a(phrase: str) -> str:
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"


def plural(phrase: str) -> str:
    return f"{phrase}s"


def listing(phrases: Sequence[str]) -> str:
    """`x`, `x and y`, `x, y and z`."""
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


# --------------------------------------------------------------------------- where things are


class Layout:
    """Where the things of a scene appear: `x` of the centres in picture widths, `z` their depth in metres."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.looks = [thing.look for thing in scene.things]
        seen = [scene.camera.to_camera(centre(thing)) for thing in scene.things]
        self.x = [0.5 + scene.camera.focal * x / z for x, _, z in seen]
        self.z = [z for _, _, z in seen]

    def left_to_right(self) -> list[int]:
        return sorted(range(len(self.x)), key=self.x.__getitem__)

    def place(self, i: int) -> str:
        """`at the front left`, `in the middle`, ..."""
        side = "left" if self.x[i] < 0.37 else "right" if self.x[i] > 0.63 else ""
        deep = "front" if self.z[i] < 5.5 else "back" if self.z[i] > 6.6 else ""
        if side and deep:
            return f"at the {deep} {side}"
        if side:
            return f"on the {side}"
        return f"at the {deep}" if deep else "in the middle"

    def related(self, relation: str, i: int, j: int, least: float = 1.0) -> bool:
        """Whether i is `relation` j by at least `least` times the clear margin."""
        if relation == "left of":
            return self.x[j] - self.x[i] >= least * ASIDE
        if relation == "right of":
            return self.x[i] - self.x[j] >= least * ASIDE
        if relation == "in front of":
            return self.z[j] - self.z[i] >= least * APART
        return self.z[i] - self.z[j] >= least * APART

    def alone(self, relation: str, i: int, j: int, rivals: Sequence[int] | None = None) -> bool:
        """Whether i is clearly `relation` j and none of `rivals` (default: all others) may seem so."""
        rivals = range(len(self.x)) if rivals is None else rivals
        return self.related(relation, i, j) and not any(
            self.related(relation, k, j, -0.3) for k in rivals if k not in (i, j)
        )


RELATIONS = ("left of", "right of", "in front of", "behind")
OPPOSITE = {"left of": "right of", "right of": "left of", "in front of": "behind", "behind": "in front of"}


def centre(thing: Thing) -> tuple[float, float, float]:
    """The world position of a thing's middle."""
    return thing.x, thing.base + thing.height / 2, thing.z


# ----------------------------------------------------------------------------- singling out

ATTRIBUTES = ("size", "material", "colour")
SUBSETS = (
    ("colour",),
    (),
    ("size", "colour"),
    ("size",),
    ("material",),
    ("material", "colour"),
    ("size", "material"),
    ("size", "material", "colour"),
)


def matching(looks: Sequence[Look], like: Look, attributes: Sequence[str]) -> list[int]:
    """Indices of the looks that agree with `like` in all `attributes` (shape is one of them)."""
    return [
        i for i, look in enumerate(looks) if all(getattr(look, k) == getattr(like, k) for k in attributes)
    ]


def by_attributes(looks: Sequence[Look], i: int, hide: Sequence[str] = ()) -> list[str]:
    """Phrases that single out thing i by its looks alone, without the attributes in `hide`: those that
    name the shape first, short before long."""
    look, shaped, bare = looks[i], [], []
    for subset in SUBSETS:
        if any(k in hide for k in subset):
            continue
        if "shape" not in hide and matching(looks, look, (*subset, "shape")) == [i]:
            shaped.append(name(look, *subset))
        if 0 < len(subset) < 3 and matching(looks, look, subset) == [i]:
            bare.append(f"{' '.join(getattr(look, k) for k in subset)} thing")
    return shaped + bare


def by_relation(layout: Layout, i: int, hide: Sequence[str] = ()) -> list[str]:
    """Phrases such as `cube left of the red sphere`, true of thing i and clearly false of all others."""
    looks, out = layout.looks, []
    kind = "thing" if "shape" in hide else looks[i].shape
    rivals = [j for j in range(len(looks)) if j != i and (kind == "thing" or looks[j].shape == kind)]
    if not rivals:
        return []
    for anchor in range(len(looks)):
        if anchor == i or matching(looks, looks[anchor], ("colour", "shape")) != [anchor]:
            continue
        for relation in RELATIONS:
            if layout.alone(relation, i, anchor, rivals):
                out.append(f"{kind} {relation} the {short(looks[anchor])}")
    return out


def by_rank(layout: Layout, i: int, hide: Sequence[str] = ()) -> list[str]:
    """Phrases such as `leftmost cube` or `largest thing`, true of thing i by a clear margin."""
    looks, out = layout.looks, []
    kinds = ["thing"] if "shape" in hide else ["thing", looks[i].shape]
    for kind in kinds:
        rivals = [j for j in range(len(looks)) if j != i and (kind == "thing" or looks[j].shape == kind)]
        if not rivals:
            continue
        for word, relation in (
            ("leftmost", "left of"),
            ("rightmost", "right of"),
            ("nearest", "in front of"),
            ("farthest", "behind"),
        ):
            if all(layout.related(relation, i, j, 0.8) for j in rivals):
                out.append(f"{word} {kind}")
        if "size" not in hide and all(looks[j].size != looks[i].size for j in rivals):
            out.append(f"{'largest' if looks[i].size == 'large' else 'smallest'} {kind}")
    return out


def single_out(
    rng: Draws, layout: Layout, i: int, hide: Sequence[str] = (), relations: float = 0.4
) -> str | None:
    """A phrase for thing i and for no other, without an article; None if there is none.

    `relations`: how often a relation or rank is preferred to plain attributes.
    """
    plain = by_attributes(layout.looks, i, hide)
    if plain and not (relations and rng.flip(relations)):
        return plain[min(rng.below(len(plain)), rng.below(len(plain)))]
    others = by_relation(layout, i, hide) + by_rank(layout, i, hide)
    if others:
        return rng.pick(others)
    return rng.pick(plain) if plain else None


# ---------------------------------------------------------------------------------- captions


def counted(looks: Sequence[Look]) -> list[str]:
    """`a red cube`, `two blue spheres`: one phrase a colour-shape pair, in order of first appearance."""
    counts: dict[str, int] = {}
    for look in looks:
        counts[short(look)] = counts.get(short(look), 0) + 1
    return [a(pair) if n == 1 else f"{NUMBERS[n]} {plural(pair)}" for pair, n in counts.items()]


def captions(layout: Layout) -> list[str]:
    """The same things told in three ways, from left to right."""
    what = listing(counted([layout.looks[i] for i in layout.left_to_right()]))
    verb = "is" if len(layout.looks) == 1 else "are"
    return [what, f"there {verb} {what}", f"a picture of {what}"]


def placed(layout: Layout, attributes: Sequence[str] = ("size", "colour")) -> str:
    """`a large red cube on the left and a small blue sphere at the back`, from left to right."""
    return listing(
        [f"{a(name(layout.looks[i], *attributes))} {layout.place(i)}" for i in layout.left_to_right()]
    )


def paragraph(layout: Layout, limit: int = 4) -> str:
    """How many things there are, then a sentence for each of the `limit` leftmost ones."""
    n = len(layout.looks)
    first = "there is one thing in the room." if n == 1 else f"there are {NUMBERS[n]} things in the room."
    rest = [f"{a(full(layout.looks[i]))} is {layout.place(i)}." for i in layout.left_to_right()[:limit]]
    return " ".join([first, *rest])
