"""A model evaluated on tasks of the library: its own rankings and answers, and the files for servers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unified.evaluation.evaluator import evaluate
from unified.model import UnifiedModel
from unified.specs.load import load_task
from unified.tokenization.processor import Processor


def test_hidden_answers_are_submitted(model: UnifiedModel, processor: Processor, tmp_path: Path) -> None:
    found = evaluate(model, processor, [load_task("vqav2")], split="test", submission=tmp_path)
    mine = found.tasks["vqav2"]
    rows = json.loads((tmp_path / "vqav2_test.json").read_text())
    assert mine.n == 0 and mine.unanswered == len(rows) > 0 and set(mine.metrics.values()) == {None}
    assert all(isinstance(row["question_id"], int) and isinstance(row["answer"], str) for row in rows)


def test_dialogues_are_ranked(model: UnifiedModel, processor: Processor, tmp_path: Path) -> None:
    found = evaluate(model, processor, [load_task("visdial")], limit=4, submission=tmp_path)
    mine = found.tasks["visdial"]
    assert 1 <= mine.metrics["mean_rank"] <= 100 and mine.ceiling["mrr"] == 1
    rows = json.loads((tmp_path / "visdial_validation.json").read_text())
    assert len(rows) == 4 and all(sorted(row["ranks"]) == list(range(1, 101)) for row in rows)
    assert all(isinstance(row["image_id"], int) and 1 <= row["round_id"] <= 10 for row in rows)


def test_answer_and_reason_of_vcr(model: UnifiedModel, processor: Processor) -> None:
    tasks = [load_task("vcr_answer"), load_task("vcr_rationale")]
    found = evaluate(model, processor, tasks).tasks["vcr_answer"]
    both = "accuracy(jointly=vcr_rationale)"
    assert found.ceiling[both] == 1 and both not in found.notes
    assert 0 <= found.metrics[both] <= min(found.metrics["accuracy"], 1)
    alone = evaluate(model, processor, tasks[:1]).tasks["vcr_answer"]
    assert alone.metrics[both] is None and "vcr_rationale" in alone.notes[both]


@pytest.mark.parametrize("name", ["nlvr2", "coco_detection", "vizwiz_grounding"])
def test_files_of_other_kinds(name: str, model: UnifiedModel, processor: Processor, tmp_path: Path) -> None:
    """Whatever an untrained model says becomes a file of the right shape."""
    task = load_task(name)
    found = evaluate(model, processor, [task], limit=2, submission=tmp_path).tasks[name]
    path = Path(found.submission)
    assert path.parent == tmp_path and found.n == 2
    if name == "nlvr2":
        assert {line.split(",")[1] for line in path.read_text().splitlines()} <= {"True", "False"}
    elif name == "vizwiz_grounding":
        assert len(list(path.glob("*.png"))) == 2
    else:
        assert all(len(row["bbox"]) == 4 for row in json.loads(path.read_text()))
