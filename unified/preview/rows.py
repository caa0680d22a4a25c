"""The rows of a task as a model would get them: pictures, ids, loss, and what the round trip costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image as Pillow

from unified.data.collate import collate
from unified.data.packing import lengths
from unified.errors import UserError
from unified.evaluation.cases import Case, answer_fields, is_answered
from unified.evaluation.plain import describe
from unified.evaluation.samples import words_of
from unified.evaluation.scoring import judges_of
from unified.preview.round_trip import (
    Check,
    answer_checks,
    pixel_checks,
    reconstruction_check,
    rendered_checks,
    value_of,
    written_value,
)
from unified.preview.tokens import Token, code_tokens, text_tokens
from unified.sources.base import RowSource, RowStream
from unified.sources.fields import read_fields
from unified.sources.location import AbsentFile, MissingData
from unified.sources.open import open_source
from unified.specs.build import build_example
from unified.specs.example import BadRow, Example
from unified.specs.task import LoadedTask
from unified.tokenization.answers import is_dense
from unified.tokenization.pixels import known_pixels
from unified.tokenization.processor import Encoded, Processor
from unified.values.draw import draw
from unified.values.types import (
    Boxes,
    DenseValue,
    GroundedText,
    Image,
    Keypoints,
    Label,
    Number,
    Points,
    Size,
    Text,
    Texts,
)


@dataclass(frozen=True)
class Picture:
    name: str
    image: Image


@dataclass(frozen=True)
class Row:
    """One example. encoder and decoder: positions it needs there; seen: of each input picture, how many of
    its patches the model sees, and of how many; codes: those of a dense answer, `width` a line. `notes`: what
    was cut or left out. `figure`: what the task's first metric says of the picture that was read back."""

    key: str
    prompt: str
    answer: str
    pictures: tuple[Picture, ...]
    prompt_tokens: tuple[Token, ...]
    target_tokens: tuple[Token, ...]
    codes: tuple[Token, ...]
    width: int
    seen: tuple[tuple[int, int], ...]
    encoder: int
    decoder: int
    checks: tuple[Check, ...]
    notes: tuple[str, ...]
    figure: str = ""

    @property
    def worst(self) -> Check | None:
        return max(self.checks, key=lambda check: check.share, default=None)

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


@dataclass
class Preview:
    """`total`: rows of the split, None of a stream. `skipped`: (key, reason) of rows without an example.
    `varied`: read as training reads, with random prompts, answers and steps."""

    task: LoadedTask
    split: str
    tokenizers: str
    processor: Processor
    varied: bool
    total: int | None
    rows: list[Row] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return all(row.passed for row in self.rows)

    @property
    def worst(self) -> list[Check]:
        """The worst check of each kind, in order of appearance."""
        found: dict[str, Check] = {}
        for check in (check for row in self.rows for check in row.checks):
            known = found.get(check.what)
            if known is None or check.share > known.share:
                found[check.what] = check
        return list(found.values())


def preview(task: LoadedTask, split: str, processor: Processor, n: int, *, seed: int = 0) -> Preview:
    """`n` rows of a split, spread evenly over it (a stream: its first), with all that became of them.

    Rows of `train` are read as training reads them, those of other splits as evaluation does. Raises
    MissingData where the data or all pictures are absent, UserError where no row can be used for other
    reasons.
    """
    source = open_source(task, split)
    found = Preview(
        task, split, processor.tokenizers.name, processor, varied=split == "train",
        total=len(source) if isinstance(source, RowSource) else None,
    )  # fmt: skip
    only_absent = True
    for i, (key, row) in enumerate(_rows(source, n)):
        try:
            if isinstance(row, BadRow):
                raise row
            found.rows.append(_row(found, key, row, source, np.random.default_rng([seed, i])))
        except BadRow as bad:
            found.skipped.append((key, str(bad)))
            only_absent &= isinstance(bad, AbsentFile) or isinstance(bad.__cause__, AbsentFile)
    if not found.rows:
        first = f"; the first: {found.skipped[0][0]}: {found.skipped[0][1]}" if found.skipped else ""
        error = MissingData if found.skipped and only_absent else UserError
        raise error(f"{task.path}: none of {len(found.skipped)} rows of split '{split}' can be used{first}")
    return found


