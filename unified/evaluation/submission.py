"""Result files as the servers of the benchmarks take them, as a task's `submission` says."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Pillow

from unified.errors import UserError
from unified.evaluation.plain import describe
from unified.specs.example import Example
from unified.specs.load import LoadedTask
from unified.specs.schema import SubmissionSpec
from unified.values.types import (
    Boxes,
    GroundedText,
    Image,
    Keypoints,
    Label,
    Mask,
    Number,
    Segmentation,
    Text,
    Texts,
    Value,
)

if TYPE_CHECKING:
    from unified.evaluation.predictor import Prediction

VALUE = "value"
"""The only column of a json_map whose values are no mappings."""
PER_PLACE = frozenset({"$box", "$xyxy", "$label", "$score", "$keypoints"})
"""Sources of which boxes and figures have one each."""


def with_submission(tasks: Sequence[LoadedTask]) -> list[LoadedTask]:
    """The tasks that have a submission format. Raises UserError where there is none."""
    found = [task for task in tasks if task.spec.submission is not None]
    if not found:
        raise UserError(
            f"--submission: none of these tasks states a `submission`: {', '.join(t.name for t in tasks)}"
        )
    return found


def wants_scores(task: LoadedTask) -> bool:
    """Whether the file tells how sure the model is of its answers."""
    return task.spec.submission is not None and "$score" in task.spec.submission.row.values()


class Submission:
    """The result files of one evaluation. Tasks whose json_map has the same file share it."""

    def __init__(self, folder: Path, split: str) -> None:
        self.folder, self.split = folder, split
        self._maps: dict[Path, dict[str, Any]] = {}
        self._writers: dict[Path, str] = {}

    def add(self, task: LoadedTask, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Path:
        """Writes the file (png: the folder) of a task's predictions; returns its path. Raises UserError where
        a row lacks what the format asks for, or another task has written the file."""
        spec = task.spec.submission
        assert spec is not None
        path = self.folder / spec.file.format(split=self.split, task=task.name.replace("/", "_"))
        if path in self._writers and spec.format != "json_map":
            raise UserError(
                f"{path}: would be written by '{self._writers[path]}' and '{task.name}'; evaluate them in "
                "two calls, or put {task} in `submission.file`"
            )
        self._writers[path] = task.name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = _Rows(task, spec, examples, predictions)
        if spec.format == "png":
            _write_pictures(path, rows)
        elif spec.format == "csv":
            with path.open("w", newline="", encoding="utf-8") as file:
                lines = csv.writer(file, lineterminator="\n")
                if spec.header:
                    lines.writerow(spec.row)
                lines.writerows(list(row.values()) for _, row in rows)
        elif spec.format == "json":
            _write_json(path, [row for _, row in rows])
        else:
            self._merge(path, rows)
            bare = list(spec.row) == [VALUE]
            _write_json(path, {k: r[VALUE] if bare else r for k, r in self._maps[path].items()})
        return path

    def _merge(self, path: Path, rows: _Rows) -> None:
        merged = self._maps.setdefault(path, {})
        for key, row in rows:
            if key in merged and merged[key].keys() & row.keys():
                raise UserError(f"{path}: {rows.task.name}: two rows have the key '{key}'")
            merged[key] = {**merged.get(key, {}), **row}


def _write_json(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


class _Rows:
    """(key, row) of all predictions; boxes and figures have a row each where the row tells of one."""

    def __init__(
        self, task: LoadedTask, spec: SubmissionSpec, examples: Sequence[Example],
        predictions: Sequence[Prediction],
    ) -> None:  # fmt: skip
        self.task, self.spec = task, spec
        self.pairs = list(zip(examples, predictions, strict=True))

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        several = PER_PLACE & set(self.spec.row.values())
        for example, prediction in self.pairs:
            key = self.key(example)
            places: Sequence[int | None] = [None]
            if several and isinstance(prediction.value, Boxes | Keypoints):
                places = range(len(prediction.value))
            for place in places:
                row = {
                    column: self._told(column, source, example, prediction, place)
                    for column, source in self.spec.row.items()
                }
                if all(row[column] is not None for column in self.spec.codes):
                    yield key, row

    def key(self, example: Example) -> str:
        return str(self._field(example, self.spec.key)) if self.spec.key is not None else ""

    def _told(
        self, column: str, source: str, example: Example, prediction: Prediction, place: int | None
    ) -> Any:
        if not source.startswith("$"):
            told = self._field(example, source)
        else:
            told = _of_prediction(source, prediction, example, place)
            if told is None:
                raise UserError(
                    f"{self.task.path}: submission: '{source}' cannot be told of a "
                    f"{type(prediction.value).__name__.lower()} ({example.key})"
                )
        return self.spec.codes[column].get(str(told)) if column in self.spec.codes else told

    def _field(self, example: Example, name: str) -> Any:
        if name not in example.values:
            raise UserError(f"{self.task.path}: submission: {example.key} has no '{name}'")
        return _json(example.values[name])


def _json(value: Value) -> Any:
    """A field's value: numbers as numbers, whole ones without a point; all else as text."""
    match value:
        case Number():
            return int(value.value) if value.value == int(value.value) else value.value
        case Texts():
            return list(value.items)
    return describe(value)


