"""Whether data is there is told by names alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from unified.sources.presence import presence
from unified.specs.load import LoadedTask, load_task
from unified.specs.schema import TaskSpec

SPLITS = {"train": "train.json", "validation": "val.json"}


def task(folder: Path, source: dict[str, Any] | None, **more: Any) -> LoadedTask:
    spec = {"task": "t", "source": source, "fields": {"q": {}, "a": {}}, "input": {"prompt": "{{ q }}"},
            "target": {"field": "a"}, **more}  # fmt: skip
    return LoadedTask.of(TaskSpec.model_validate(spec), folder / "t.yaml")


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("not read")


def test_splits_one_by_one(tmp_path: Path) -> None:
    mine = task(tmp_path, {"type": "json", "root": "data", "splits": SPLITS})
    assert str(presence(mine)) == "no"
    put(tmp_path / "data", "train.json")
    assert str(presence(mine)) == "part (train)"
    put(tmp_path / "data", "val.json")
    assert str(presence(mine)) == "yes"


def test_a_variable_that_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNIFIED_DATA", raising=False)
    mine = task(tmp_path, {"type": "json", "root": "$UNIFIED_DATA/x", "splits": SPLITS})
    assert str(presence(mine)) == "no"


def test_what_is_downloaded_beside_the_splits_counts(tmp_path: Path) -> None:
    put(tmp_path, "data/train.json", "data/val.json")
    source = {"type": "json", "root": "data", "splits": SPLITS}
    mine = task(tmp_path, source, download={"train.json, val.json": "x", "../images": "y"})
    assert str(presence(mine)) == "part (train, validation)"
    (tmp_path / "images").mkdir()
    assert str(presence(mine)) == "yes"


def test_joined_sources_and_globs(tmp_path: Path) -> None:
    put(tmp_path, "train.json", "val.json", "a_train.json", "shards/0.parquet")
    inner = {"type": "json", "splits": {"train": "a_train.json", "validation": "a_val.json"}}
    source = {"type": "json", "splits": SPLITS, "join": [{"on": "id", "source": inner}]}
    assert str(presence(task(tmp_path, source))) == "part (train)"
    source["join"] = [{"on": "id", "source": {"type": "parquet", "splits": {"*": "shards/*.parquet"}}}]
    assert str(presence(task(tmp_path, source))) == "yes"
    source["join"] = [{"on": "id", "source": {"type": "parquet", "splits": {"*": "shards/*.arrow"}}}]
    assert str(presence(task(tmp_path, source))) == "no"


def test_sources_of_many_files(tmp_path: Path) -> None:
    splits = {"train": {"images": "train2017", "annotations": "a.json"}}
    coco = task(tmp_path, {"type": "coco", "kind": "instances", "splits": splits})
    put(tmp_path, "a.json")
    assert str(presence(coco)) == "no"
    (tmp_path / "train2017").mkdir()
    assert str(presence(coco)) == "yes"
    entities = task(tmp_path, {"type": "entities", "splits": {"train": "train.txt"}})
    put(tmp_path, "train.txt", "Sentences/1.txt", "Annotations/1.xml")
    assert str(presence(entities)) == "no"
    (tmp_path / "flickr30k-images").mkdir()
    assert str(presence(entities)) == "yes"


def test_the_hub_is_there_as_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNIFIED_DATA", str(tmp_path))
    hub = task(tmp_path, {"type": "hf", "path": "some/set", "splits": {"train": "train"}})
    assert str(presence(hub)) == "no"
    (tmp_path / "hub/some/set").mkdir(parents=True)
    assert str(presence(hub)) == "yes"


def test_tasks_that_need_no_data() -> None:
    assert str(presence(load_task("toybox_refer"))) == "built in"
    assert str(presence(load_task("unified_io_vqa"))) == "none"


def test_no_file_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "train.json", "val.json")

    def opened(*args: Any, **options: Any) -> None:
        raise AssertionError(f"{args} was opened")

    monkeypatch.setattr("builtins.open", opened)
    monkeypatch.setattr(Path, "open", opened)
    assert str(presence(task(tmp_path, {"type": "json", "splits": SPLITS}))) == "yes"
