"""The first micro-batches of a run as training gets them: which example stands where in each row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from unified.data.collate import Batch
from unified.data.dataset import SkippedRow
from unified.data.loader import StepLoader
from unified.errors import UserError
from unified.evaluation.page import data_uri, template
from unified.evaluation.plain import describe
from unified.preview.rows import seen_picture, whole_pixels
from unified.preview.tokens import text_tokens
from unified.specs.example import Rendered
from unified.tokenization.processor import Processor
from unified.values.draw import draw
from unified.values.types import Boxes, Image, Points

Kind = Literal["text", "picture", "padding"]

THUMB = 160
"""Longest side of an example's pictures on the page, in pixels."""
LABELLED = 0.03
"""Share of a row from which on a stretch carries its example's number."""


@dataclass(frozen=True)
class Run:
    """Neighbouring positions of a row: text or cells of pictures of one example (counted from 0), or padding
    (`example` is None)."""

    example: int | None
    kind: Kind
    length: int


Rows = list[list[Run]]


def encoder_rows(batch: Batch, cells: int) -> Rows:
    """What stands where in the encoder, `cells` a picture. Of padded rows the unseen ones are put last."""
    inputs = batch.inputs
    if "encoder_layout" in inputs:
        return _packed(inputs["encoder_layout"], inputs["input_ids"], cells, inputs.get("image_example"))
    return _padded(inputs["input_ids"], inputs.get("patch_mask"))


def decoder_rows(batch: Batch) -> Rows:
    """What stands where in the decoder."""
    inputs = batch.inputs
    if "decoder_layout" in inputs:
        codes = inputs["target_codes"].shape[1] if "target_codes" in inputs else 0
        return _packed(inputs["decoder_layout"], inputs["target_ids"], codes, inputs.get("code_example"))
    return _padded(inputs["target_ids"], inputs.get("target_code_mask"))


def _padded(ids: Tensor, cells: Tensor | None) -> Rows:
    rows = []
    for i in range(len(ids)):
        used = int((ids[i] != 0).sum())
        runs = [Run(i, "text", used), Run(None, "padding", ids.shape[1] - used)]
        for mask in [] if cells is None else cells[i]:
            runs += [Run(i, "picture", int(mask.sum())), Run(None, "padding", int((~mask).sum()))]
        rows.append([run for run in runs if run.length])
    return rows


