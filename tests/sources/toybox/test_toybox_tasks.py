"""The shipped toybox tasks: each can be read, prompted and answered from its own rows."""

from __future__ import annotations

import numpy as np
import pytest

from unified.sources.fields import read_fields
from unified.sources.open import open_source
from unified.sources.toybox.rows import ROW_MAKERS
from unified.specs.build import build_example
from unified.specs.library import list_tasks
from unified.specs.load import load_mixture, load_task

PATHS = [p for p in list_tasks() if p.parent.name == "toybox"]
FAMILIES = {
    "captioning",
    "vqa",
    "grounding",
    "dense",
    "generation",
    "keypoints",
    "reasoning",
    "classification",
    "regression",
    "language",
}


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_task_reads_its_rows(path):
    task = load_task(path)
    for split in ("train", "validation", "held_out"):
        source = open_source(task, split)
        for i in range(6):
            values = read_fields(task, source[i], source)
            example = build_example(
                task, values, key=source.key(i), rng=np.random.default_rng(i), training=split == "train",
                image_size=64, target_size=64,
            )  # fmt: skip
            assert example.target != () and len(example.images) == len(task.spec.input.images)
            if example.options:
                assert (
                    isinstance(example.target, tuple) and "".join(map(str, example.target)) in example.options
                )


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_task_is_short_and_has_several_prompts(path):
    task = load_task(path)
    assert task.name == f"toybox_{path.stem}"
    assert len(path.read_text().splitlines()) <= 25
    assert len(task.spec.input.prompt) >= 3 and task.spec.metrics
    assert "toybox" in task.spec.tags and FAMILIES & set(task.spec.tags)


def test_prompts_tell_the_tasks_apart():
    """No two tasks share a prompt, unless the question itself says what is asked."""
    owners = {}
    for path in PATHS:
        for prompt in load_task(path).spec.input.prompt:
            owners.setdefault(prompt.text, []).append(path.stem)
    shared = {text: names for text, names in owners.items() if len(names) > 1}
    assert all("{{ question }}" in text for text in shared), shared


def test_all_kinds_families_and_tasks_are_used():
    tasks = [load_task(p) for p in PATHS]
    assert {t.spec.source.kind for t in tasks} == set(ROW_MAKERS)
    assert {tag for t in tasks for tag in t.spec.tags} >= FAMILIES
    assert {e.task.name for e in load_mixture("toybox").entries} == {t.name for t in tasks}
    assert len(tasks) >= 32