def _of_prediction(source: str, prediction: Prediction, example: Example, place: int | None) -> Any:
    """What a `$source` stands for; None where the prediction has no such thing."""
    value, scores = prediction.value, prediction.option_scores
    match source:
        case "$answer" if isinstance(value, Text | Label | GroundedText | Number):
            return value.text if isinstance(value, GroundedText) else _json(value)
        case "$choice" if isinstance(value, Text | Label):
            options = example.options or ()
            return options.index(describe(value)) if describe(value) in options else None
        case "$scores" if scores is not None:
            return [round(float(score), 4) for score in scores]
        case "$ranks" if scores is not None:
            return _ranks(scores)
        case "$mask" if isinstance(value, Mask):
            return _rle(value)
    if isinstance(value, Boxes | Keypoints) and place is not None:
        return _of_place(source, value, place)
    return prediction.score if source == "$score" else None


def _of_place(source: str, value: Boxes | Keypoints, i: int) -> Any:
    if source == "$score":
        scores = value.scores if isinstance(value, Boxes) else None
        return 1.0 if scores is None else round(float(scores[i]), 4)
    if isinstance(value, Keypoints):
        joints = np.concatenate([value.xy[i], value.visibility[i][:, None]], axis=1)
        return [round(float(v), 2) for v in joints.ravel()] if source == "$keypoints" else None
    x1, y1, x2, y2 = (float(v) for v in value.xyxy[i])
    match source:
        case "$box":
            return [round(v, 2) for v in (x1, y1, x2 - x1, y2 - y1)]
        case "$xyxy":
            return [round(v, 2) for v in (x1, y1, x2, y2)]
        case "$label" if value.labels is not None:
            return value.labels[i]
    return None


def _ranks(scores: np.ndarray) -> list[int]:
    """The rank of each option, from 1; of equal ones the first is better."""
    ranks = np.empty(len(scores), int)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return ranks.tolist()


def _rle(mask: Mask) -> dict[str, Any]:
    """COCO's run lengths."""
    from pycocotools import mask as coco

    code = coco.encode(np.asfortranarray(mask.array.astype(np.uint8)))
    return {"size": list(code["size"]), "counts": code["counts"].decode()}


def _write_pictures(folder: Path, rows: _Rows) -> None:
    """One PNG a prediction, as large as its image; masks are 0 and 255."""
    folder.mkdir(parents=True, exist_ok=True)
    written: set[str] = set()
    for example, prediction in rows.pairs:
        name = f"{Path(rows.key(example)).stem}.png"
        if name in written:
            raise UserError(f"{folder}: {rows.task.name}: two rows are named '{name}'")
        written.add(name)
        value = prediction.value
        if isinstance(value, Mask):
            pixels = value.array.astype(np.uint8) * 255
        elif isinstance(value, Segmentation):
            pixels = value.classes.astype(np.uint8)
        else:
            assert isinstance(value, Image)  # no other answer may be written as a picture
            pixels = value.pixels
        Pillow.fromarray(pixels).save(folder / name)
