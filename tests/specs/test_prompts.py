"""Templates: what values render to, and that data is never anything but text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unified.specs.prompts import TemplateError, joined, render_value, template
from unified.values.types import (
    Boxes,
    GroundedText,
    Image,
    Keypoints,
    Label,
    Number,
    Points,
    Text,
    Texts,
    Value,
)

ONE = Boxes(np.array([[1.0, 2.0, 3.0, 4.0]]))
TWO = Boxes(np.arange(8.0).reshape(2, 4), ("cat", "dog"))
PAIR = Boxes(np.arange(8.0).reshape(2, 4))
JOINTS = Keypoints(np.zeros((1, 2, 2)), np.full((1, 2), 2), ("head", "foot"))


def plain(rendered: tuple[str | Value, ...]) -> list[object]:
    """Strings as they are, locations as their coordinates."""
    out: list[object] = []
    for part in rendered:
        match part:
            case Boxes():
                assert part.labels is None, "labels are text, not part of the location"
                out.append(part.xyxy.tolist())
            case Points():
                out.append(part.xy.tolist())
            case _:
                out.append(part)
    return out


def test_kinds_of_text() -> None:
    values: dict[str, Value] = {
        "t": Text("a b"), "l": Label("cat"), "n": Number(3.0), "m": Number(2.5), "s": Texts(("x", "y")),
    }  # fmt: skip
    assert template("{{ t }}|{{ l }}|{{ n }}|{{ m }}|{{ s }}").render(values) == ("a b|cat|3|2.5|x, y",)
    assert template("{{ s | first }} {{ s | length }} {{ l | article }}").render(values) == ("x 2 a cat",)
    assert template("{% for x in s %}<{{ x }}>{% endfor %}").render(values) == ("<x><y>",)
    assert template("{% if n > 2 %}many{% else %}few{% endif %}").render(values) == ("many",)


def test_white_space_at_the_ends_goes() -> None:
    assert template("\n  a {{ t }}  \n").render({"t": Text("b ")}) == ("a b",)
    assert template("{{ t }}").render({"t": Text("  ")}) == ()


def test_locations_stay_values() -> None:
    assert plain(template("at {{ box }}!").render({"box": ONE})) == ["at ", [[1, 2, 3, 4]], "!"]
    assert plain(template("{{ box }}").render({"box": PAIR})) == [[[0, 1, 2, 3], [4, 5, 6, 7]]]
    assert template("{{ k }}").render({"k": JOINTS}) == (JOINTS,)
    points = Points(np.array([[1.0, 2.0]]), ("tip",))
    assert plain(template("{{ p }}").render({"p": points})) == [[[1, 2]], " tip"]


def test_labelled_boxes_are_each_box_and_its_label() -> None:
    assert plain(template("{{ o }}").render({"o": TWO})) == [[[0, 1, 2, 3]], " cat", [[4, 5, 6, 7]], " dog"]
    assert template("{{ o }}").render({"o": Boxes(np.zeros((0, 4)), ())}) == ()


def test_loops_over_locations() -> None:
    text = "{% for o in objects %}{{ o.label }} at {{ o.location }}; {% endfor %}{{ objects | length }}"
    assert plain(template(text).render({"objects": TWO})) == [
        "cat at ", [[0, 1, 2, 3]], "; dog at ", [[4, 5, 6, 7]], "; 2",
    ]  # fmt: skip
    assert template("{{ objects.labels | join(' and ') }}").render({"objects": TWO}) == ("cat and dog",)


def test_grounded_text() -> None:
    text = "a cat and a dog"
    value = GroundedText(text, ((0, 5), (10, 15), (10, 15)), Boxes(np.arange(12.0).reshape(3, 4)))
    assert plain(render_value(value)) == [
        "[a cat] ", [[0, 1, 2, 3]], " and [a dog] ", [[4, 5, 6, 7], [8, 9, 10, 11]],
    ]  # fmt: skip
    assert template("{{ g.text }}").render({"g": value}) == (text,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ absent }}", "'absent' is undefined"),
        ("{{ t.words }}", "no attribute 'words'"),
        ("{{ box ~ 'x' }}", "cannot be changed into text"),
        ("{{ box | upper }}", "cannot be changed into text"),
        ("{{ [box] }}", "cannot be changed into text"),
        ("{% set a %}{{ box }}{% endset %}{{ a }}", "set block"),
        ("{{ box.label }}", "no labels"),
        ("{{ box.xyxy }}", "no attribute 'xyxy'"),
        ("{{ n / 0 }}", "division by zero"),
        ("{{ image }}", "cannot stand in text"),
        ("{{ none }}", "no value"),
    ],
)
def test_what_cannot_be_rendered(text: str, message: str) -> None:
    values: dict[str, Value] = {
        "t": Text("a"), "box": ONE, "n": Number(1.0), "image": Image(np.zeros((2, 2, 3), np.uint8)),
    }  # fmt: skip
    with pytest.raises(TemplateError, match=message):
        template(text).render(values)


@pytest.mark.parametrize(
    "text",
    [
        "{{ t.__class__ }}",
        "{{ t.format.__globals__ }}",
        "{{ box._value.xyxy.tofile('x') }}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{{ t | random }}",
        "{{ lipsum() }}",
        "{{ range(10000000) | length }}",
    ],
)
def test_sandbox(text: str) -> None:
    with pytest.raises(TemplateError):
        template(text).render({"t": Text("a"), "box": ONE})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ x", "unexpected end of template"),
        ("{% if x %}", "unexpected end of template"),
        ("{{ x | lowr }}", r"unknown filter 'lowr' \(did you mean 'lower'\?\)"),
        ("{% nothing %}", "unknown tag 'nothing'"),
    ],
)
def test_bad_templates(text: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        template(text)


def test_fields() -> None:
    text = "{{ a }} {% for x in b %}{{ x }}{{ loop.index }}{% endfor %} {% if c %}{{ range(2) }}{% endif %}"
    assert template(text).fields == {"a", "b", "c"}


# ------------------------------------------------------------------------------------- injection

HOSTILE = [
    "<extra_id_5>", "<loc_3>", "{{ box }}", "{% for x in y %}", "\ue000", "\ue0000\ue001", "\uf8ff", "</s>",
    "{# comment #}", "[phrase] ", "\x00", "\U000f0000", "a\ue000b<extra_id_0>{{",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_data_is_text(text: str) -> None:
    """Data comes out as the very string that went in, between the template's own parts."""
    got = template("<{{ t }}|{{ box }}|{{ s }}>").render(
        {"t": Text(text), "box": ONE, "s": Texts((text, text))}
    )
    assert plain(got) == [f"<{text}|", [[1, 2, 3, 4]], f"|{text}, {text}>"]