def _rows(source: RowSource | RowStream, n: int) -> Iterator[tuple[str, dict[str, Any] | BadRow]]:
    if isinstance(source, RowStream):
        yield from islice(source, n)
        return
    n = min(n, len(source))
    for i in range(n):
        index = i * len(source) // n
        try:
            row: dict[str, Any] | BadRow = source[index]
        except BadRow as bad:
            row = bad
        yield source.key(index), row


def _row(found: Preview, key: str, row: dict[str, Any], source: Any, rng: np.random.Generator) -> Row:
    task, processor = found.task, found.processor
    hidden = frozenset() if found.varied else answer_fields(task.spec)
    values = read_fields(task, row, source, optional=hidden)
    answered = found.varied or is_answered(task.spec, values)
    example = build_example(
        task, values, key=key, rng=rng, training=found.varied, image_size=processor.image_size,
        target_size=processor.target_size, with_target=answered,
    )  # fmt: skip
    encoded = processor.encode(example, task)
    first = next(iter(example.geometries), None)
    pictures = [
        Picture("input" if len(encoded.images) == 1 else f"input {i + 1}", image)
        for i, image in enumerate(_seen_pictures(processor, example, encoded))
    ]
    checks = rendered_checks(processor, example.prompt, first, "prompt")
    answer, figure = "no answer in this row", ""
    codes: tuple[Token, ...] = ()
    batch = collate([encoded])
    weights = batch.text_weights[0, : len(encoded.target_ids)].tolist()
    if answered and is_dense(task):
        answer, figure, codes, more, dense_checks = _dense(found, example, encoded)
        pictures += more
        checks += dense_checks
    elif answered:
        assert isinstance(example.target, tuple)
        checks += rendered_checks(processor, example.target, first, "answer")
        ids = encoded.target_ids[:-1].tolist()
        value, malformed = processor.decode(task, ids, None, example)
        checks += answer_checks(processor, task, example, value)
        checks.append(Check("answers that read back broken", float(malformed), 0.0, "answers"))
        answer = value.text if isinstance(value, GroundedText) else describe(value)
        if not isinstance(value, Text | Texts | Label | Number) and example.images:
            pictures.append(Picture("answer, read back from its ids", draw(value, _under(task, example))))
    width = round(len(codes) ** 0.5)
    return Row(
        key=key,
        prompt=words_of(example),
        answer=answer,
        pictures=tuple(pictures),
        prompt_tokens=text_tokens(processor, encoded.input_ids.tolist()),
        target_tokens=text_tokens(processor, encoded.target_ids.tolist(), weights) if answered else (),
        codes=codes,
        width=width,
        seen=tuple((int(mask.sum()), len(mask)) for mask in encoded.patch_mask),
        encoder=lengths(encoded)[0],
        decoder=lengths(encoded)[1] if answered else 0,
        checks=tuple(checks),
        notes=tuple(_notes(task, example, encoded)),
        figure=figure,
    )


# ------------------------------------------------------------------------------------- pictures


def _dense(
    found: Preview, example: Example, encoded: Encoded
) -> tuple[str, str, tuple[Token, ...], list[Picture], list[Check]]:
    """A picture answer: in words, the metric's figure, its codes, its pictures, its checks."""
    task, processor, tokenizer = found.task, found.processor, found.processor.tokenizers.image
    value, geometry, original = example.target, example.target_geometry, encoded.target_image
    assert not isinstance(value, tuple) and geometry is not None
    assert original is not None and encoded.target_code_mask is not None
    with torch.inference_mode():
        codes = tokenizer.encode(torch.from_numpy(original[None]))
        decoded = tokenizer.decode(codes)[0].cpu().numpy()
    weights = collate([encoded]).code_weights
    assert weights is not None
    tokens = code_tokens(processor, codes[0].tolist(), weights[0, 0].tolist())
    wrote, read = written_value(task, value, geometry)
    checks = pixel_checks(task, wrote, read, known_pixels(value, geometry))
    checks.append(reconstruction_check(original, decoded, encoded.target_code_mask))
    answer, _ = processor.decode(task, [], decoded, example)
    pictures = [
        Picture("answer, as the image tokenizer gets it", whole_pixels(original)),
        Picture("the same from its codes", Image(decoded)),
    ]
    if not isinstance(answer, Image):
        metres = task.spec.target.value_range
        assert not isinstance(
            answer, Text | Texts | Label | Number | Boxes | Points | Keypoints | GroundedText
        )
        on = _resized(_under(task, example), answer.size)
        pictures.append(Picture("answer, read back from its codes", draw(answer, on, value_range=metres)))
    return describe(answer), _figure(task, example, wrote, value_of(task, decoded)), tokens, pictures, checks


