"""Rows of every kind: determinism, held-out pairs, balance of answers, targets of the right form."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, is_dataclass

import numpy as np
import pytest

from unified.errors import UserError
from unified.sources.toybox.draws import Draws
from unified.sources.toybox.rows import ROW_MAKERS
from unified.sources.toybox.source import ToyboxRows
from unified.sources.toybox.world import COLOURS, HELD_OUT, PAIRS, SHAPES
from unified.specs.source_schema import ToyboxSource

KINDS = sorted(ROW_MAKERS)
IMAGES = [k for k in KINDS if k not in ("paraphrase", "reading", "reading_answer", "text_entailment")]


def source(kind, split="train", size=64, **args):
    return ToyboxRows(ToyboxSource(type="toybox", kind=kind, image_size=size, args=args), split)


def rows(kind, split="train", n=100):
    made = source(kind, split)
    return [made[i] for i in range(n)]


def digest(value) -> str:
    """Of anything in a row, arrays and values of ours included."""
    if is_dataclass(value):
        value = asdict(value)
    if isinstance(value, dict):
        parts = [f"{k}:{digest(v)}" for k, v in sorted(value.items())]
    elif isinstance(value, list | tuple):
        parts = [digest(v) for v in value]
    elif isinstance(value, np.ndarray):
        parts = [str(value.dtype), str(value.shape), value.tobytes().hex()]
    else:
        parts = [repr(value)]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


PROGRAM = """
import sys
sys.path[:0] = sys.argv[1:]
from test_toybox_rows import KINDS, digest, source
for kind in reversed(KINDS):
    for split in ("held_out", "train"):
        made = source(kind, split)
        print(kind, split, digest([made[i] for i in (7, 3)]))