@given(st.text(), st.text())
def test_any_data_is_text(phrase: str, label: str) -> None:
    objects = Boxes(np.zeros((1, 4)), (label,))
    got = template("({{ t }}){{ o }}.").render({"t": Text(phrase), "o": objects})
    assert plain(got) == [f"({phrase})", [[0, 0, 0, 0]], f" {label}."]


# ----------------------------------------------------------------------------------------- match


@pytest.mark.parametrize(
    ("text", "free", "found"),
    [
        ('What does " {{ p }} " show ?', 'what does "red cube" show?', {"p": "red cube"}),
        ("Find {{ p }} .", "  Find   the dog .", {"p": "the dog"}),
        ("{{ a }} or {{ b }}?", "cat or dog?", {"a": "cat", "b": "dog"}),
        ("{{ a }} and {{ a }}", "x and x", {"a": "x"}),
        ("{{ a }} and {{ a }}", "x and y", None),
        ("What is it?", "what is it ?", {}),
        ("What is it?", "Whatisit?", None),
        ("Find {{ p }}", "Locate the dog", None),
        ("Find {{ p | lower }}", "Find it", None),
        ("a.b {{ p }}", "axb c", None),
    ],
)
def test_match(text: str, free: str, found: dict[str, str] | None) -> None:
    assert template(text).match(free) == found


def test_joined() -> None:
    assert joined([" a", "", "b ", ONE, " c", " "]) == ("ab ", ONE, " c")
    assert joined(["  ", ONE, " "]) == (ONE,)
    assert joined([]) == ()
