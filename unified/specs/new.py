"""A new task file: the shape of a shipped task, filled in from the user's own rows."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from unified.errors import UserError, did_you_mean, file_error
from unified.specs.library import task_files
from unified.specs.lint import NAME, NAME_RULE
from unified.specs.load import load_task
from unified.specs.prompts import template
from unified.specs.schema import NAMED_TYPES, TaskSpec
from unified.specs.task import LoadedTask
from unified.specs.vocabulary import FIELD_KEYS, RANKING

ROWS = 200
"""Rows that are looked at."""
MAX_PROMPTS = 3
MAX_CHOICES = 12
SYNONYMS = {
    "image": ("file_name", "filename", "image_path", "path", "img", "picture", "photo", "file"),
    "question": ("query", "prompt"),
    "answers": ("answer", "response"),
    "answer": ("answers", "response", "label"),
    "captions": ("caption", "text", "description", "sentence"),
    "caption": ("captions", "text", "description", "sentence"),
    "phrase": ("expression", "sentence", "text", "caption", "query"),
    "label": ("class", "category", "answer", "name"),
    "box": ("bbox", "boxes", "region"),
    "objects": ("boxes", "bboxes", "bbox"),
    "number": ("score", "value", "rating"),
}
"""Field -> what people call the column."""
SPREAD: dict[str, dict[tuple[str, ...], str]] = {
    "boxes": {
        ("x1", "y1", "x2", "y2"): "xyxy",
        ("xmin", "ymin", "xmax", "ymax"): "xyxy",
        ("left", "top", "right", "bottom"): "xyxy",
        ("x", "y", "w", "h"): "xywh",
        ("x", "y", "width", "height"): "xywh",
        ("cx", "cy", "w", "h"): "cxcywh",
    },
    "points": {("x", "y"): "xy"},
}
"""Type of a field -> columns that together hold its numbers, and their format."""


def new_task(name: str, like: str, source: Path | None = None, out: Path | None = None) -> str:
    """The commented YAML of a task `name` that is shaped as the shipped task `like`.

    `like` is a task's name or a part of it (`vqa`). `source` is a CSV, TSV, JSON or JSON lines file, whose
    columns are matched to the fields; without it a `rows.csv` is supposed. `out` is where the YAML will
    stand: its paths start at that folder. Raises UserError.
    """
    if not NAME.fullmatch(name):
        raise UserError(f"'{name}' cannot name a task: it {NAME_RULE}")
    model = load_task(_find_like(like))
    folder = (out or Path("task.yaml")).absolute().parent
    kind, rows = _read(source) if source else ("csv", [])
    file = os.path.relpath(source.absolute(), folder) if source else "rows.csv"
    tab = {"delimiter": "\t"} if file.endswith(".tsv") else {}
    spec, columns = model.spec, match_columns(model.spec, rows)
    lines = [
        f"# Shaped as {model.name}. Check it: unified tasks check --data {out or name + '.yaml'}",
        f"task: {name}",
        f"source: {_flow({'type': kind, **tab, 'splits': {'train': file}})}  # and `validation: ...`",
        "fields:  # name in this file: column of yours",
        *(f"  {field}: {_field(spec, field, columns, rows)}" for field in _used(model)),
        "input:",
        f"  images: {_flow(spec.input.images)}",
        "  prompt:  # training draws one for each example",
        *(f"    - {_flow(prompt.text)}" for prompt in spec.input.prompt[:MAX_PROMPTS]),
        f"target: {_flow(model.resolved['target'])}",
    ]
    if spec.preprocess:
        lines.append(f"preprocess: {_flow(model.resolved['preprocess'])}")
    options = _options(model, columns, rows)
    if options:
        lines.append(f"options: {_flow(options)}  # the answers there are")
    if metrics := _metrics(model, ranked=bool(options)):
        lines.append(f"metrics: {_flow(metrics)}  # the first is the headline")
    return "\n".join(lines) + "\n"


def _find_like(like: str) -> str:
    names = list(task_files())
    if like in names:
        return like
    parts = {name: re.split(r"[/_.-]", name) for name in names}
    found = [
        n for n in names if like in parts[n] or (len(like) > 2 and any(p.startswith(like) for p in parts[n]))
    ]
    if found:  # the shortest name is the plainest task
        return min(found, key=lambda name: (len(name), name))
    hint = did_you_mean(like, [*names, *{part for name in names for part in parts[name]}])
    raise UserError(f"no shipped task is named or contains '{like}'{hint or '; see `unified tasks list`'}")


# ----------------------------------------------------------------------------------------- rows


def _read(source: Path) -> tuple[str, list[dict[str, Any]]]:
    """The source type for a file, and its first rows."""
    try:
        with source.open(newline="", encoding="utf-8-sig") as file:
            match source.suffix.lower():
                case ".csv" | ".tsv":
                    reader = csv.DictReader(file, delimiter="\t" if source.suffix.lower() == ".tsv" else ",")
                    kind, rows = "csv", list(islice(reader, ROWS))
                case ".jsonl":
                    lines = (line for line in file if line.strip())
                    kind, rows = "jsonl", [json.loads(line) for line in islice(lines, ROWS)]
                case ".json":
                    kind, rows = "json", list(json.load(file))[:ROWS]
                case other:
                    raise UserError(f"{source}: '{other}' is not .csv, .tsv, .jsonl or .json; leave it out")
    except OSError as error:
        raise UserError(file_error(error)) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{source}: is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    except (ValueError, TypeError, csv.Error, RecursionError) as error:
        raise UserError(f"{source}: cannot be read: {error}") from error
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{source}: holds no rows of named columns")
    return kind, rows


def match_columns(spec: TaskSpec, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Field -> path: a column by its name, by what people call it, or by what the first row holds; or the
    columns over which a place is spread."""
    free = list(rows[0]) if rows else []
    found: dict[str, str] = {}
    for rank in (_same, _synonym, _contains, _holds):
        for field in spec.fields:
            column = next((c for c in free if field not in found and rank(spec, field, c, rows[0][c])), None)
            if column is not None:
                found[field] = column
                free.remove(column)
    for field in (name for name in spec.fields if name not in found):
        lower = {column.lower(): column for column in free}
        for names in SPREAD.get(spec.field_type(field), ()):
            if field not in found and lower.keys() >= set(names):
                found[field] = " ".join(f"{{{lower[name]}}}" for name in names)
                free = [column for column in free if column not in found[field]]
    return found


