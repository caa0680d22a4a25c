"""The page of a comparison."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from markupsafe import Markup

from unified.evaluation.compare import Compared, Comparison
from unified.evaluation.page import template
from unified.evaluation.results import metric_of

WIDTH, HEIGHT = 180, 16


def write_comparison(found: Comparison, path: Path) -> None:
    """Writes a comparison as one page."""
    counts = Counter(task.verdict for task in found.tasks)
    cards = [
        (str(counts["b"]), "tasks in which B is better", False),
        (str(counts["a"]), "tasks in which A is better", False),
        (str(counts["unclear"] + counts["equal"]), "tasks without a clear difference", False),
        (str(counts["unknown"]), "tasks without an interval", False),
    ]
    page = template("compare.html.j2").render(
        title=f"{_name(found.a)} and {_name(found.b)}",
        subtitle=f"split “{found.split}”, paired bootstrap, {found.resamples:,} resamples, seed {found.seed}",
        cards=cards,
        folders=[("A", found.a), ("B", found.b)],
        rows=[_row(task) for task in found.tasks],
        alone=found.alone,
    )
    path.write_text(page, encoding="utf-8")


def _name(folder: Path) -> str:
    """The run of a results folder `RUN/eval/...`, else the folder."""
    parts = folder.resolve().parts
    return parts[len(parts) - 1 - parts[::-1].index("eval") - 1] if "eval" in parts[1:] else parts[-1]


def _row(task: Compared) -> dict[str, Any]:
    marks = {"a": "bad", "b": "good"}
    return {
        "name": task.task,
        "metric": task.metric,
        "lower": not metric_of(task.metric).higher_is_better,
        "a": task.show(task.a),
        "b": task.show(task.b),
        "difference": task.show(task.difference, sign=True),
        "between": task.between,
        "bar": interval_bar(task),
        "n": task.n,
        "words": task.words,
        "mark": marks.get(task.verdict, ""),
        "note": task.note,
    }


def interval_bar(task: Compared) -> Markup:
    """The interval and the difference on a scale of their own around zero, where a line stands; better is to
    the right. Empty without an interval."""
    if task.interval is None or task.difference is None:
        return Markup("")
    sign = 1 if metric_of(task.metric).higher_is_better else -1
    values = [sign * value for value in (*task.interval, task.difference)]
    most = max(map(abs, values)) or 1.0
    low, high, at = (WIDTH / 2 + value / most * (WIDTH / 2 - 6) for value in values)
    low, high = min(low, high), max(low, high)
    kind = {"a": "worse", "b": "better"}.get(task.verdict, "unclear")
    return Markup(
        f'<svg class="interval {kind}" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">'
        f'<line class="zero" x1="{WIDTH / 2}" x2="{WIDTH / 2}" y1="0" y2="{HEIGHT}"/>'
        f'<rect x="{low:.1f}" y="6" width="{max(1.0, high - low):.1f}" height="4" rx="2"/>'
        f'<circle cx="{at:.1f}" cy="8" r="4"/></svg>'
    )
