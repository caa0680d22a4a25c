"""unified/sources/paths.py"""

from __future__ import annotations

import numpy as np
import pytest

from unified.sources.base import NamedInt
from unified.sources.paths import ELEMENT_KEY, Missing, compile_path, exploded_part

ROW = {
    "id": 7,
    "cell": "0012",
    "a": {"b": {"c": 1}, "list": [10, 20, 30]},
    "objects": [{"box": [1, 2], "parts": [{"n": "p"}, {"n": "q"}]}, {"box": [3, 4], "parts": [{"n": "r"}]}],
    "parallel": {"box": [[1], [2]], "name": ["x", "y"]},
    "col.with.dots": "whole",
    "array": np.arange(6).reshape(3, 2),
    "nothing": None,
    "class": NamedInt(3, "dog"),
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("id", 7),
        ("a.b.c", 1),
        ("a.list[0]", 10),
        ("a.list[-1]", 30),
        ("objects[1].box[0]", 3),
        ("objects[].box", [[1, 2], [3, 4]]),
        ("objects[].parts[].n", ["p", "q", "r"]),
        ("objects[0].parts[].n", ["p", "q"]),
        ("parallel[].name", ["x", "y"]),
        ("parallel[1].box", [2]),
        ("col.with.dots", "whole"),
        ("nothing", None),
        ("images/{id:05d}.jpg", "images/00007.jpg"),
        ("{cell:03d}", "012"),
        ("{a.b.c}-{a.list[1]}", "1-20"),
        ("{class}", "dog"),
        ("{class:02d}", "03"),
    ],
)
def test_path_finds_value(path: str, value: object) -> None:
    assert compile_path(path)(ROW) == value


def test_path_into_an_array() -> None:
    assert compile_path("array[1]")(ROW).tolist() == [2, 3]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("idd", "no key 'idd' (the row has: id, cell"),
        ("a.x", "no key 'x' in 'a' (the row has: b, list)"),
        ("a.list[3]", "'a.list' has 3 elements, so no [3]"),
        ("id.x", "'id' has no keys: it is a int"),
        ("id[]", "'id' is not a list but a int"),
        ("nothing.x", "'nothing' is null"),
        ("objects[].name", "no key 'name' in 'objects[0]'"),
        ("{nothing}.jpg", "needs text or a number but found null"),
        ("{a}.jpg", "found a mapping"),
        ("{col.with.dots:03d}", "'whole' cannot be written in the format '03d'"),
    ],
)
def test_missing_says_what_and_what_there_is(path: str, message: str) -> None:
    with pytest.raises(Missing) as caught:
        compile_path(path)(ROW)
    assert message in str(caught.value)


@pytest.mark.parametrize("path", ["", "a..b", "a[x]", "[0]", "a.b.", "a[*].b[*]", "{}", "{a!r}", ".a"])
def test_not_a_path(path: str) -> None:
    with pytest.raises(ValueError):
        compile_path(path)


def test_element_is_the_one_of_the_exploded_row() -> None:
    get = compile_path("objects[*].parts[].n")
    assert get(ROW | {ELEMENT_KEY: 1}) == ["r"]
    # A row that was not exploded, such as a golden row of a spec, stands for its first element.
    assert get(ROW) == ["p", "q"]


def test_exploded_part() -> None:
    assert exploded_part("a.b[*].c") == "a.b"
    assert exploded_part("{x}/{a[*].file}.png") == "a"
    assert exploded_part("a[].b") is None
    with pytest.raises(ValueError):
        exploded_part("{a[*]}{b[*]}")
