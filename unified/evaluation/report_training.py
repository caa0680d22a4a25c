"""The part of a report about training: curves, the loss of each task, the grids of samples over steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image as Pillow

from unified.evaluation.curves import Line, chart, sparkline
from unified.evaluation.page import data_uri

GRIDS = "samples"
"""Folder of the grids that a run draws: `<step>/<task>.png`."""
MOST_STEPS = 6
"""Grids of a task that a report shows, the first and the last among them."""
GRID_SIDE = 760
"""Longest side of a grid in a report, in pixels."""


def read_lines(path: Path) -> list[dict[str, Any]]:
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


def line_of(steps: list[dict[str, Any]], key: str, name: str = "") -> Line:
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


def charts(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    out = []
    for title, key, log in CHARTS:
        svg = chart([line_of(steps, key)], title=f"{title} over steps", log=log)
        if svg:
            out.append({"title": title, "svg": Markup(svg)})
    return out


def sparks(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = sorted({k for r in steps for k in r if k.startswith("loss/")})
    out = []
    for key in names:
        line = line_of(steps, key, key.removeprefix("loss/"))
        if line.x:
            n = max(1, len(line.y) // 20)
            first, last = sum(line.y[:n]) / n, sum(line.y[-n:]) / n
            svg = Markup(sparkline(line))
            out.append({"name": line.name, "svg": svg, "first": f"{first:.2f}", "last": f"{last:.2f}"})
    return out


def grids(run_dir: Path) -> list[dict[str, Any]]:
    """{name, steps: [{step, src}]} of each task whose samples a run has drawn; of many steps, some."""
    tasks: dict[str, list[Path]] = {}
    for path in sorted((run_dir / GRIDS).glob("step_*/*.png")):
        tasks.setdefault(path.stem, []).append(path)
    return [
        {"name": name, "steps": [_grid(path) for path in _spread(paths)]}
        for name, paths in sorted(tasks.items())
    ]


def _spread(paths: list[Path]) -> list[Path]:
    if len(paths) <= MOST_STEPS:
        return paths
    return [paths[round(i * (len(paths) - 1) / (MOST_STEPS - 1))] for i in range(MOST_STEPS)]


def _grid(path: Path) -> dict[str, str]:
    with Pillow.open(path) as opened:
        src = data_uri(opened, GRID_SIDE)
    return {"step": f"{int(path.parent.name.removeprefix('step_')):,}", "src": src}