def _figure(task: LoadedTask, example: Example, wrote: DenseValue, read: DenseValue) -> str:
    """The task's first metric between the answer and what its codes give, in the image tokenizer's frame."""
    case = Case(example, wrote)
    judge = next(iter(judges_of(task, [case])), None)
    if judge is None or judge.metric.ranks or judge.spec.references is not None:
        return ""
    try:
        return f"{judge.label} {judge.metric.show(judge([read], [case]).value)}"
    except UserError:  # one that judges whole sets, or needs more than is installed
        return ""


def _seen_pictures(processor: Processor, example: Example, encoded: Encoded) -> Iterator[Image]:
    """Input pictures at the model's size; the prompt's places on the first."""
    for i, (pixels, mask) in enumerate(zip(encoded.images, encoded.patch_mask, strict=True)):
        image = seen_picture(processor, pixels, mask)
        for place in example.prompt if i == 0 else ():
            if isinstance(place, Boxes | Points | Keypoints):
                image = draw(place, image)
        yield image


def seen_picture(processor: Processor, pixels: npt.NDArray[Any], seen: npt.NDArray[np.bool_]) -> Image:
    """An input picture (S, S, 3) 0..255 with the patches hatched that are not `seen` (Np,)."""
    cells, patch = processor.image_size // processor.patch_size, processor.patch_size
    shown = np.kron(seen.reshape(cells, cells), np.ones((patch, patch), bool))
    return Image(np.where(shown[..., None], whole_pixels(pixels).pixels, _hatching(processor.image_size)))


def whole_pixels(pixels: npt.NDArray[Any]) -> Image:
    return Image(np.rint(pixels).clip(0, 255).astype(np.uint8))


def _hatching(side: int) -> npt.NDArray[np.uint8]:
    """(side, side, 3) grey stripes."""
    rows, columns = np.indices((side, side))
    stripes = (rows + columns) // max(2, side // 32) % 2
    return np.repeat(np.where(stripes, 205, 180).astype(np.uint8)[..., None], 3, axis=2)


def _under(task: LoadedTask, example: Example) -> Image:
    """The input picture that the answer is about, in the source frame; paper where there is none."""
    field, inputs = task.spec.target.field, task.spec.input.images
    if not example.images:
        return Image(np.full((64, 64, 3), 245, np.uint8))
    frame = task.spec.frame_of(field) if field else None
    return example.images[inputs.index(frame) if frame in inputs else 0]


def _resized(image: Image, size: Size) -> Image:
    """For answers of another resolution than the picture they belong to."""
    if image.size == size:
        return image
    return Image(np.asarray(Pillow.fromarray(image.pixels).resize(size, Pillow.Resampling.BILINEAR)))


# --------------------------------------------------------------------------------- what is missing


def _notes(task: LoadedTask, example: Example, encoded: Encoded) -> Iterator[str]:
    if encoded.truncated:
        whole = len(encoded.input_ids) + encoded.truncated
        yield f"the prompt has {whole} tokens: {encoded.truncated} are cut off its end"
    yield from _left_out(task, example)


def _left_out(task: LoadedTask, example: Example) -> Iterator[str]:
    """Items of the answer's field that are not in the answer."""
    target, inputs = task.spec.target, task.spec.input.images
    value = example.values.get(target.field or "")
    if not isinstance(value, Boxes | Points | Keypoints | GroundedText) or not example.geometries:
        return
    frame = task.spec.frame_of(target.field or "")
    moved, gone = example.geometries[inputs.index(frame) if frame in inputs else 0].apply_counted(value)
    items = "joints" if isinstance(value, Keypoints) else "items"
    if gone:
        yield f"{gone} {items} of the answer are outside the picture that the model sees"
    if target.max_items and not isinstance(moved, GroundedText) and len(moved) > target.max_items:
        yield f"{len(moved) - target.max_items} of {len(moved)} items are beyond max_items {target.max_items}"
