"""unified/sources/paths.py"""

from __future__ import annotations

import numpy as np
import pytest

from unified.sources.base import NamedInt
from unified.sources.paths import ELEMENT_KEY, Missing, compile_path, exploded_part
from unified.specs.example import BadRow

ROW = {
    "id": 7,
    "cell": "0012",
    "a": {"b": {"c": 1}, "list": [10, 20, 30]},
    "objects": [{"box": [1, 2], "parts": [{"n": "p"}, {"n": "q"}]}, {"box": [3, 4], "parts": [{"n": "r"}]}],
    "parallel": {"box": [[1], [2]], "name": ["x", "y"]},
    "col.with.dots": "whole",
    "array": np.arange(6).reshape(3, 2),
    "nothing": None,
    "class": NamedInt(3, "dog", ("cat", "cow", "hen", "dog")),
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
        ("class.names", ("cat", "cow", "hen", "dog")),
        ("a.list[1:]", [20, 30]),
        ("cell[:-2]", "00"),
        ("objects[].box[:1]", [[1], [3]]),
        ("{cell[2:]}.png", "12.png"),
        ("idd | id", 7),
        ("objects[a.b.c].box", [3, 4]),
        ("nothing | a.b.c", 1),
        ("{idd | id}-{cell}", "7-0012"),
    ],
)
def test_path_finds_value(path: str, value: object) -> None:
    assert compile_path(path)(ROW) == value


def test_elements_of_lists_of_lists_and_those_before():
    row = {"pairs": [["a", "b"], ["c"]], "turns": [{"q": "x"}, {"q": "y"}, {"q": "z"}], ELEMENT_KEY: 2}
    assert compile_path("pairs[][*]")(row) == "c"
    assert exploded_part("pairs[][*]") == "pairs[]"
    assert exploded_part("turns[:*][].q") is None and exploded_part("[*]") is None
    assert compile_path("turns[:*][].q")(row) == ["x", "y"]
    assert compile_path("[*]")(row) == 2


def test_several_paths_of_a_file_give_the_one_that_exists(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "7.jpg").touch()
    found = compile_path("a/{id}.jpg | {idd}.jpg | b/{id}.jpg", files=True)(ROW)
    assert found == ("a/7.jpg", "b/7.jpg") and found.existing(tmp_path) == "b/7.jpg"
    with pytest.raises(BadRow, match="no such file: .*a/7.jpg nor .*c/7.jpg"):
        compile_path("a/{id}.jpg | c/{id}.jpg", files=True)(ROW).existing(tmp_path)


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
        ("idd | a.x", "none of 'idd | a.x': no key 'idd'"),
        ("a.list[class]", "'a.list' has 3 elements, so no [3]"),
        ("a.list[col.with.dots]", "'col.with.dots' is no number of an element: 'whole'"),
        ("[*]", "no other field takes a list apart"),
        ("{nothing}.jpg", "needs text or a number but found null"),
        ("{a}.jpg", "found a mapping"),
        ("{col.with.dots:03d}", "'whole' cannot be written in the format '03d'"),
    ],
)
def test_missing_says_what_and_what_there_is(path: str, message: str) -> None:
    with pytest.raises(Missing) as caught:
        compile_path(path)(ROW)
    assert message in str(caught.value)


@pytest.mark.parametrize("path", ["", "a..b", "a[x y]", "[0]", "a.b.", "a[*].b[*]", "{}", "{a!r}", ".a"])
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
