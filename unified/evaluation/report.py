"""report.html of a run: curves, the table of results, samples of each task, and how it was made. One file,
no scripts, nothing from the network."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image as Pillow

from unified.errors import UserError
from unified.evaluation.curves import Line, chart, sparkline
from unified.evaluation.model_folder import HISTORY
from unified.evaluation.results import RESULTS, Results, TaskResult, metric_of, shown

PICTURE = 320
"""Longest side of a picture in the report, in pixels."""
SHOWN_FILES = ("model/run.yaml", "model/README.md")


def write_report(run_dir: Path) -> Path:
    """Writes `report.html` into a run folder, from its metrics.jsonl and its newest evaluation; returns the
    page's path.

    Also takes a results folder itself (one that holds results.json). Raises UserError where there is neither
    training nor evaluation to report.
    """
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise UserError(
            f"{run_dir}: is no folder of a run" if run_dir.exists() else f"{run_dir}: no such folder"
        )
    evaluations = [*run_dir.glob(RESULTS), *(run_dir / "eval").rglob(RESULTS)]
    evaluated = max(evaluations, key=lambda p: p.stat().st_mtime).parent if evaluations else run_dir
    results = Results.load(evaluated) if evaluations else None
    steps = _read_lines(run_dir / "metrics.jsonl")
    if results is None and not steps:
        raise UserError(
            f"{run_dir}: neither metrics.jsonl nor eval/*/{RESULTS}: nothing to report yet; train or "
            "evaluate first"
        )
    page = _template().render(
        title=f"Run {run_dir.resolve().name}",
        subtitle=_subtitle(results),
        cards=_cards(results, steps),
        rows=[_row(name, task) for name, task in results.tasks.items()] if results else [],
        charts=_charts(steps),
        sparks=_sparks(steps),
        tasks=[_task(name, task, evaluated) for name, task in results.tasks.items()] if results else [],
        command=_command(run_dir),
        facts=_facts(results),
        files=[
            (f, (run_dir / f).read_text(errors="replace")) for f in SHOWN_FILES if (run_dir / f).is_file()
        ],
    )
    path = run_dir / "report.html"
    path.write_text(page)
    return path


@cache
def _template() -> jinja2.Template:
    loader = jinja2.PackageLoader("unified.evaluation", ".")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html.j2")


def _svg(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)  # our own SVG; names in it are escaped where it is made


# ---------------------------------------------------------------------------------- training


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a tracker; a line that a stopped run left unfinished is passed over."""
    if not path.is_file():
        return []
    out = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int | float):
            out.append(row)
    return out


def _line(steps: list[dict[str, Any]], key: str, name: str = "") -> Line:
    rows = [(r["step"], float(r[key])) for r in steps if isinstance(r.get(key), int | float)]
    return Line(name or key, [s for s, _ in rows], [v for _, v in rows])


CHARTS = (
    ("Loss a target token", "loss", True),
    ("Target tokens predicted right (share)", "token_accuracy", False),
    ("Learning rate", "lr", False),
    ("Tokens a second", "tokens_per_second", False),
    ("Norm of the gradient", "grad_norm", True),
    ("Share of time spent waiting for data", "data_wait", False),
    ("Share of positions that are not padding", "fill", False),
)


def _charts(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    out = []
    for title, key, log in CHARTS:
        svg = chart([_line(steps, key)], title=f"{title} over steps", log=log)
        if svg:
            out.append({"title": title, "svg": _svg(svg), "legend": [title]})
    return out


def _sparks(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = sorted({k for r in steps for k in r if k.startswith("loss/")})
    out = []
    for key in names:
        line = _line(steps, key, key.removeprefix("loss/"))
        if line.x:
            n = max(1, len(line.y) // 20)
            first, last = sum(line.y[:n]) / n, sum(line.y[-n:]) / n
            svg = _svg(sparkline(line))
            out.append({"name": line.name, "svg": svg, "first": f"{first:.2f}", "last": f"{last:.2f}"})
    return out


# ------------------------------------------------------------------------------------- head


def _cards(results: Results | None, steps: list[dict[str, Any]]) -> list[dict[str, str]]:
    cards = []
    if results:
        judged = [
            t.better_than_baseline for t in results.tasks.values() if t.better_than_baseline is not None
        ]
        cards.append({"value": f"{sum(judged)} of {len(judged)}", "name": "tasks better than their baseline"})
        cards.append({"value": f"{sum(t.n for t in results.tasks.values()):,}", "name": "rows evaluated"})
    if steps:
        loss, speed = _line(steps, "loss"), _line(steps, "tokens_per_second")
        cards.append({"value": f"{int(steps[-1]['step']):,}", "name": "steps"})
        if loss.y:
            n = max(1, len(loss.y) // 20)
            cards.append({"value": f"{sum(loss.y[-n:]) / n:.3f}", "name": f"loss, from {loss.y[0]:.3f}"})
        if speed.y:
            cards.append({"value": f"{sorted(speed.y)[len(speed.y) // 2]:,.0f}", "name": "tokens a second"})
    return cards


def _command(run_dir: Path) -> str:
    """The commands that made the weights, one a line, the first run's first; empty where nothing tells."""
    try:
        history = json.loads((run_dir / "model" / HISTORY).read_text())
        return "\n".join(run["command"] for run in history)
    except (OSError, ValueError, KeyError, TypeError):  # no model, or a file that somebody changed
        return ""


def _subtitle(results: Results | None) -> str:
    if results is None:
        return "not evaluated yet"
    about = results.about
    limit = "" if about.get("limit") is None else f", at most {about['limit']} rows a task"
    return (
        f"{about['parameters']:,} parameters · evaluated {about['when']} on split “{about['split']}”{limit}"
    )


def _facts(results: Results | None) -> list[tuple[str, str]]:
    if results is None:
        return []
    facts = results.about | {"tasks": [task.identity for task in results.tasks.values()]}
    told = {name: value for name, value in facts.items() if value not in (None, [], {})}
    return [(name.replace("_", " "), _plain(value)) for name, value in told.items()]


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    return ", ".join(map(_plain, value)) if isinstance(value, list) else str(value)


# ------------------------------------------------------------------------------------- tasks


def _anchor(name: str) -> str:
    return "task-" + re.sub(r"[^a-zA-Z0-9]+", "-", name)


def _row(name: str, task: TaskResult) -> dict[str, Any]:
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
        "range": _range(task),
    }


def _range(task: TaskResult) -> Any:
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
    return _svg("".join(out) + "</svg>")


def _task(name: str, task: TaskResult, folder: Path) -> dict[str, Any]:
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
    samples = [_sample(s, folder) for s in task.samples]
    return {
        "name": name,
        "anchor": _anchor(name),
        "better": task.better_than_baseline,
        "numbers": numbers,
        "notes": "; ".join(notes) + ".",
        "samples": samples,
        "many": any(len(s["pictures"]) > 1 for s in samples),
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
    }


def _inline(path: Path) -> str:
    """A picture as a data URI, shrunk to what the page shows; small ones are enlarged by whole pixels."""
    with Pillow.open(path) as opened:
        picture = opened.convert("RGB")
    enlarge = PICTURE // max(picture.size)
    if enlarge > 1:
        picture = picture.resize(
            (picture.width * enlarge, picture.height * enlarge), Pillow.Resampling.NEAREST
        )
    picture.thumbnail((PICTURE, PICTURE), Pillow.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