def _spread_format(kind: str, path: str) -> str | None:
    """The format of numbers that several columns hold; None where one column does."""
    names = tuple(name.lower() for name in re.findall(r"{(.+?)}", path))
    return SPREAD.get(kind, {}).get(names)


def _same(spec: TaskSpec, field: str, column: str, value: Any) -> bool:
    return column.lower() in (field, field + "s", field.removesuffix("s"))


def _synonym(spec: TaskSpec, field: str, column: str, value: Any) -> bool:
    return column.lower() in SYNONYMS.get(field, SYNONYMS.get(spec.field_type(field), ()))


def _contains(spec: TaskSpec, field: str, column: str, value: Any) -> bool:
    return field in column.lower()


def _holds(spec: TaskSpec, field: str, column: str, value: Any) -> bool:
    kind, text = spec.field_type(field), str(value).strip()
    if kind in ("image", "mask", "segmentation", "depth", "normals"):
        return bool(re.search(r"\.(jpe?g|png|webp|bmp|tiff?|npy)$", text, re.IGNORECASE))
    if kind in ("boxes", "points"):
        numbers = re.findall(r"-?\d+(?:\.\d+)?", text)
        return len(numbers) == (4 if kind == "boxes" else 2) and not re.search("[A-Za-z]", text)
    return False


# ----------------------------------------------------------------------------------------- YAML


def _used(model: LoadedTask) -> list[str]:
    """The fields that the prompts, the target, the options and the steps of a task use, in its order."""
    spec = model.spec
    texts = [p.text for p in spec.input.prompt[:MAX_PROMPTS]] + [spec.target.template or ""]
    used = {*spec.input.images, *(name for text in texts for name in template(text).fields)}
    used |= {name for op in model.ops for name in op.fields().values()}
    options = [] if spec.options is None else [spec.options.field, spec.options.pool]
    used |= {name for name in (spec.target.field, *options) if name}
    return [name for name in spec.fields if name in used]


def _field(spec: TaskSpec, name: str, columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> str:
    kind, old = spec.field_type(name), spec.fields[name]
    column = columns.get(name, name)
    entry: dict[str, Any] = {"path": column}
    if kind != NAMED_TYPES.get(name, "text"):
        entry["type"] = kind
    for option in ("names", "unit_scale", "labels"):
        if (value := getattr(old, option)) is not None and kind in FIELD_KEYS[option]:
            entry[option] = value
    spread = _spread_format(kind, column)
    if spread is not None:
        entry["format"] = spread
    comment = (
        {
            "boxes": "  # x1 y1 x2 y2; else add `format: xywh`, cxcywh, yxyx; normalized_xywh in 0..1",
            "image": "  # paths start at this file's folder; `root:` in source changes that",
            "depth": "  # metres = number x unit_scale",
        }.get(kind, "")
        if spread is None
        else "  # or another `format`: xyxy, xywh, cxcywh, yxyx; normalized_xywh"
    )
    if rows and name not in columns:
        comment = f"  # TO FILL IN: there is no such column, but {', '.join(rows[0])}"
    return _flow(entry if len(entry) > 1 or kind == "boxes" else column) + comment


def _options(
    model: LoadedTask, columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """The closed answers: the model's own field of options, else the few answers that the rows have."""
    options = model.resolved.get("options")
    if not options or "choices" not in options:
        return options
    column = columns.get(model.spec.target.field or "")
    choices = sorted({str(row[column]) for row in rows if row.get(column)}) if column else options["choices"]
    return {**options, "choices": choices} if 2 <= len(choices) <= MAX_CHOICES else None


def _metrics(model: LoadedTask, *, ranked: bool) -> list[Any]:
    """The metrics that need no field but those that are used; none is told apart by groups."""
    used, found = set(_used(model)), []
    for metric, written in zip(model.spec.metrics, model.resolved.get("metrics", []), strict=True):
        needed = {metric.references, *metric.fields.values()} - {None}
        if metric.jointly is None and needed <= used and (ranked or metric.name not in RANKING):
            kept = {key: value for key, value in written.items() if key != "by"}
            found.append(kept if len(kept) > 1 else metric.name)
    return found


_PLAIN = re.compile(r"[A-Za-z_.$/][\w ./$-]*")
_NOT_TEXT = re.compile(r"(null|true|false|~|\.inf|\.nan|\.\d.*)", re.IGNORECASE)


def _flow(value: Any) -> str:
    """Plain data as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    plain = isinstance(value, str) and _PLAIN.fullmatch(value) and not _NOT_TEXT.fullmatch(value)
    if plain and value == value.strip():
        return value
    if isinstance(value, str) and '"' in value and "\n" not in value:
        return "'" + value.replace("'", "''") + "'"
    return json.dumps(value, ensure_ascii=False)
