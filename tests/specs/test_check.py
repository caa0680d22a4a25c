"""`tasks check`, `tasks new` and `tasks schema`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unified.errors import UserError
from unified.evaluation.metrics import get_metric, metric_names
from unified.specs.check import check_tasks, json_schema, new_task
from unified.specs.load import LoadedTask, list_tasks, load_task
from unified.specs.paths import resource
from unified.specs.preprocess import OPS
from unified.specs.schema import TaskSpec
from unified.specs.specimen import specimen
from unified.specs.vocabulary import DEFAULT_METRICS, LABELLED_BOX_METRICS, METRICS, RANKING
from unified.values.types import TYPES

BAD = Path(__file__).parents[1] / "assets" / "bad_specs"

# ----------------------------------------------------------------------------------------- check


def test_report(tmp_path: Path) -> None:
    good = BAD / "mixtures" / "ok_a.yaml"
    report = check_tasks([good, BAD / "two_mistakes.yaml", BAD / "mixtures" / "ok_shares.yaml"])
    lines = str(report).splitlines()
    assert len(report.tasks) == 1 and len(report.mixtures) == 1 and len(report.problems) == 2
    assert lines[2].startswith("ok  ok_a@v1:") and lines[2].endswith("1 prompt, 0 checks")
    assert lines[3:] == ["ok  shares  2 tasks", "2 problems in 1 file"]


def test_names_folders_and_unknown_names(tmp_path: Path) -> None:
    name = load_task(list_tasks()[0]).name
    assert [t.name for t in check_tasks([name]).tasks] == [name]
    assert len(check_tasks([BAD / "mixtures"]).tasks) == 3, "files that start with _ are no tasks"
    with pytest.raises(UserError, match="unknown task"):
        check_tasks(["no_such_thing"])


# ------------------------------------------------------------------------------------- specimen


@pytest.mark.parametrize("path", list_tasks(), ids=lambda p: p.stem)
def test_specimens_have_the_right_types(path: Path) -> None:
    spec = load_task(path).spec
    values = specimen(spec, np.random.default_rng(0))
    assert {n: type(v) for n, v in values.items()} == {n: TYPES[spec.field_type(n)] for n in spec.fields}


# ------------------------------------------------------------------------------------------- new


def checked(path: Path, text: str) -> LoadedTask:
    path.write_text(text)
    report = check_tasks([path])
    assert not report.problems, str(report)
    assert len(text.splitlines()) <= 25
    return report.tasks[0]


@pytest.mark.parametrize("path", list_tasks(), ids=lambda p: p.stem)
def test_new_task_like_any_shipped_one(path: Path, tmp_path: Path) -> None:
    like = load_task(path)
    out = tmp_path / "mine.yaml"
    mine = checked(out, new_task("mine", like.name, out=out))
    assert mine.spec.modality == like.spec.modality
    assert mine.spec.input.images == like.spec.input.images
    for name in mine.spec.fields:
        assert mine.spec.field_type(name) == like.spec.field_type(name)


def test_new_task_from_csv(tmp_path: Path) -> None:
    rows = tmp_path / "data" / "rows.csv"
    rows.parent.mkdir()
    rows.write_text('picture,query,response\na/1.png,"Is it red, or blue?",red\na/2.png,What is it?,cat\n')
    out = tmp_path / "mine.yaml"
    task = checked(out, new_task("my_vqa", like="vqa", source=rows, out=out))
    assert task.spec.source.model_dump(exclude_defaults=True) == {
        "type": "csv", "splits": {"train": "data/rows.csv"},
    }  # fmt: skip
    assert task.spec.fields["image"].path == "picture"
    assert task.spec.fields["question"].path == "query"
    assert task.spec.fields[task.spec.target.field or ""].path == "response"


def test_new_task_finds_choices_and_columns_by_content(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    data = [{"f": f"{i}.jpg", "kind": ("tree", "no")[i % 2]} for i in range(10)]
    rows.write_text("".join(json.dumps(row) + "\n" for row in data))
    text = new_task("shape", like="toybox_classify_shape", source=rows, out=tmp_path / "t.yaml")
    assert "TO FILL IN: there is no such column, but f, kind" in text, "'kind' is not guessed to be the label"
    renamed = rows.read_text().replace('"kind"', '"category"')
    rows.write_text(renamed)
    task = checked(
        tmp_path / "t.yaml",
        new_task("shape", like="toybox_classify_shape", source=rows, out=tmp_path / "t.yaml"),
    )
    assert task.spec.fields["image"].path == "f"
    assert task.spec.options is not None and task.spec.options.choices == ["no", "tree"]


def test_new_task_from_tsv_and_json(tmp_path: Path) -> None:
    (tmp_path / "r.tsv").write_text("image\tphrase\tbbox\n1.png\tit\t1 2 3 4\n")
    (tmp_path / "r.json").write_text('[{"image": "1.png", "expression": "it", "where": [1, 2, 3, 4]}]')
    for file in ("r.tsv", "r.json"):
        out = tmp_path / "t.yaml"
        task = checked(out, new_task("t", like="refer", source=tmp_path / file, out=out))
        assert task.spec.source.type == file.replace("r.tsv", "csv").removeprefix("r.")
        assert task.spec.fields["box"].path in ("bbox", "where")


@pytest.mark.parametrize(
    ("header", "path", "format"),
    [
        ("x,y,w,h", "{x} {y} {w} {h}", "xywh"),
        ("XMin,YMin,XMax,YMax", "{XMin} {YMin} {XMax} {YMax}", "xyxy"),
        ("cx,cy,w,h", "{cx} {cy} {w} {h}", "cxcywh"),
    ],
)
def test_new_task_finds_boxes_over_four_columns(tmp_path: Path, header: str, path: str, format: str) -> None:
    (tmp_path / "r.csv").write_text(f"image,phrase,{header}\n1.png,it,1,2,3,4\n")
    out = tmp_path / "t.yaml"
    task = checked(out, new_task("t", like="refer", source=tmp_path / "r.csv", out=out))
    assert (task.spec.fields["box"].path, task.spec.fields["box"].format) == (path, format)


@pytest.mark.parametrize(
    ("name", "like", "file", "message"),
    [
        ("My Task", "vqa", None, "cannot name a task"),
        ("t", "captoin", None, r"'captoin' \(did you mean 'caption'\?\)"),
        ("t", "vqa", "gone.csv", "there is no such file"),
        ("t", "vqa", "empty.csv", "holds no rows"),
        ("t", "vqa", "bad.jsonl", "cannot be read"),
        ("t", "vqa", "list.json", "holds no rows of named columns"),
        ("t", "vqa", "rows.xlsx", "is not .csv"),
    ],
)
def test_new_task_tells_what_is_wrong(
    name: str, like: str, file: str | None, message: str, tmp_path: Path
) -> None:
    (tmp_path / "empty.csv").write_text("a,b\n")
    (tmp_path / "bad.jsonl").write_text("{")
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "rows.xlsx").write_bytes(b"PK")
    with pytest.raises(UserError, match=message):
        new_task(name, like, tmp_path / file if file else None, tmp_path / "t.yaml")


# ---------------------------------------------------------------------------------------- schema


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def test_json_schema_is_whole() -> None:
    schema = json.loads(json.dumps(json_schema()))
    definitions = schema["$defs"]
    for reference in _references(schema):
        assert reference.removeprefix("#/$defs/") in definitions
    task = definitions["Task"]
    assert set(task["properties"]) == {*TaskSpec.model_fields, "include"}
    assert task["additionalProperties"] is False
    assert {"required": ["include"]} in task["anyOf"]
    assert definitions["FieldSpec"]["properties"]["path"]["description"].startswith("Where the value stands")
    assert definitions["MetricSpec"]["properties"]["name"]["enum"] == list(METRICS)


def test_json_schema_knows_the_shorthands() -> None:
    definitions = json_schema()["$defs"]
    prompt = definitions["InputSpec"]["properties"]["prompt"]
    assert {"type": "string"} in prompt["anyOf"]
    field = definitions["Task"]["properties"]["fields"]["additionalProperties"]
    assert {"type": "string"} in field["anyOf"] and {"type": "null"} in field["anyOf"]
    steps = definitions["Task"]["properties"]["preprocess"]["items"]["anyOf"]
    assert steps[0] == {"enum": list(OPS)} and set(steps[1]["properties"]) == set(OPS)


# ------------------------------------------------------------------------------------ vocabulary


def test_metric_names_are_those_that_there_are() -> None:
    assert sorted(METRICS) == metric_names()


def test_ranking_metrics_are_those_that_take_option_scores() -> None:
    assert sorted(RANKING) == [name for name in metric_names() if get_metric(name).ranks]


def test_default_metrics_fit_their_modality() -> None:
    assert set(DEFAULT_METRICS) == set(TYPES) - {"texts"}
    for modality, names in [*DEFAULT_METRICS.items(), ("boxes", LABELLED_BOX_METRICS)]:
        assert names and all(modality in METRICS[name] for name in names)


# ----------------------------------------------------------------------------------------- paths


def test_resources_in_a_checkout_and_in_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import unified

    assert (resource("task_specs") / "tasks").is_dir()
    package = tmp_path / "site-packages" / "unified"
    (package.parent / "tokenizers").mkdir(parents=True)  # Hugging Face's
    monkeypatch.setattr(unified, "__file__", str(package / "__init__.py"))
    with pytest.raises(UserError, match="install unified again"):
        resource("tokenizers")
    (package / "_resources" / "tokenizers").mkdir(parents=True)
    assert resource("tokenizers") == package / "_resources" / "tokenizers"
