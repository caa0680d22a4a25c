"""What an evaluation found: the numbers of each task, the predictions, and a few samples to look at."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from unified.errors import UserError
from unified.evaluation.metrics import Metric, get_metric

RESULTS, PREDICTIONS, SAMPLES = "results.json", "predictions.jsonl", "samples"


@dataclass
class TaskResult:
    """The numbers of one task.

    `metrics`, `baseline`, `ceiling` and `copy_input` map a metric's label (its name, with arguments if it has
    any) to its value, None where it has none, and `label: part` to each of its parts; `baseline` is a trivial
    predictor's, which answers `baseline_answer`; `ceiling` that of the true answers sent through the
    tokenizers and back. The headline metric is the first. `n`: rows that were scored; `unanswered`: rows
    without a true answer, which were only answered. `malformed`: predictions that were not whole answers.
    `submission`: the file for a server.
    """

    identity: str
    modality: str
    n: int
    skipped: int
    malformed: int
    seconds: float
    headline: str
    metrics: dict[str, float | None]
    notes: dict[str, str] = field(default_factory=dict)
    baseline: dict[str, float | None] | None = None
    baseline_answer: str | None = None
    copy_input: dict[str, float | None] | None = None
    ceiling: dict[str, float | None] | None = None
    better_than_baseline: bool | None = None
    headline_args: dict[str, Any] = field(default_factory=dict)
    """Arguments of the headline metric."""
    unanswered: int = 0
    submission: str | None = None
    samples: list[dict[str, Any]] = field(default_factory=list)
    """{key, prompt, reference, prediction: words; score: of the headline metric, or None; worded: whether the
    words are the answer; inputs: [file], reference_image, prediction_image: files under the results folder,
    None where there is nothing to see}."""
    worst: list[dict[str, Any]] = field(default_factory=list)
    """As `samples`, those of the lowest scores by the metric `worst_by`, the worst first."""
    worst_by: str | None = None
    confusion: dict[str, Any] | None = None
    """Of a closed set of answers: {labels: names, counts: a row a true answer, a column a given one}."""


@dataclass
class Results:
    """An evaluation. `about`: model, split, limit, seed, versions, machine, device, command, tokenizer hash,
    time; `not_evaluated`: task -> what it lacks here."""

    about: dict[str, Any]
    tasks: dict[str, TaskResult] = field(default_factory=dict)

    def save(self, folder: Path) -> Path:
        """Writes results.json into `folder`; returns its path."""
        path = folder / RESULTS
        data = {"about": self.about, "tasks": {name: asdict(task) for name, task in self.tasks.items()}}
        path.write_text(json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        return path

    @classmethod
    def load(cls, folder: Path) -> Results:
        """The results that `save` wrote."""
        path = folder / RESULTS
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            data["about"] = {"parameters": 0, "when": "?", "split": "?", **data["about"]}
            return cls(data["about"], {name: TaskResult(**task) for name, task in data["tasks"].items()})
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; run `unified eval` first") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path}: not a results file of this version ({error}); run `unified eval` again"
            ) from None

    def table(self) -> str:
        """A plain table for a terminal: headline metric of each task with its parts, its baseline and its
        ceiling, and figures over two tasks. Below it, the tasks that were not evaluated and why."""
        rows: list[tuple[str, ...]] = [("task", "metric", "model", "baseline", "ceiling", "n", "")]
        for name, task in self.tasks.items():
            verdict = {True: "better", False: "not better", None: ""}[task.better_than_baseline]
            rows.append((name, *_cells(task, task.headline), str(task.n), verdict))
            for label in task.metrics:
                if label.startswith(f"{task.headline}: ") or "jointly=" in label:
                    own = _cells(task, label)
                    rows.append(("", f"  {label.removeprefix(f'{task.headline}: ')}", *own[1:], "", ""))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        absent = self.about.get("not_evaluated") or {}
        lines += ["", "not evaluated:"] if absent else []
        return "\n".join([*lines, *(f"  {name}: {why}" for name, why in absent.items())])


def find_results(folder: str | Path) -> Path | None:
    """The folder of the newest evaluation of a run, or of a results folder, that itself; None where there is
    none. Raises UserError for what is no folder."""
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise UserError(
            f"{folder}: is no folder of a run" if folder.exists() else f"{folder}: no such folder"
        )
    if (folder / RESULTS).is_file():
        return folder
    found = list((folder / "eval").rglob(RESULTS))
    return max(found, key=lambda path: path.stat().st_mtime).parent if found else None


def _cells(task: TaskResult, label: str) -> tuple[str, ...]:
    return (label, *(shown(label, values) for values in (task.metrics, task.baseline, task.ceiling)))


def part_label(label: str, part: str) -> str:
    """What a part of a metric is called."""
    return f"{label}: {part}"


def metric_of(label: str) -> Metric:
    """The metric that a label, or that of a part, is of."""
    return get_metric(re.split(r"[(:]", label, maxsplit=1)[0])


def shown(label: str, values: Mapping[str, float | None] | None) -> str:
    """A metric's value for a person; a dash where there is none."""
    value = None if values is None else values.get(label)
    return metric_of(label).show(math.nan if value is None else value)
