"""A preview as a short table for the terminal."""

from __future__ import annotations

from unified.preview.rows import Preview, Row

WIDTH = 46
"""Characters of the prompt and of the answer."""


def table(found: Preview) -> str:
    """A line an example, then what was skipped and the worst round trip of each kind of value."""
    heads = ("row", "enc", "dec", "prompt", "answer")
    lines = [heads, *(_cells(row) for row in found.rows)]
    widths = [max(len(cells[i]) for cells in lines) for i in range(len(heads))]
    out = [summary(found), ""]
    for cells in lines:
        parts = [
            cell.rjust(w) if i in (1, 2) else cell.ljust(w)
            for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
        ]
        out.append("  ".join(parts).rstrip())
    notes = [f"{row.key}: {note}" for row in found.rows for note in row.notes]
    if notes:
        out += ["", *notes]
    if found.skipped:
        out += ["", f"{len(found.skipped)} of {len(found.rows) + len(found.skipped)} rows skipped:"]
        out += [f"  {key}: {reason}" for key, reason in found.skipped]
    out += ["", "worst round trip of each kind:"]
    for check in found.worst:
        told = f"  ({check.note})" if check.note else ""
        out.append(f"  {'ok  ' if check.passed else 'FAIL'}  {check}{told}")
    return "\n".join(out)


def summary(found: Preview) -> str:
    processor = found.processor
    total = "a stream" if found.total is None else f"{found.total:,} rows"
    how = "as training reads them" if found.varied else "as evaluation reads them"
    return (
        f"{found.task.identity}: split '{found.split}', {len(found.rows)} of {total}, {how}; tokenizers "
        f"'{found.tokenizers}', pictures of {processor.image_size} px"
    )


def _cells(row: Row) -> tuple[str, ...]:
    return (row.key, str(row.encoder), str(row.decoder), _short(row.prompt), _short(row.answer))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
