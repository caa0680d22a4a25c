"""Examples -> token sequences, and predictions -> typed values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from unified.errors import UserError
from unified.specs.example import BadRow, Example, Rendered
from unified.specs.task import LoadedTask
from unified.tokenization import official, parsing
from unified.tokenization.answers import (
    build_grammar,
    class_names,
    cleaned,
    is_dense,
    joint_names,
    joint_tokens,
    read_answer,
)
from unified.tokenization.frames import LocationFrame
from unified.tokenization.grammar import Grammar
from unified.tokenization.pixels import cell_any, grid_mask, input_pixels, known_pixels, target_pixels
from unified.tokenization.quirks import MENDED, Quirks
from unified.tokenization.tokenizer_set import TokenizerSet
from unified.values.dense import from_image
from unified.values.geometry import Geometry
from unified.values.types import Boxes, DenseValue, Image, Keypoints, Label, Points, Text, Value

Ids = npt.NDArray[np.int64]
OFFICIAL_KINDS = ("text", "label", "boxes", "keypoints")
"""Kinds of answers in ids of text that the official code reads."""
CACHED = 4096
"""Strings whose ids and tasks whose grammars are remembered."""


@dataclass(frozen=True)
class Encoded:
    """A tokenised example, in numpy.

    input_ids: (Lt,) int64 prompt with its end token; `truncated` of its ids were cut off before it.
    images: (M, S, S, 3) float32 0..255, padding 0; patch_mask: (M, Np) bool, False on padding.
    target_ids: (Td,) int64 answer with its end token, for a dense answer just that.
    target_image: (S2, S2, 3) pixels of a dense answer, uint8 or float32 0..255, or None; target_code_mask:
    (Ni,) bool, the codes that count. target_codes: (Ni,) int64 where the codes are known already;
    target_image is None then.
    """

    task: str
    key: str
    weight: float
    input_ids: Ids
    images: npt.NDArray[np.float32]
    patch_mask: npt.NDArray[np.bool_]
    target_ids: Ids
    target_image: npt.NDArray[np.uint8 | np.float32] | None
    target_code_mask: npt.NDArray[np.bool_] | None
    truncated: int = 0
    target_codes: Ids | None = None

    @property
    def cost(self) -> int:
        """Positions that the example needs in encoder and decoder together."""
        codes = 0 if self.target_code_mask is None else len(self.target_code_mask)
        return len(self.input_ids) + self.patch_mask.size + len(self.target_ids) + codes


class Processor:
    """Between examples and tokens for a model of given sizes.

    image_size: side S of the model's square input images; patch_size: side of its patches;
    target_size: side S2 of the images that the image tokenizer makes codes of; max_input_length and
    max_target_length: text ids with their end token; quirks: those of strict mode, or none.
    """

    def __init__(
        self,
        tokenizers: TokenizerSet,
        *,
        image_size: int,
        patch_size: int,
        target_size: int,
        max_input_length: int,
        max_target_length: int,
        quirks: Quirks = MENDED,
    ) -> None:
        cell = tokenizers.code_cell
        if image_size % patch_size or target_size % cell:
            raise UserError(
                f"image_size {image_size} must be a multiple of patch_size {patch_size}, and target_size "
                f"{target_size} of {cell}, the pixels a code of tokenizer set '{tokenizers.name}'"
            )
        self.tokenizers = tokenizers
        self.image_size = image_size
        self.patch_size = patch_size
        self.target_size = target_size
        self.max_input_length = max_input_length
        self.max_target_length = max_target_length
        self.quirks = quirks
        self.codes = (target_size // cell) ** 2
        self._cell = cell
        self._text: dict[str, list[int]] = {}
        self._grammars: dict[tuple[str, tuple[str, ...] | None], Grammar] = {}

    # ----------------------------------------------------------------------------- encode

    def encode(self, example: Example, task: LoadedTask, codes: Ids | None = None) -> Encoded:
        """Tokens and pixels of an example, which may have no target (`()`), as when prompting.

        codes: those of a dense target, where they are known; its pixels are then not made. A prompt that is
        too long loses its end; BadRow for a target that is too long.
        """
        vocabulary = self.tokenizers.vocabulary
        frame = next(iter(example.geometries), None)
        prompt = self.text_ids(example.prompt, frame)
        room = min(task.spec.input.max_tokens or self.max_input_length, self.max_input_length) - 1
        images, patch_mask = self._images(example)
        target: list[int] = []
        pixels = code_mask = None
        if isinstance(example.target, tuple):
            target = self.text_ids(example.target, frame)
            limit = self.max_text_tokens(task)
            if len(target) + 1 > limit:
                raise BadRow(f"the target has {len(target) + 1} tokens, more than the {limit} that fit")
        else:
            pixels, code_mask = self._dense_target(example.target, example, task, codes is None)
        return Encoded(
            task=example.task,
            key=example.key,
            weight=example.weight,
            input_ids=np.array([*prompt[:room], vocabulary.eos_id], dtype=np.int64),
            images=images,
            patch_mask=patch_mask,
            target_ids=np.array([*target, vocabulary.eos_id], dtype=np.int64),
            target_image=pixels,
            target_code_mask=code_mask,
            truncated=max(0, len(prompt) - room),
            target_codes=codes,
        )

    def text_ids(self, rendered: Rendered, geometry: Geometry | None = None) -> list[int]:
        """Ids of a rendered prompt or answer without an end token; spatial values are in the model frame,
        into which `geometry` moves the example's first image."""
        ids: list[int] = []
        frame = LocationFrame.of(self.tokenizers.locations, self.image_size, geometry)

        def located(pairs: npt.NDArray[np.float64]) -> list[int]:
            return self.tokenizers.locations.encode(frame.from_model(pairs), frame.side).ravel().tolist()

        for part in rendered:
            match part:
                case str():
                    ids += self.encode_text(part)
                case Boxes():
                    ids += located(part.xyxy)
                case Points():
                    ids += located(part.xy)
                case Keypoints():
                    if not part.visibility.any(axis=1).all():
                        raise BadRow("a figure has no joint in the frame")
                    joints = replace(part, xy=frame.from_model(part.xy))
                    ids += joint_tokens(self.tokenizers, joints, frame.side)
                case _:
                    raise TypeError(f"{type(part).__name__} cannot stand in text")
        return ids

    def encode_text(self, text: str) -> list[int]:
        """Ids of a string without an end token."""
        known = self._text.get(text)
        if known is None:
            if len(self._text) >= CACHED:
                self._text.clear()
            known = self._text[text] = self.tokenizers.text.encode(text, strict=self.quirks.reads_extra_ids)
        return known

    def _images(self, example: Example) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        side, grid = self.image_size, self.image_size // self.patch_size
        images = np.empty((len(example.images), side, side, 3), dtype=np.float32)
        mask = np.empty((len(example.images), grid * grid), dtype=bool)
        for i, (image, geometry) in enumerate(zip(example.images, example.geometries, strict=True)):
            images[i] = input_pixels(image, geometry)
            seen = geometry.valid_mask()
            if example.hidden and (boxes := example.hidden[i]) is not None:
                frame = LocationFrame.of(self.tokenizers.locations, side, geometry)
                for x1, y1, x2, y2 in frame.pixels(boxes.xyxy):
                    seen[y1:y2, x1:x2] = False
            mask[i] = grid_mask(seen, self.patch_size)
        return images, mask

    def _dense_target(
        self, value: DenseValue, example: Example, task: LoadedTask, with_pixels: bool
    ) -> tuple[npt.NDArray[np.uint8 | np.float32] | None, npt.NDArray[np.bool_]]:
        assert example.target_geometry is not None
        spec, pixels = task.spec.target, None
        if with_pixels:
            pixels, known = target_pixels(value, example.target_geometry, spec.value_range, spec.palette)
        else:
            known = known_pixels(value, example.target_geometry)
        inside = grid_mask(example.target_geometry.valid_mask(), self._cell)
        return pixels, inside & cell_any(known, self._cell)

    # ------------------------------------------------------------------------- generation

    def max_text_tokens(self, task: LoadedTask) -> int:
        """Longest text answer of a task, end token included."""
        most = min(task.spec.target.max_tokens or self.max_target_length, self.max_target_length)
        return min(most, self.quirks.longest_answer or most)

    def max_new_tokens(self, task: LoadedTask) -> int:
        """Ids that `generate` has to make at most: [text.., end], or [image start, codes.., end]."""
        return self.codes + 2 if is_dense(task) else self.max_text_tokens(task)

    def grammar(self, task: LoadedTask, example: Example) -> Grammar:
        """The legal ids of the answer, for `GrammarProcessor`; remembered a task and set of options."""
        key = (task.identity, example.options)
        grammar = self._grammars.get(key)
        if grammar is None:
            if len(self._grammars) >= CACHED // 16:
                self._grammars.clear()
            grammar = build_grammar(self.tokenizers, task, example.options, self.codes)
            self._grammars[key] = grammar
        return grammar

    def split(self, ids: Sequence[int]) -> tuple[list[int], list[int]]:
        """A generated sequence -> (text-side ids without start and padding, raw image codes)."""
        vocabulary = self.tokenizers.vocabulary
        text, codes = [], []
        for token in (int(i) for i in ids):
            if token >= vocabulary.image_offset:
                codes.append(token - vocabulary.image_offset)
            elif token not in (vocabulary.pad_id, vocabulary.image_start_id):
                text.append(token)
        return text, codes

    # ----------------------------------------------------------------------------- decode

    def decode(
        self,
        task: LoadedTask,
        ids: Sequence[int],
        codes: Sequence[int] | npt.NDArray | None,
        example: Example,
    ) -> tuple[Value, bool]:
        """The typed answer in the source frame, and whether something of it was malformed.

        ids: generated text-side ids, up to the end token. codes, for dense answers: (Ni,) raw image codes,
        or pixels (S2, S2, 3) uint8 already decoded.
        """
        if is_dense(task):
            return self._decode_dense(task, codes, example)
        square = LocationFrame.of(
            self.tokenizers.locations, self.image_size, next(iter(example.geometries), None)
        )
        if self.quirks.own_reading and task.spec.modality in OFFICIAL_KINDS:
            return self._read_officially(task, ids, example, square)
        value, malformed = read_answer(self.tokenizers, task, ids, square.side)
        if not example.geometries:
            return value, malformed
        value = square.to_model(value)
        spec = task.spec
        frame = spec.frame_of(spec.target.field) if spec.target.field else None
        index = spec.input.images.index(frame) if frame in spec.input.images else 0
        return example.geometries[index].inverse().apply(value), malformed

    def _read_officially(
        self, task: LoadedTask, ids: Sequence[int], example: Example, square: LocationFrame
    ) -> tuple[Value, bool]:
        """The answer as the official code reads it: places are not clipped to the image, and there are none
        where they are not all whole with an end after them."""
        spec, side = task.spec, square.side
        if spec.modality in ("text", "label"):
            text = cleaned(official.wording(self.tokenizers, ids), spec)
            return (Text(text), False) if spec.modality == "text" else (Label(text), not text)
        value: Boxes | Keypoints
        try:
            if len(ids) >= self.max_text_tokens(task):
                raise official.Unreadable("the answer has no end")
            if spec.modality == "boxes":
                value, malformed = official.boxes(self.tokenizers, ids, side), False
            else:
                value, malformed = official.joints(self.tokenizers, ids, side, joint_names(spec))
        except official.Unreadable:
            malformed = True
            value = (
                Boxes(np.zeros((0, 4))) if spec.modality == "boxes" else official.no_figure(joint_names(spec))
            )
        if not example.geometries:
            return value, malformed
        back, scale = example.geometries[0].inverse(), np.array([square.scale_x, square.scale_y])
        if isinstance(value, Boxes):
            corners = back.map_xy(value.xyxy.reshape(-1, 2, 2) * scale)
            return replace(value, xyxy=corners.reshape(-1, 4)), malformed
        return replace(value, xy=back.map_xy(value.xy * scale)), malformed

    def _decode_dense(
        self, task: LoadedTask, codes: Sequence[int] | npt.NDArray | None, example: Example
    ) -> tuple[Value, bool]:
        side, malformed = self.target_size, False
        given = np.zeros(0, dtype=np.int64) if codes is None else np.asarray(codes)
        if given.ndim == 3:
            pixels = given.astype(np.uint8, copy=False)
        else:
            malformed = len(given) != self.codes
            whole = np.zeros(self.codes, dtype=np.int64)
            whole[: len(given)] = given[: self.codes]
            pixels = self.tokenizers.image.decode(whole[None])[0].cpu().numpy()
        if pixels.shape != (side, side, 3):
            raise ValueError(f"decoded pixels have the shape {pixels.shape}, not ({side}, {side}, 3)")
        spec = task.spec
        kind = spec.modality
        value = from_image(
            Image(pixels),
            kind,  # type: ignore[arg-type]  # is_dense(task) says that it is a dense type
            value_range=spec.target.value_range,
            names=class_names(spec) if kind == "segmentation" else None,
            scheme=spec.target.palette,
        )
        if example.target_geometry is not None:
            value = example.target_geometry.inverse().apply(value)
        return value, malformed

    def parse_text(self, ids: Sequence[int]) -> Rendered:
        """Ids as strings and, between them, Boxes (or Points) in the model frame; for people to look at."""
        return parsing.rendered(self.tokenizers, parsing.segments(self.tokenizers, ids)[0], self.image_size)
