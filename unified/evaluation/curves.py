"""Line charts as inline SVG: no library, no script, colours from the page's style sheet."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT = 400, 210
LEFT, RIGHT, TOP, BOTTOM = 50, 10, 10, 28
POINTS = 400
"""Most points of a line; longer runs are averaged over equal stretches of steps."""


@dataclass(frozen=True)
class Line:
    """One line of a chart. `y` may hold nan, where the line has a gap."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def chart(lines: Sequence[Line], *, title: str, log: bool = False) -> str:
    """An SVG of lines over steps. `log`: a logarithmic y axis, for positive values only."""
    lines = [thinned for line in lines if len((thinned := _thin(line)).x)]
    if not lines:
        return ""
    ys = np.concatenate([np.asarray(line.y) for line in lines])
    log = log and bool(np.all(ys > 0))
    xs = np.concatenate([np.asarray(line.x) for line in lines])
    x_ticks, y_ticks = _ticks(float(xs.min()), float(xs.max())), _y_ticks(ys, log)
    x_low, x_high = float(xs.min()), max(float(xs.max()), float(xs.min()) + 1e-9)
    y_low, y_high = min(float(ys.min()), y_ticks[0]), max(float(ys.max()), y_ticks[-1])

    def px(x: float) -> float:
        return LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def py(y: float) -> float:
        a, b, v = (math.log(y_low), math.log(y_high), math.log(y)) if log else (y_low, y_high, y)
        return HEIGHT - BOTTOM - (v - a) / max(b - a, 1e-12) * (HEIGHT - TOP - BOTTOM)

    out = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(title)}">']
    for y in y_ticks:
        out.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{py(y):.1f}" y2="{py(y):.1f}"/>')
        out.append(
            f'<text class="tick" x="{LEFT - 7}" y="{py(y) + 4:.1f}" text-anchor="end">{_short(y)}</text>'
        )
    for x in x_ticks:
        at = f'x="{px(x):.1f}" y="{HEIGHT - BOTTOM + 18}"'
        out.append(f'<text class="tick" {at} text-anchor="middle">{_short(x)}</text>')
    for i, line in enumerate(lines):
        path = " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in zip(line.x, line.y, strict=True))
        name = html.escape(line.name)
        if len(line.x) == 1:
            out.append(
                f'<circle class="dot c{i % 6}" cx="{px(line.x[0]):.1f}" cy="{py(line.y[0]):.1f}" r="3"/>'
            )
        else:
            out.append(f'<polyline class="line c{i % 6}" points="{path}"><title>{name}</title></polyline>')
    out.append("</svg>")
    return "".join(out)


def sparkline(line: Line) -> str:
    """A small chart without axes, from the line's own lowest to its highest value."""
    line = _thin(line)
    if not len(line.x):
        return ""
    x, y = np.asarray(line.x, float), np.asarray(line.y, float)
    px = 2 + (x - x[0]) / max(float(x[-1] - x[0]), 1e-9) * 156
    py = 38 - (y - y.min()) / max(float(np.ptp(y)), 1e-12) * 34
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(px, py, strict=True))
    drawn = f'<polyline class="line c0" points="{points}"/>'
    return (
        f'<svg class="spark" viewBox="0 0 160 42" preserveAspectRatio="none" aria-hidden="true">{drawn}</svg>'
    )


def _thin(line: Line) -> Line:
    known = [(x, y) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]
    if len(known) <= POINTS:
        return Line(line.name, [x for x, _ in known], [y for _, y in known])
    parts = np.array_split(np.array(known), POINTS)
    return Line(line.name, [float(p[:, 0].mean()) for p in parts], [float(p[:, 1].mean()) for p in parts])


def _ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round values within [low, high]."""
    if high <= low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough)
    first = math.ceil(low / step - 1e-9) * step
    return [round(first + i * step, 12) for i in range(int((high - first) / step + 1e-9) + 1)]


def _y_ticks(values: np.ndarray, log: bool) -> list[float]:
    low, high = float(values.min()), float(values.max())
    if not log:
        low = min(0.0, low)
        return _ticks(low, high if high > low else low + 1.0)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(powers) <= 3 else (1,)
    ticks = [m * 10.0**p for p in powers for m in steps]
    inside = [t for t in ticks if low <= t <= high]
    return inside if len(inside) >= 2 else [low, high]


def _short(value: float) -> str:
    """12000 -> 12k, 0.0001 -> 1e-4."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:g}k"
    if abs(value) < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.4g}"
