"""The part of a report about the evaluation: the table of results, and of each task its samples, its worst
rows and which answers it confuses."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image as Pillow

from unified.evaluation.page import data_uri
from unified.evaluation.results import TaskResult, metric_of, shown

SIDE = 320
"""Longest side of a sample's picture, in pixels."""


def _anchor(name: str) -> str:
    return "task-" + re.sub(r"[^a-zA-Z0-9]+", "-", name)


def row(name: str, task: TaskResult) -> dict[str, Any]:
    metric = metric_of(task.headline)
    return {
        "name": name,
        "anchor": _anchor(name),
        "metric": task.headline,
        "lower": not metric.higher_is_better,
        "model": shown(task.headline, task.metrics),
        "baseline": shown(task.headline, task.baseline),
        "ceiling": shown(task.headline, task.ceiling),
        "n": task.n,
        "better": task.better_than_baseline,
        "range": range_bar(task),
    }


def range_bar(task: TaskResult) -> Any:
    """A bar for the model with ticks for baseline and ceiling, on one scale from 0."""
    values = [(v or {}).get(task.headline) for v in (task.metrics, task.baseline, task.ceiling)]
    known = [v for v in values if v is not None]
    most = max([*known, 0.0])
    unit = metric_of(task.headline).unit
    if unit == "%":
        most = max(1.0, most)
    if most <= 0 or values[0] is None:
        return ""
    model, base, ceiling = (None if v is None else max(0.0, v) / most * 126 + 2 for v in values)
    assert model is not None
    out = ['<svg class="range" viewBox="0 0 130 14" aria-hidden="true">']
    out.append('<rect class="track" x="2" y="4" width="126" height="6" rx="3"/>')
    out.append(f'<rect class="model" x="2" y="4" width="{max(0.0, model - 2):.1f}" height="6" rx="3"/>')
    for x, kind in ((ceiling, "ceil"), (base, "base")):
        if x is not None:
            out.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="14"/>')
    return Markup("".join(out) + "</svg>")


def task_section(name: str, task: TaskResult, folder: Path) -> dict[str, Any]:
    numbers = []
    for label in task.metrics:
        beside = [
            ("baseline", task.baseline),
            ("copying the input", task.copy_input),
            ("ceiling", task.ceiling),
        ]
        words = ", ".join(f"{what} {shown(label, values)}" for what, values in beside if values is not None)
        model = shown(label, task.metrics)
        numbers.append({"name": label, "model": model, "beside": f"({words})" if words else ""})
    notes = [f"{task.n} rows of {task.identity}"]
    if task.baseline_answer:
        notes.append(f"the baseline always answers {task.baseline_answer}")
    if task.skipped:
        notes.append(f"{task.skipped} rows could not be used")
    if task.unanswered:
        notes.append(f"{task.unanswered} rows have no true answer and were not scored")
    if task.malformed:
        notes.append(f"{task.malformed} predictions were not whole answers")
    notes += [f"{label}: {note}" for label, note in task.notes.items()]
    samples, worst = ([_sample(s, folder) for s in some] for some in (task.samples, task.worst))
    for one in worst:
        one["score"] = shown(task.worst_by or "", {task.worst_by or "": one["score"]})
    return {
        "name": name,
        "anchor": _anchor(name),
        "better": task.better_than_baseline,
        "numbers": numbers,
        "notes": "; ".join(notes) + ".",
        "samples": samples,
        "many": any(len(s["pictures"]) > 1 for s in samples),
        "worst": worst,
        "worst_by": task.worst_by,
        "confusion": _confusion(task.confusion),
    }


def _sample(sample: dict[str, Any], folder: Path) -> dict[str, Any]:
    files = [
        (f"input {i + 1}" if len(sample["inputs"]) > 1 else "input", f)
        for i, f in enumerate(sample["inputs"])
    ]
    files += [("target", sample["reference_image"]), ("prediction", sample["prediction_image"])]
    pictures = [{"name": n, "src": _inline(folder / f)} for n, f in files if f and (folder / f).is_file()]
    score = sample.get("score")
    verdict = "" if score is None or math.isnan(score) else {0.0: "wrong", 1.0: "right"}.get(score, "")
    return {
        "prompt": sample["prompt"],
        "pictures": pictures,
        "words": sample["worded"],
        "prediction": sample["prediction"],
        "reference": sample["reference"],
        "verdict": verdict,
        "score": score,
    }


def _inline(path: Path) -> str:
    with Pillow.open(path) as opened:
        return data_uri(opened, SIDE)


def _confusion(found: dict[str, Any] | None) -> dict[str, Any] | None:
    """For the page: each cell with its share of the true answer's rows."""
    if found is None:
        return None
    rows = [
        {
            "name": name,
            "cells": [
                {"n": n, "share": round(n / max(1, sum(counts)), 3), "right": i == j}
                for j, n in enumerate(counts)
            ],
        }
        for i, (name, counts) in enumerate(zip(found["labels"], found["counts"], strict=True))
    ]
    return {"labels": found["labels"], "rows": rows}
