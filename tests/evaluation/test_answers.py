"""A split that is read in parts is answered and scored as one that is read at once."""

from __future__ import annotations

import numpy as np
import pytest

from unified.evaluation import answers, task_result
from unified.evaluation.answers import answer_split, without_pictures
from unified.evaluation.evaluator import evaluate
from unified.evaluation.model_folder import load_model_folder
from unified.evaluation.predictor import Predictor
from unified.values.types import Image


@pytest.fixture(scope="module")
def loaded(run):
    return load_model_folder(run, "cpu")


def test_parts_change_no_number(loaded, monkeypatch, tmp_path):
    monkeypatch.setattr(task_result, "BASELINE_ROWS", 12)
    names = ("vqa_count", "refer", "depth", "pair_statement", "keypoints", "grounded_caption", "edit")
    tasks = [loaded.tasks[f"toybox_{name}"] for name in names]
    told = []
    found, pictures = [], []
    for part in (answers.PART, 4):
        monkeypatch.setattr(answers, "PART", part)
        results = evaluate(loaded.model, loaded.processor, tasks, limit=10, out=tmp_path / str(part),
                           on_progress=lambda *args: told.append(args))  # fmt: skip
        found.append({n: (t.n, t.metrics, t.ceiling, t.baseline) for n, t in results.tasks.items()})
        assert all(len(task.samples) == 4 for task in results.tasks.values())
        worst = [(s["key"], s["inputs"]) for t in results.tasks.values() for s in t.worst]
        pictures.append(
            [(key, *((tmp_path / str(part) / f).read_bytes() for f in files)) for key, files in worst]
        )
    assert found[0] == found[1]
    assert pictures[0] == pictures[1] and len(pictures[0]) > 12  # those of the worst rows are read again
    assert [t[1:] for t in told if t[0] == "toybox_refer"] == [(10, 10), (4, 4), (8, 8), (10, 10)]


def test_only_pictures_that_are_shown_are_kept(loaded, monkeypatch):
    monkeypatch.setattr(answers, "PART", 8)
    monkeypatch.setattr(answers, "KEPT", 2)
    predictor = Predictor(loaded.model, loaded.processor)
    got = answer_split(
        predictor,
        loaded.tasks["toybox_refer"],
        "validation",
        limit=20,
        seed=0,
        unanswered=False,
        scores=False,
    )
    assert got.pictured == [0, 4, 8, 12, 16, 18]
    for i, case in enumerate(got.read.cases):
        image = case.example.images[0]
        assert image.size == (64, 64) and image.pixels.any() == (i in got.pictured)
        assert case.example is got.read.examples[i]


def test_a_blank_picture_takes_no_memory(loaded):
    from test_evaluator import examples

    (example,) = examples(loaded, "toybox_refer", 1)
    blank = without_pictures(example)
    pixels = blank.images[0].pixels
    assert pixels.shape == example.images[0].pixels.shape and pixels.strides[:2] == (0, 0)
    assert isinstance(blank.values["image"], Image) and not blank.values["image"].pixels.any()
    assert blank.geometries == example.geometries and np.any(example.images[0].pixels)