def _packed(layout: Tensor, ids: Tensor, cells: int, owners: Tensor | None) -> Rows:
    text = ids.numel()

    def stands(source: int) -> tuple[int | None, Kind]:
        if source < 0:
            return None, "padding"
        if source < text:
            return source // ids.shape[1], "text"
        assert owners is not None
        return int(owners[(source - text) // cells]), "picture"

    return [
        [Run(*what, len(list(run))) for what, run in groupby(map(stands, row))] for row in layout.tolist()
    ]


def fill(rows: Rows) -> float:
    """Share of the positions that are not padding."""
    runs = [run for row in rows for run in row]
    return sum(r.length for r in runs if r.example is not None) / sum(r.length for r in runs)


def write_inspection(loader: StepLoader, n: int, processor: Processor, path: Path) -> Path:
    """Writes a page of the next `n` micro-batches of a loader, fewer where it ends before; returns its path.

    Rows that were skipped on the way stand on it, too. Raises UserError where there is nothing to show, and
    the loader's own.
    """
    if n < 1:
        raise UserError(f"--inspect {n}: at least one micro-batch is wanted")
    shown: list[dict[str, Any]] = []
    skipped: list[SkippedRow] = []
    steps = iter(loader)
    try:
        for step, batches, bad in steps:
            skipped += bad
            for micro, batch in enumerate(batches):
                if len(shown) < n:
                    shown.append(_micro_batch(f"Step {step}, micro-batch {micro}", batch, processor))
            if len(shown) == n:
                break
    finally:
        steps.close()
    if not shown:
        raise UserError("--inspect: the run has no steps left; `--resume none` shows its first ones")
    items = loader.items
    of = f"rank {items.rank} of {items.world}; " if items.world > 1 else ""
    how = (
        "one example a row"
        if items.packing is None
        else "packed, at most {} + {} positions a row".format(*items.packing)
    )
    page = template("inspect.html.j2", "unified.preview").render(
        title=f"Batches of {path.parent.name}",
        subtitle=f"{of}{how}; {items.micro_batch} examples a micro-batch, {items.accumulation} a step",
        cards=[
            (str(len(shown)), "micro-batches", False),
            (f"{sum(len(batch['examples']) for batch in shown):,}", "examples", False),
            (_percent(shown, "encoder"), "of the encoder's positions are filled", False),
            (_percent(shown, "decoder"), "of the decoder's", False),
            (str(len(skipped)), "rows skipped", bool(skipped)),
        ],
        batches=shown,
        skipped=skipped,
    )  # fmt: skip
    path.write_text(page, encoding="utf-8")
    return path


def _percent(shown: Sequence[dict[str, Any]], side: str) -> str:
    filled = sum(batch[side]["filled"] for batch in shown)
    return f"{100 * filled / max(1, sum(batch[side]['places'] for batch in shown)):.1f} %"


def _micro_batch(title: str, batch: Batch, processor: Processor) -> dict[str, Any]:
    cells = (processor.image_size // processor.patch_size) ** 2
    rows = {"encoder": encoder_rows(batch, cells), "decoder": decoder_rows(batch)}
    inputs, answers = _input_pictures(batch, processor), _answer_pictures(batch)
    weights = _loss(batch)
    examples = []
    for i, task in enumerate(batch.tasks):
        prompt = [t for t in batch.inputs["input_ids"][i].tolist() if t]
        target = [t for t in batch.inputs["target_ids"][i].tolist() if t]
        told = processor.parse_text(target)
        pictures = [(f"input {k + 1}", image) for k, image in enumerate(inputs.get(i, []))]
        if pictures:
            pictures += [("answer", draw(places, pictures[0][1])) for places in _places(told)]
        pictures += [("answer", image) for image in answers.get(i, [])]
        examples.append(
            {
                "task": task,
                "key": batch.keys[i],
                "stands": "; ".join(f"{side} {_stands(rows[side], i)}" for side in rows),
                "loss": f"{100 * float(weights[i]) / max(1e-9, float(weights.sum())):.2g}",
                "prompt": _words(processor.parse_text(prompt)),
                "target": _words(told),
                "prompt_tokens": text_tokens(processor, prompt),
                "target_tokens": text_tokens(
                    processor, target, batch.text_weights[i, : len(target)].tolist()
                ),
                "pictures": [{"name": what, "src": data_uri(image, THUMB)} for what, image in pictures],
            }
        )
    return {
        "title": title,
        "overflow": batch.overflow,
        "examples": examples,
        **{side: _bars(side_rows) for side, side_rows in rows.items()},
    }


def _bars(rows: Rows) -> dict[str, Any]:
    length = sum(run.length for run in rows[0])
    return {
        "rows": [[(run, run.length >= LABELLED * length) for run in row] for row in rows],
        "length": length,
        "places": length * len(rows),
        "filled": sum(run.length for row in rows for run in row if run.example is not None),
        "fill": f"{100 * fill(rows):.1f} %",
    }


def _stands(rows: Rows, example: int) -> str:
    """`row 2, 0..71`: the first and last position of an example."""
    for number, row in enumerate(rows):
        at, found = 0, []
        for run in row:
            found += [at, at + run.length - 1] if run.example == example else []
            at += run.length
        if found:
            return f"row {number}, {found[0]}..{found[-1]}"
    return "nowhere"


def _loss(batch: Batch) -> Tensor:
    """(E,) loss weight of each example."""
    weights = batch.text_weights.sum(1)
    if batch.code_weights is None:
        return weights
    if batch.code_weights.ndim == 3:
        return weights + batch.code_weights.sum((1, 2))
    return weights.index_add(0, batch.inputs["code_example"], batch.code_weights.sum(1))


def _places(parts: Rendered) -> list[Boxes | Points]:
    """All boxes as one value and all points as one, each with the text after it for a label."""
    found: list[Boxes | Points] = []
    following = [*parts, ""][1:]
    texts = [text.strip() if isinstance(text, str) else "" for text in following]
    boxes = [(part.xyxy, text) for part, text in zip(parts, texts, strict=True) if isinstance(part, Boxes)]
    points = [(part.xy, text) for part, text in zip(parts, texts, strict=True) if isinstance(part, Points)]
    if boxes:
        labels = tuple(text for xyxy, text in boxes for _ in xyxy)
        found.append(Boxes(np.concatenate([xyxy for xyxy, _ in boxes]), labels if any(labels) else None))
    if points:
        found.append(Points(np.concatenate([xy for xy, _ in points])))
    return found


def _words(parts: Rendered) -> str:
    return " ".join(part if isinstance(part, str) else f"⟨{describe(part)}⟩" for part in parts)


# ------------------------------------------------------------------------------------- pictures


def _input_pictures(batch: Batch, processor: Processor) -> dict[int, list[Image]]:
    """By example, with the patches hatched that are not seen."""
    inputs = batch.inputs
    found: dict[int, list[Image]] = defaultdict(list)
    if "images" not in inputs:
        return found
    if "image_example" in inputs:
        cells = (processor.image_size // processor.patch_size) ** 2
        seen = np.zeros(len(inputs["images"]) * cells, bool)
        places = inputs["encoder_layout"].numpy() - inputs["input_ids"].numel()
        seen[places[places >= 0]] = True
        for i, pixels, mask in zip(
            inputs["image_example"].tolist(), inputs["images"].numpy(), seen.reshape(-1, cells), strict=True
        ):
            found[i].append(seen_picture(processor, pixels, mask))
        return found
    for i, (images, masks) in enumerate(
        zip(inputs["images"].numpy(), inputs["patch_mask"].numpy(), strict=True)
    ):
        for pixels, mask in zip(images, masks, strict=True):
            if mask.any():  # others fill up examples of fewer pictures
                found[i].append(seen_picture(processor, pixels, mask))
    return found


def _answer_pictures(batch: Batch) -> dict[int, list[Image]]:
    """By example; none for answers whose codes come from a cache."""
    found: dict[int, list[Image]] = defaultdict(list)
    if batch.target_images is None or batch.target_places is None:
        return found
    owners = batch.inputs.get("code_example")
    for place, pixels in zip(batch.target_places.tolist(), batch.target_images.numpy(), strict=True):
        found[place if owners is None else int(owners[place])].append(whole_pixels(pixels))
    return found
