"""The page of a preview."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unified.evaluation.page import data_uri, template
from unified.preview.rows import Preview, Row
from unified.preview.terminal import summary


def write_preview(found: Preview, path: Path) -> None:
    """Writes the page of a preview."""
    encoder, decoder = [row.encoder for row in found.rows], [row.decoder for row in found.rows]
    failed = sum(not row.passed for row in found.rows)
    cards = [
        (str(len(found.rows)), "rows shown", False),
        (str(len(found.skipped)), "rows skipped", bool(found.skipped)),
        (str(failed), "rows past a tolerance", bool(failed)),
        (_span(encoder), "positions in the encoder", False),
        (_span(decoder), "positions in the decoder", False),
    ]
    page = template("preview.html.j2", "unified.preview").render(
        title=found.task.name,
        subtitle=summary(found),
        cards=cards,
        worst=found.worst,
        skipped=found.skipped,
        rows=[_row(row) for row in found.rows],
    )
    path.write_text(page, encoding="utf-8")


def _row(row: Row) -> dict[str, Any]:
    pictures = [{"name": picture.name, "src": data_uri(picture.image)} for picture in row.pictures]
    lossy = [check for check in row.checks if check.error]
    return {**vars(row), "passed": row.passed, "pictures": pictures, "lossy": lossy}


def _span(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
