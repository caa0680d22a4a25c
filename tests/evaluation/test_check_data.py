"""`unified tasks check --data`: what is here is read, what is not says where it comes from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from unified.cli import main

SPEC = """\
task: {name}
homepage: https://example.org/set
download: {{rows.jsonl: https://example.org/rows.zip, images: https://example.org/images.zip}}
source:
  type: jsonl
  root: $UNIFIED_DATA/set
  splits: {{train: rows.jsonl, test: test.jsonl}}
fields: {{image: "images/{{file}}", question: question, answer: answer}}
input: {{images: [image], prompt: "{{{{ question }}}}"}}
target: {{field: answer}}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNIFIED_DATA", str(tmp_path / "data"))
    (tmp_path / "mine.yaml").write_text(SPEC.format(name="mine"))
    images = tmp_path / "data" / "set" / "images"
    images.mkdir(parents=True)
    rows(tmp_path, "rows", 20)
    rows(tmp_path, "test", 3, answer=None)
    for i in range(20):
        PIL.Image.new("RGB", (8, 6), (10 * i, 0, 0)).save(images / f"{i}.png")
    return tmp_path


def rows(here: Path, name: str, n: int, **changes: Any) -> None:
    made = [{"file": f"{i}.png", "question": "what ?", "answer": "a ball"} | changes for i in range(n)]
    made = [{k: v for k, v in row.items() if v is not None} for row in made]
    (here / "data" / "set" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, made)))


def check(capsys: pytest.CaptureFixture[str], *names: str) -> tuple[int, list[str]]:
    code = main(["tasks", "check", "--data", *names])
    return code, capsys.readouterr().out.splitlines()


def test_data_that_is_here(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = check(capsys, "mine.yaml", "toybox_vqa_count", "unified_io_pose")
    assert code == 0
    assert lines == [
        "ok      mine  train 8 of 20, test 3 of 3, not all with an answer",
        "ok      toybox_vqa_count  train 8 of 1000000, validation 8 of 2000, held_out 8 of 2000",
    ], "a task without a source has nothing to read"


def test_absent_files(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "data" / "set" / "rows.jsonl").unlink()
    code, lines = check(capsys, "mine.yaml")
    assert code == 0, "absent data is no mistake"
    assert lines == [
        "ok      mine  test 3 of 3, not all with an answer",
        "absent  mine  train",
        f"  source.splits.train: no such file: {here}/data/set/rows.jsonl",
        f"  'mine' needs these below {here}/data/set:",
        "    rows.jsonl  <-  https://example.org/rows.zip",
        "    images  <-  https://example.org/images.zip",
        "  officially found at https://example.org/set",
    ]


def test_absent_pictures_and_variable(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(here / "data" / "set" / "images")
    code, lines = check(capsys, "mine.yaml")
    assert code == 0 and lines[0] == "absent  mine  train, test"
    assert lines[1].startswith("  train: 8 of 8 rows: field 'image': no such file: ")
    monkeypatch.delenv("UNIFIED_DATA")
    code, lines = check(capsys, "mine.yaml")
    assert code == 0 and "$UNIFIED_DATA, which is not set" in lines[1]
    assert "  'mine' needs these below $UNIFIED_DATA/set:" in lines


def test_the_hub_is_not_asked(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = SPEC.format(name="mine").partition("source:")[0].replace("download", "notes: []\ndownload")
    rest = SPEC.format(name="mine").partition("fields:")[2]
    source = "source: {type: hf, path: some-lab/Set, splits: {train: train}}\nfields:"
    (here / "mine.yaml").write_text(text + source + rest)
    code, lines = check(capsys, "mine.yaml")
    assert code == 0
    assert lines[:2] == [
        "absent  mine  train",
        f"  no copy of the hub's some-lab/Set at {here}/data/hub/some-lab/Set",
    ]


def test_broken_rows_and_specs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows(here, "rows", 20, question=None)
    (here / "data" / "set" / "test.jsonl").write_text('{\n"a": 1}')
    (here / "bad.yaml").write_text("task: bad\nfields: {text: text}\ntarget: {field: text}\n")
    code, lines = check(capsys, "mine.yaml", "bad.yaml")
    assert code == 2
    assert lines[0] == "bad.yaml:1: input: a required key is missing"
    assert lines[1].startswith("broken  mine")
    assert lines[2].startswith("  train: rows.jsonl:1: field 'question': no key 'question'")
    assert lines[-1].startswith("  test: source: ") and "is one JSON document" in lines[-1]
