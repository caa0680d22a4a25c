"""Every task of the library on a fixture in its official format: it loads, tokenises and detokenises, is
scored, is written for its server, and trains one step.

A spec with the tag `library` needs files under tests/assets/library and an entry in expected/ there; without
either its test fails. See expected.py for what an entry says.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from constants import constant
from expected import MAXIMA, expected
from fixtures import ASSETS, sizes

from unified.data.collate import collate
from unified.evaluation.cases import Case, Cases, read_cases
from unified.evaluation.metrics import Metric, Score
from unified.evaluation.predictor import Prediction, through_tokenizers
from unified.evaluation.results import metric_of, part_label
from unified.evaluation.scoring import Judge, judges_of, right_scores
from unified.evaluation.submission import Submission
from unified.model import UnifiedModel
from unified.objectives.base import build_objective
from unified.sources.fields import read_fields
from unified.sources.open import open_source
from unified.sources.presence import presence
from unified.specs.build import build_example
from unified.specs.catalogue import family, read_catalogue
from unified.specs.example import BadRow
from unified.specs.load import LoadedTask, list_tasks
from unified.tokenization.processor import Processor
from unified.values.types import Text

LIBRARY = [task for task in read_catalogue(list_tasks()).tasks if "library" in task.spec.tags]
FAMILIES = {
    "vqa", "reasoning", "grounding", "captioning", "dialogue", "retrieval", "sentiment", "pixels",
    "classification", "language",
}  # fmt: skip
CLOSE = 0.005


# ------------------------------------------------------------------------------------- the specs


def test_there_are_tasks_of_every_family() -> None:
    assert {family(task) for task in LIBRARY} == FAMILIES


def test_official_names_are_not_those_of_samples() -> None:
    assert not [task.name for task in LIBRARY if {"real", "toybox"} & set(task.spec.tags)]


@pytest.mark.parametrize("task", LIBRARY, ids=lambda task: task.name)
def test_spec_says_what_a_user_needs(task: LoadedTask) -> None:
    spec = task.spec
    missing = [
        key for key in ("homepage", "license", "citation", "description", "metrics") if not getattr(spec, key)
    ]
    assert not missing, f"{task.path}: a task of the library states {', '.join(missing)}"
    assert len(spec.input.prompt) >= 3, f"{task.path}: needs three prompts"
    assert family(task) in spec.tags, f"{task.path}: is not tagged '{family(task)}'"
    assert spec.source is not None and "$UNIFIED_DATA" in (spec.source.root or "") or spec.source.type == "hf"
    assert spec.download or spec.source.type == "hf", f"{task.path}: does not say where which file comes from"
    assert ("hub" in spec.tags) == task.name.endswith("_hub")


# -------------------------------------------------------------------------------------- the data


@pytest.mark.parametrize("task", LIBRARY, ids=lambda task: task.name)
def test_task(task: LoadedTask, model: UnifiedModel, processor: Processor, tmp_path: Path) -> None:
    assert str(presence(task)) == "yes", f"no fixture of {task.name} in {ASSETS}"
    splits: dict[str, Cases] = {}
    for split in task.spec.source.splits:
        splits[split] = read = read_cases(
            task, split, limit=None, seed=0, unanswered=True, **sizes(processor)
        )
        for example in read.examples:
            encoded = processor.encode(example, task)
            assert len(encoded.input_ids) < processor.max_input_length, f"{split}: {example.key} is cut off"
    if "train" in splits:
        trains_one_step(task, model, processor)

    wanted = expected(task.name)
    for split, read in splits.items():
        assert len(read.skipped) == wanted.get("skipped", {}).get(split, 0), f"{split}: {read.skipped}"
    scored = wanted.get("split") or next(
        s for s in ("validation", *splits) if s in splits and splits[s].cases
    )
    scores_are_as_expected(task, splits[scored], wanted, processor)
    for split, read in splits.items():
        submits(task, split, read, wanted.get("answer"), processor, tmp_path)


def scores_are_as_expected(
    task: LoadedTask, read: Cases, wanted: dict[str, Any], processor: Processor
) -> None:
    cases, judges = read.cases, judges_of(task, read.cases)
    examples = [case.example for case in cases]
    reached = through_tokenizers(processor, task, examples, device="cpu")
    perfect = values({j.label: j(reached, cases, right_scores(j, cases)) for j in judges})
    fixed = [constant(task, case, wanted.get("answer")) for case in cases]
    trivial = values({j.label: j(fixed, cases, all_alike(j, cases)) for j in judges})

    wrong = []
    for label, value in perfect.items():
        stated = wanted.get("perfect", {}).get(label, maximum(metric_of(label)))
        if stated is None or not agrees(value, stated):
            wrong.append(f"perfect: {label}: {value:.4f}, expected {stated}")
    for label, stated in wanted.get("constant", {}).items():
        if label not in trivial or not agrees(trivial[label], stated):
            wrong.append(f"constant: {label}: expected {stated}")
    if judges[0].label not in wanted.get("constant", {}):
        wrong.append(f"constant: '{judges[0].label}' is not stated")
    found = ", ".join(f"{label}: {value:.4f}" for label, value in trivial.items())
    assert not wrong, "\n".join([*wrong, f"the constant predictor has {found}"])


def values(scores: dict[str, Score]) -> dict[str, float]:
    """The value of each metric and of its parts."""
    out = {}
    for label, score in scores.items():
        out |= {label: score.value, **{part_label(label, p): v for p, v in score.parts.items()}}
    return out


def maximum(metric: Metric) -> float | None:
    return 1.0 if metric.unit == "%" and metric.higher_is_better else MAXIMA.get(metric.name)


def all_alike(judge: Judge, cases: list[Case]) -> list[Any] | None:
    scores = right_scores(judge, cases)
    return None if scores is None else [None if s is None else 0.0 * s for s in scores]


def agrees(value: float, stated: Any) -> bool:
    if isinstance(stated, dict):
        ((word, bound),) = stated.items()
        if word == "or_absent":
            return math.isnan(value) or agrees(value, bound)
        return {"at_least": value >= bound, "at_most": value <= bound}[word]
    return value == pytest.approx(stated, abs=CLOSE, nan_ok=True)


def submits(task: LoadedTask, split: str, read: Cases, answer: Any, processor: Processor, to: Path) -> None:
    """The file for the server, of the true answers, and of the constant one where these are hidden."""
    if task.spec.submission is None:
        return
    answers = [constant(task, Case(example, Text("")), answer) for example in read.examples]
    scores: list[Any] = [np.zeros(len(e.options)) if e.options else None for e in read.examples]
    if read.cases:
        examples = [case.example for case in read.cases]
        reached = through_tokenizers(processor, task, examples, device="cpu")
        right = next((s for j in judges_of(task, read.cases) if (s := right_scores(j, read.cases))), None)
        for i, place in enumerate(read.places):
            answers[place] = reached[i]
            scores[place] = scores[place] if right is None or right[i] is None else right[i]
    predictions = [Prediction(v, score=0.0, option_scores=s) for v, s in zip(answers, scores, strict=True)]
    path = Submission(to, split).add(task, read.examples, predictions)
    if path.is_dir():
        assert len(list(path.glob("*.png"))) == len(read.examples)
    elif path.suffix == ".json":
        assert json.loads(path.read_text())
    else:
        assert len(path.read_text().splitlines()) == len(read.examples)


def trains_one_step(task: LoadedTask, model: UnifiedModel, processor: Processor) -> None:
    source = open_source(task, "train")
    rows = [source[i] for i in range(len(source))] if hasattr(source, "__len__") else [r for _, r in source]
    encoded = []
    for i, row in enumerate(rows):
        try:
            rng = np.random.default_rng(i)
            built = build_example(
                task, read_fields(task, row, source), key=str(i), rng=rng, training=True, **sizes(processor)
            )
            encoded.append(processor.encode(built, task))
        except BadRow:
            continue
        if len(encoded) == 2:
            break
    assert encoded, "no row can be trained on"
    batch = collate(encoded).with_codes(processor.tokenizers.image)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    loss, _, _ = build_objective("seq2seq", [task.name])(model(**batch.inputs), batch, None)
    (loss / batch.weight).backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    assert math.isfinite(loss.item()) and loss.item() > 0 and math.isfinite(norm.item()) and norm.item() > 0
