"""A second, independent reader of the toybox's language: phrases and sentences against a scene graph.

It knows nothing of how rows are made; things are the plain dictionaries of `row["scene"]["things"]`.
"""

from __future__ import annotations

import re

COLOURS = ["red", "orange", "yellow", "green", "cyan", "blue", "purple", "white"]
SHAPES = ["sphere", "cube", "cylinder", "cone"]
KEY = (
    dict.fromkeys(COLOURS, "colour")
    | dict.fromkeys(SHAPES, "shape")
    | {"small": "size", "large": "size", "matte": "material", "shiny": "material"}
)
RELATION = r"(left of|right of|in front of|behind)"
NUMBERS = {"no": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}


def across(thing):
    return thing["camera"][0] / thing["camera"][2]


def far(thing):
    return thing["camera"][2]


def related(relation, x, y):
    if relation == "left of":
        return across(x) < across(y)
    if relation == "right of":
        return across(x) > across(y)
    return far(x) < far(y) if relation == "in front of" else far(x) > far(y)


RANK = {
    "leftmost": across,
    "rightmost": lambda t: -across(t),
    "nearest": far,
    "farthest": lambda t: -far(t),
    "largest": lambda t: t["size"] != "large",
    "smallest": lambda t: t["size"] != "small",
}


def pair(thing):
    return f"{thing['colour']} {thing['shape']}"


def select(phrase, things):
    """All things that a phrase fits, articles and plurals allowed. Raises on a word it does not know."""
    if match := re.fullmatch(rf"(.+?) {RELATION} the (.+)", phrase):
        (anchor,) = select(match[3], things)
        return [t for t in select(match[1], things) if t is not anchor and related(match[2], t, anchor)]
    words = [w for w in phrase.split() if w not in ("a", "an", "the")]
    words[-1] = words[-1].removesuffix("s")
    rank = words.pop(0) if words[0] in RANK else None
    found = list(things)
    for word in words:
        if word != "thing":
            found = [t for t in found if t[KEY[word]] == word]
    if rank:
        best = min(RANK[rank](t) for t in found)
        found = [t for t in found if RANK[rank](t) == best]
    return found


def one(phrase, things):
    """The only thing that a phrase fits."""
    found = select(phrase, things)
    assert len(found) == 1, (phrase, found)
    return found[0]


def yes(value):
    return "yes" if value else "no"


def answer(question, things):
    """The answer to any question about a picture."""
    if m := re.fullmatch(
        r"how many (.+?) are (?:there|in the room)\?|what is the number of (.+)\?", question
    ):
        return str(len(select(m[1] or m[2], things)))
    if m := re.fullmatch(r"(?:what|which) (colour|shape) is the (.+)\?", question):
        return one(m[2], things)[m[1]]
    if m := re.fullmatch(r"what is the (colour|shape) of the (.+)\?", question):
        return one(m[2], things)[m[1]]
    if m := re.fullmatch(
        r"is the surface of the (.+) shiny or matte\?|is the (.+) matte or shiny\?", question
    ):
        return one(m[1] or m[2], things)["material"]
    if m := re.fullmatch(r"(?:is there|do you see) (an? .+?)(?: in the room)?\?", question):
        return yes(select(m[1], things))
    if m := re.fullmatch(r"are there more (.+) than (.+)\?", question):
        return yes(len(select(m[1], things)) > len(select(m[2], things)))
    if m := re.fullmatch(r"are the (.+) and the (.+) (equally large|made of the same material)\?", question):
        key = "size" if m[3] == "equally large" else "material"
        return yes(one(m[1], things)[key] == one(m[2], things)[key])
    if m := re.fullmatch(r"do the (.+) and the (.+) have the same (colour|shape)\?", question):
        return yes(one(m[1], things)[m[3]] == one(m[2], things)[m[3]])
    if m := re.fullmatch(r"is the (.+) larger than the (.+)\?", question):
        return yes((one(m[1], things)["size"], one(m[2], things)["size"]) == ("large", "small"))
    if m := re.fullmatch(r"is the (.+) nearer than the (.+)\?", question):
        return yes(far(one(m[1], things)) < far(one(m[2], things)))
    if m := re.fullmatch(r"is the (.+) (left of|right of) the (.+)\?", question):
        return yes(related(m[2], one(m[1], things), one(m[3], things)))
    if m := re.fullmatch(rf"wh(?:at|ich thing) is {RELATION} the (.+)\?", question):
        return pair(one(f"thing {m[1]} the {m[2]}", things))
    if question == "which thing is nearest to the camera?":
        return pair(min(things, key=far))
    raise AssertionError(f"unknown question {question!r}")


