"""docs/tasks.md says what the specs say."""

from __future__ import annotations

from pathlib import Path

import pytest

from unified.evaluation.task_docs import task_docs
from unified.specs.catalogue import Catalogue, read_catalogue
from unified.specs.load import list_tasks, load_task

PAGE = Path(__file__).parents[2] / "docs" / "tasks.md"


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return read_catalogue(list_tasks())


def test_the_page_is_up_to_date(catalogue: Catalogue) -> None:
    assert not catalogue.broken
    assert PAGE.read_text() == task_docs(catalogue), "make it again: unified tasks docs > docs/tasks.md"


def test_the_page_does_not_depend_on_the_data_here(catalogue: Catalogue, monkeypatch) -> None:
    before = task_docs(catalogue)
    monkeypatch.setenv("UNIFIED_DATA", str(PAGE.parent))
    assert task_docs(catalogue) == before


def test_every_task_and_every_metric_is_there(catalogue: Catalogue) -> None:
    lines = task_docs(catalogue).splitlines()
    for task in catalogue.tasks:
        assert sum(line.startswith(f"| `{task.name}` |") for line in lines) == 1, task.name
    assert all(line.count("|") - line.count("\\|") == 6 for line in lines if line.startswith("| `"))


def test_a_section_tells_where_the_data_is(catalogue: Catalogue) -> None:
    task = load_task("vqav2")
    section = task_docs(catalogue).split("### vqav2\n")[1].split("\n###")[0]
    for path, origin in task.spec.download.items():
        assert f"`{path}` from {origin}" in section
    assert task.spec.homepage in section and "submission: `" in section
    assert all(" ".join(note.split()).replace("<", "&lt;") in section for note in task.spec.notes)
    assert "### vqav2_hub" not in task_docs(catalogue), "a mirror has no section of its own"