"""


def test_rows_depend_on_nothing_but_their_number(tmp_path):
    """Another process, another hash seed, another order of asking: the same rows."""
    path = [p for p in sys.path if p]
    made = subprocess.run(
        [sys.executable, "-c", PROGRAM, *path], env={"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=True, timeout=120,
    ).stdout.split("\n")  # fmt: skip
    there = {tuple(line.split()[:2]): line.split()[2] for line in made if line}
    for kind in KINDS:
        for split in ("train", "held_out"):
            here = source(kind, split)
            first, second = here[3], here[7]
            assert there[kind, split] == digest([second, first]), kind


def test_splits_and_rows_differ():
    for kind in KINDS:
        found = {
            digest(source(kind, split)[i]) for split in ("train", "validation", "held_out") for i in range(5)
        }
        assert len(found) >= 13, kind


def test_draws_are_uniform():
    rng = Draws("uniform", 0)
    values = np.array([rng.random() for _ in range(4000)])
    assert abs(values.mean() - 0.5) < 0.02 and values.min() >= 0 and values.max() < 1
    assert Counter(rng.below(4) for _ in range(4000)).keys() == {0, 1, 2, 3}
    assert sorted(rng.shuffled(range(9))) == list(range(9))
    assert Draws("a", 1).random() != Draws("a", 2).random() != Draws("b", 2).random()


# ---------------------------------------------------------------------------------- held-out pairs


def graphs(row):
    found = [row[k] for k in ("scene", "scene_2", "scene_after") if k in row]
    return found + row.get("scenes", [])


def shown(row):
    return {(t["colour"], t["shape"]) for graph in graphs(row) for t in graph["things"]}


def said(row):
    """Colour-shape pairs that any text of a row names, `red small cube` included."""
    texts = []
    for value in row.values():
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, list) and value and isinstance(value[0], str):
            texts += value
        elif hasattr(value, "text"):
            texts.append(value.text)
    found = set()
    for text in texts:
        found |= set(re.findall(rf"({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})", text))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_held_out_pairs(kind):
    for split in ("train", "validation"):
        for row in rows(kind, split, 80):
            assert not shown(row) & set(HELD_OUT) and not said(row) & set(HELD_OUT), kind
    about = [bool((shown(row) or said(row)) & set(HELD_OUT)) for row in rows(kind, "held_out", 40)]
    if kind == "vqa_exist":  # asked for, but not there in half of the rows
        assert 0.2 < np.mean(about) < 0.9
    elif kind in ("entailment", "text_entailment", "paraphrase"):
        assert np.mean(about) > 0.3
    else:
        assert all(about), kind


def test_held_out_share():
    assert 0.08 < len(HELD_OUT) / len(PAIRS) < 0.15
    assert {s for _, s in HELD_OUT} == set(SHAPES)


# ------------------------------------------------------------------------------------------ balance

ANSWERS = {
    "vqa_count": 5,
    "vqa_colour": 8,
    "vqa_shape": 4,
    "vqa_material": 2,
    "vqa_exist": 2,
    "vqa_compare": 2,
    "matching": 2,
    "pair_statement": 2,
    "entailment": 3,
    "frames_statement": 2,
    "paraphrase": 2,
    "reading": 2,
    "text_entailment": 3,
}
OTHERS = {"region_relation": ("relation", 4), "action": ("action", 8), "classify_object": ("label", 28)}
BALANCED = {kind: ("answer", n) for kind, n in ANSWERS.items()} | OTHERS


@pytest.mark.parametrize("kind", BALANCED)
def test_answers_are_balanced(kind):
    key, n = BALANCED[kind]
    total = 600
    counts = Counter(row[key] for row in rows(kind, n=total))
    assert len(counts) == n
    expected = total / n
    assert all(abs(c - expected) < 4.5 * np.sqrt(expected) for c in counts.values()), counts


@pytest.mark.parametrize(
    "kind", ["vqa_exist", "vqa_compare", "matching", "entailment", "pair_statement", "reading"]
)
def test_words_alone_do_not_tell(kind):
    """The best guess from the form of the question (its words without names) is little better than none."""
    texts, answers = [], []
    for row in rows(kind, n=600):
        text = row.get("question") or row.get("statement") or row["text"]
        names = rf"\b({'|'.join(COLOURS)}|small|large|matte|shiny|{'|'.join(SHAPES)})s?\b"
        texts.append(re.sub(names, "_", text) if kind != "matching" else str(len(text.split(" and "))))
        answers.append(row["answer"])
    by_form = {}
    for text, answer in zip(texts[:300], answers[:300], strict=True):
        by_form.setdefault(text, Counter())[answer] += 1
    usual = Counter(answers).most_common(1)[0][0]
    guesses = [by_form.get(t, Counter([usual])).most_common(1)[0][0] for t in texts[300:]]
    right = np.mean([g == a for g, a in zip(guesses, answers[300:], strict=True)])
    assert right < 1 / len(set(answers)) + 0.13, right


def test_numbers_spread():
    mood = [row["mood"] for row in rows("mood", n=200)]
    assert min(mood) < -2.5 and max(mood) > 2.5 and abs(np.mean(mood)) < 0.4
    distance = [row["distance"] for row in rows("distance", n=200)]
    assert min(distance) > 2 and max(distance) < 10 and np.std(distance) > 0.7


def test_mood_shows_in_the_hands():
    for row in rows("mood", n=60):
        joints = row["scene"]["figures"][0]["joints"]
        raised = joints["neck"][1] - joints["left_hand"][1]
        assert abs(row["mood"]) < 0.8 or (raised > 0) == (row["mood"] > 0)


# -------------------------------------------------------------------------------------- the targets


def test_roles():
    for split in ("train", "held_out"):
        for row in rows("roles", split, 60):
            figure = row["scene"]["figures"][0]
            item = None if figure["item"] is None else row["scene"]["things"][figure["item"]]
            assert (row["verb"], row["agent"]) == (figure["action"], f"{figure['colour']} figure")
            assert row["item"] == ("nothing" if item is None else f"{item['colour']} {item['shape']}")
            assert (item is None) == (row["verb"] not in ("point", "kick", "sit", "hold"))


def test_segmentations_agree_with_boxes():
    for row in rows("segmentation_colour", n=40):
        for thing in row["scene"]["things"]:
            x1, y1, x2, y2 = map(int, thing["box"])
            number = list(COLOURS).index(thing["colour"]) + 1
            assert (row["segmentation"][y1:y2, x1:x2] == number).any()
    seen = set()
    for row in rows("segmentation_shape", n=60):
        boxes = np.zeros((64, 64), bool)
        for thing in [*row["scene"]["things"], *row["scene"]["figures"]]:
            x1, y1, x2, y2 = map(int, thing["box"])
            boxes[y1:y2, x1:x2] = True
        assert not row["segmentation"][~boxes].any()
        seen |= set(np.unique(row["segmentation"]))
    assert seen == {0, 1, 2, 3, 4, 5}


def test_inpainting_hides_the_thing_and_nothing_else():
    for row in rows("inpaint", n=40):
        x1, y1, x2, y2 = map(int, row["box"])
        hole = np.zeros((64, 64), bool)
        hole[y1:y2, x1:x2] = True
        assert (row["image"][hole] == 0).all()
        np.testing.assert_array_equal(row["image"][~hole], row["target_image"][~hole])
        bx1, by1, bx2, by2 = row["scene"]["things"][0]["box"]
        assert x1 <= bx1 and y1 <= by1 and x2 >= bx2 and y2 >= by2


def test_next_frame_goes_on_evenly():
    for row in rows("next_frame", n=30):
        a, b = row["scene"]["things"], row["scene_after"]["things"]
        moved = [np.subtract(y["position"], x["position"]) for x, y in zip(a, b, strict=True)]
        assert 0.9 < np.abs(moved[0]).max() < 1.8 and all(not m.any() for m in moved[1:])
        changed = (row["image_1"] != row["target_image"]).any(-1)
        halfway = (row["image_1"] != row["image_2"]).any(-1)
        assert changed.sum() > 10 and halfway.sum() > 5


def test_texts_are_short_and_plain():
    for kind in KINDS:
        for row in rows(kind, n=20):
            for key, value in row.items():
                if isinstance(value, str):
                    limit = 60 if key in ("paragraph", "passage") else 35
                    assert len(value.split()) <= limit, (kind, key, value)
                    assert value == value.lower().strip() and "  " not in value


@pytest.mark.parametrize("size", [64, 128])
def test_images_have_the_asked_size(size):
    for kind in IMAGES:
        row = source(kind, size=size)[0]
        pictures = [v for v in row.values() if isinstance(v, np.ndarray) and v.ndim == 3]
        assert pictures and all(p.shape == (size, size, 3) for p in pictures)


# --------------------------------------------------------------------------------------- the source


def test_source_length_key_and_bounds():
    made = source("caption")
    assert len(made) == 1_000_000 and made.key(3) == "toybox:caption/train:3"
    assert made[999_999]["image"].shape == (64, 64, 3)
    with pytest.raises(IndexError):
        made[1_000_000]


def test_max_things():
    made = source("detect", max_things=2)
    assert {len(made[i]["boxes"]) for i in range(30)} == {1, 2}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"kind": "vqa_cuont"}, "no 'vqa_cuont' (did you mean 'vqa_count'?)"),
        ({"args": {"max_thing": 2}}, "unknown 'max_thing' (did you mean 'max_things'?)"),
        ({"args": {"max_things": 9}}, "max_things: 9 is not a whole number from 1 to 5"),
        ({"image_size": 4096}, "4096 is outside 32 to 256 pixels"),
    ],
)
def test_mistakes_are_told(change, message):
    with pytest.raises(UserError, match=re.escape(message)):
        ToyboxRows(ToyboxSource(**{"type": "toybox", "kind": "caption", **change}), "train")
    with pytest.raises(UserError, match="no split 'test'"):
        source("caption", "test")