def entails(statement, things, hidden):
    """yes, no or maybe, where `hidden` tells that part of the room cannot be seen."""
    if m := re.fullmatch(r"there is (an? .+) in the room", statement):
        return "yes" if select(m[1], things) else "maybe" if hidden else "no"
    m = re.fullmatch(r"every (.+) in the room is (.+)", statement)
    colours = [t["colour"] for t in select(m[1], things)]
    assert colours
    return "no" if any(c != m[2] for c in colours) else "maybe" if hidden else "yes"


def of_pair(statement, left, right):
    """Whether a statement about two pictures is true."""
    if m := re.fullmatch(r"the (left|right) picture has more (.+) than the (left|right) one", statement):
        counts = {"left": len(select(m[2], left)), "right": len(select(m[2], right))}
        return counts[m[1]] > counts[m[3]]
    if m := re.fullmatch(r"the two pictures together show (\w+) (.+)", statement):
        return len(select(m[2], left)) + len(select(m[2], right)) == NUMBERS[m[1]]
    if m := re.fullmatch(r"both pictures show (an? .+)", statement):
        return bool(select(m[1], left)) and bool(select(m[1], right))
    m = re.fullmatch(r"only one picture shows (an? .+)", statement)
    return bool(select(m[1], left)) != bool(select(m[1], right))


def happened(before, after):
    """What changed between two scene graphs, as a sentence."""
    old = {tuple(t["position"]): t for t in before}
    new = {tuple(t["position"]): t for t in after}
    gone, come = [p for p in old if p not in new], [p for p in new if p not in old]
    if gone and come:
        (a,), (b,) = gone, come
        assert pair(old[a]) == pair(new[b])
        dx, dz = b[0] - a[0], b[2] - a[2]
        way = ("right" if dx > 0 else "left") if abs(dx) > abs(dz) else "back" if dz > 0 else "front"
        return f"the {pair(old[a])} moves to the {way}"
    if gone:
        return f"the {pair(old[gone[0]])} disappears"
    if come:
        word = pair(new[come[0]])
        return f"{'an' if word[0] in 'aeiou' else 'a'} {word} appears"
    ((a, b),) = [(old[p], new[p]) for p in old if old[p] != new[p]]
    return f"the {pair(a)} turns {b['colour']}"


def passage(text):
    """The things of a paragraph, each with its place in words."""
    first, *rest = [s.strip() for s in text.split(".") if s.strip()]
    things = []
    for sentence in rest:
        m = re.fullmatch(r"an? (\w+) (\w+) (\w+) (\w+) is (.+)", sentence)
        things.append(dict(zip(("size", "material", "colour", "shape", "place"), m.groups(), strict=True)))
    return NUMBERS[re.match(r"there (?:is|are) (\w+) thing", first)[1]], things


def relation_of(sentence):
    """(x, relation, y) with left and front made right and back, so that equals mean the same."""
    m = re.fullmatch(rf"(?:the|an?) (.+) (?:is|stands) (?:to the )?{RELATION} (?:the|an?) (.+)", sentence)
    x, relation, y = m.groups()
    turned = {"left of": "right of", "in front of": "behind"}
    return (y, turned[relation], x) if relation in turned else (x, relation, y)
