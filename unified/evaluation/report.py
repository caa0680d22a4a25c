"""report.html of a run: curves, samples over training, the table of results, samples and worst rows of each
task, and how it was made. One file, no scripts, nothing from the network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unified.errors import UserError
from unified.evaluation.model_folder import HISTORY
from unified.evaluation.page import template
from unified.evaluation.report_tasks import row, task_section
from unified.evaluation.report_training import charts, grids, line_of, read_lines, sparks
from unified.evaluation.results import RESULTS, Results, find_results

SHOWN_FILES = ("model/run.yaml", "model/README.md")


def write_report(run_dir: Path) -> Path:
    """Writes `report.html` into a run folder, from its metrics.jsonl and its newest evaluation; returns the
    page's path.

    Also takes a results folder itself (one that holds results.json). Raises UserError where there is neither
    training nor evaluation to report.
    """
    run_dir = Path(run_dir)
    evaluated = find_results(run_dir)
    results = Results.load(evaluated) if evaluated else None
    sections = []
    if results is not None and evaluated is not None:
        sections = [task_section(name, task, evaluated) for name, task in results.tasks.items()]
    steps, history = read_lines(run_dir / "metrics.jsonl"), _history(run_dir)
    if results is None and not steps and not history:
        raise UserError(
            f"{run_dir}: neither metrics.jsonl nor eval/*/{RESULTS}: nothing to report yet; train or "
            "evaluate first"
        )
    page = template("report.html.j2").render(
        title=f"Run {run_dir.resolve().name}",
        subtitle=_subtitle(results),
        cards=_cards(results, steps),
        rows=[row(name, task) for name, task in results.tasks.items()] if results else [],
        charts=charts(steps),
        sparks=sparks(steps),
        tasks=sections,
        grids=grids(run_dir),
        command="\n".join(run["command"] for run in history if "command" in run),
        facts=_facts(results, history),
        files=[
            (f, (run_dir / f).read_text(encoding="utf-8", errors="replace"))
            for f in SHOWN_FILES
            if (run_dir / f).is_file()
        ],
    )
    path = run_dir / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _history(run_dir: Path) -> list[dict[str, Any]]:
    """The runs that made the weights, the first one first; none where nothing tells."""
    try:
        history = json.loads((run_dir / "model" / HISTORY).read_text())
        return [run for run in history if isinstance(run, dict)]
    except (OSError, ValueError, TypeError):  # no model, or a file that somebody changed
        return []


def _cards(results: Results | None, steps: list[dict[str, Any]]) -> list[tuple[str, str, bool]]:
    cards = []
    if results:
        judged = [
            t.better_than_baseline for t in results.tasks.values() if t.better_than_baseline is not None
        ]
        cards.append((f"{sum(judged)} of {len(judged)}", "tasks better than their baseline", False))
        cards.append((f"{sum(t.n for t in results.tasks.values()):,}", "rows evaluated", False))
    if steps:
        loss, speed = line_of(steps, "loss"), line_of(steps, "tokens_per_second")
        cards.append((f"{int(steps[-1]['step']):,}", "steps", False))
        if loss.y:
            n = max(1, len(loss.y) // 20)
            cards.append((f"{sum(loss.y[-n:]) / n:.3f}", f"loss, from {loss.y[0]:.3f}", False))
        if speed.y:
            cards.append((f"{sorted(speed.y)[len(speed.y) // 2]:,.0f}", "tokens a second", False))
    return cards


def _subtitle(results: Results | None) -> str:
    if results is None:
        return "not evaluated yet"
    about = results.about
    limit = "" if about.get("limit") is None else f", at most {about['limit']} rows a task"
    return (
        f"{about['parameters']:,} parameters · evaluated {about['when']} on split “{about['split']}”{limit}"
    )


WHERE = ("versions", "machine", "threads", "accelerator")
"""What the history tells of where a run was trained."""


def _facts(results: Results | None, history: list[dict[str, Any]]) -> list[tuple[str, str]]:
    facts: dict[str, Any] = {}
    if results is not None:
        facts = results.about | {"tasks": [task.identity for task in results.tasks.values()]}
        facts = {{"command": "evaluated by"}.get(name, name): value for name, value in facts.items()}
    if history:
        facts |= {f"trained with: {name}": history[-1].get(name) for name in WHERE}
    told = {name: value for name, value in facts.items() if value not in (None, [], {})}
    return [(name.replace("_", " "), _plain(value)) for name, value in told.items()]


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    return ", ".join(map(_plain, value)) if isinstance(value, list) else str(value)
