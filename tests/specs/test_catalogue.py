"""What a listing says of a task."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from unified.specs.catalogue import family, gives, judged_by, read_catalogue, takes
from unified.specs.load import list_tasks, load_task


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("nlvr2", ("reasoning", "2 images+text", "text of 2", "accuracy")),
        ("violin", ("reasoning", "4 frames+text", "text of 2", "accuracy")),
        ("visdial", ("dialogue", "image+text", "text of options", "visdial_ndcg")),
        ("coco_detection", ("grounding", "image+text", "boxes", "coco_ap")),
        ("toybox_paraphrase", ("toybox", "text", "text of 2", "accuracy")),
        ("toybox_depth", ("toybox", "image+text", "depth", "depth_rmse")),
    ],
)
def test_a_line(name: str, line: tuple[str, ...]) -> None:
    task = load_task(name)
    assert (family(task), takes(task.spec), gives(task.spec), judged_by(task.spec)[0]) == line


def test_families_and_tags() -> None:
    found = read_catalogue(list_tasks())
    assert len(found.tasks) == len(list_tasks()) and not found.broken
    families = found.families("vqa")
    assert all("vqa" in task.spec.tags for tasks in families.values() for task in tasks)
    assert "vqa" in families and "vqa" in found.tags()
    assert sum(map(len, found.families().values())) == len(found.tasks)


def test_a_broken_spec_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("task: x\nmetrcs: []\n")
    found = read_catalogue([tmp_path / "x.yaml", *list_tasks()[:1]])
    assert len(found.tasks) == 1
    ((path, problem),) = found.broken
    assert path.name == "x.yaml" and "did you mean 'metrics'" in str(problem)


def test_a_task_from_elsewhere_is_of_no_family(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text((Path(load_task("toybox_refer").path)).read_text())
    assert family(load_task(path)) == "other"


def test_reading_all_takes_little() -> None:
    """Included files are read once for all; a listing of 150 must not make anybody wait."""
    started = time.process_time()
    read_catalogue(list_tasks())
    assert time.process_time() - started < 6
