"""What tokenising and reading back costs each value, beside what it may cost."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np
import numpy.typing as npt

from unified.evaluation.plain import type_name
from unified.specs.example import Example, Rendered
from unified.specs.task import LoadedTask
from unified.tokenization import parsing
from unified.tokenization.answers import class_names, cleaned
from unified.tokenization.frames import LocationFrame
from unified.tokenization.pixels import target_pixels
from unified.tokenization.processor import Processor
from unified.values.dense import from_image
from unified.values.geometry import Geometry
from unified.values.types import (
    Boxes,
    DenseValue,
    Depth,
    GroundedText,
    Image,
    Keypoints,
    Label,
    Mask,
    Normals,
    Number,
    Points,
    Segmentation,
    Text,
    Value,
)

Floats = npt.NDArray[np.float64]

RECONSTRUCTION = 45.0
"""Grey levels of 255: the largest root mean square error of a picture that went through the image tokenizer
(15 dB of PSNR). Beyond it hardly anything of the answer can be made out."""
CLIPPED = 0.05
"""Largest share of a depth map's pixels that may lie outside `value_range`."""
NORMAL_ROUNDING = 0.5
"""Degrees: more than eight bits a component turn a unit normal."""


@dataclass(frozen=True)
class Check:
    """`error` of one part of an example (`what`) after the round trip, in `unit`, and the most it may be;
    `note`: what came back instead, where it tells more than the number."""

    what: str
    error: float
    tolerance: float
    unit: str
    note: str = ""

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance * (1 + 1e-6) + 1e-9

    @property
    def share(self) -> float:
        """The error as a multiple of the tolerance, for comparing checks."""
        if self.error == 0:
            return 0.0
        return self.error / self.tolerance if self.tolerance else float("inf")

    def __str__(self) -> str:
        return f"{self.what} {self.error:.3g} of at most {self.tolerance:.3g} {self.unit}".rstrip()


# -------------------------------------------------------------------------------- text and locations


@dataclass(frozen=True)
class _Places:
    """xy: (n, 2) in the location frame, nan where a joint is not there; kinds: the type of value of each."""

    xy: Floats
    kinds: tuple[str, ...]


def rendered_checks(
    processor: Processor, rendered: Rendered, geometry: Geometry | None, where: str
) -> list[Check]:
    """A prompt or target (`where`) as ids and back: its text, and each type of location in it."""
    locations = processor.tokenizers.locations
    frame = LocationFrame.of(locations, processor.image_size, geometry)
    wrote = _merged(_written(rendered, frame))
    read = _merged(_read(processor, processor.text_ids(rendered, geometry), frame.side))
    told = _words(wrote), _words(read)
    checks = []
    if told != ("", ""):
        changed = 100 * (1 - SequenceMatcher(None, *told, autojunk=False).ratio())
        checks.append(Check(f"text of the {where}", changed, 0.0, "% of characters", _change(*told)))
    there, back = _all_places(wrote), _all_places(read)
    if [isinstance(part, str) for part in wrote] != [isinstance(part, str) for part in read] or len(
        there.xy
    ) != len(back.xy):
        return [*checks, Check(f"order of text and locations in the {where}", 1.0, 0.0, "")]
    scale = processor.image_size / frame.side
    for kind in dict.fromkeys(there.kinds):
        rows = [i for i, k in enumerate(there.kinds) if k == kind]
        error = np.nan_to_num(np.abs(there.xy[rows] - back.xy[rows])).max(initial=0.0)
        most = locations.tolerance(frame.side) * scale
        checks.append(Check(f"{kind} of the {where}", float(error) * scale, most, "px"))
    return checks


def _written(rendered: Rendered, frame: LocationFrame) -> Iterator[str | _Places]:
    for part in rendered:
        match part:
            case str():
                yield part
            case Boxes():
                yield _places(frame.from_model(part.xyxy), "boxes")
            case Points():
                yield _places(frame.from_model(part.xy), "points")
            case Keypoints():
                for joints, visibility in zip(frame.from_model(part.xy), part.visibility, strict=True):
                    for xy, seen in zip(joints, visibility, strict=True):
                        yield _places(xy if seen else np.full(2, np.nan), "keypoints")
                        yield f" {seen + 1} "


def _read(processor: Processor, ids: Sequence[int], side: int) -> Iterator[str | _Places]:
    for part in parsing.segments(processor.tokenizers, ids)[0]:
        if isinstance(part, str):
            yield part
        else:
            pairs = part[: len(part) // 2 * 2].reshape(-1, 2)
            yield _places(processor.tokenizers.locations.decode(pairs, side), "")


def _places(xy: Floats, kind: str) -> _Places:
    pairs = xy.reshape(-1, 2)
    return _Places(pairs, (kind,) * len(pairs))


def _merged(parts: Iterator[str | _Places]) -> list[str | _Places]:
    """Text with its white space evened out, and locations; neighbours of a kind are one, nothing is empty."""
    out: list[str | _Places] = []
    for part in parts:
        if isinstance(part, str):
            text = " ".join(unicodedata.normalize("NFKC", part).split())
            if text and out and isinstance(out[-1], str):
                out[-1] += f" {text}"
            elif text:
                out.append(text)
        elif len(part.xy):
            last = out[-1] if out else None
            if isinstance(last, _Places):
                out[-1] = _Places(np.concatenate([last.xy, part.xy]), last.kinds + part.kinds)
            else:
                out.append(part)
    return out


def _words(parts: Sequence[str | _Places]) -> str:
    return " ".join(part for part in parts if isinstance(part, str))


def _all_places(parts: Sequence[str | _Places]) -> _Places:
    places = [part for part in parts if isinstance(part, _Places)]
    xy = np.concatenate([np.zeros((0, 2)), *(part.xy for part in places)])
    return _Places(xy, tuple(kind for part in places for kind in part.kinds))


def _change(wrote: str, read: str) -> str:
    """The first place at which two texts differ; empty where they are the same."""
    for tag, a, b, c, d in SequenceMatcher(None, wrote, read, autojunk=False).get_opcodes():
        if tag != "equal":
            return f"“{wrote[max(0, a - 12) : b + 12]}” comes back as “{read[max(0, c - 12) : d + 12]}”"
    return ""


def answer_checks(processor: Processor, task: LoadedTask, example: Example, value: Value) -> list[Check]:
    """What the decoded answer `value` (source frame) lacks of what was written: items, labels, digits."""
    assert isinstance(example.target, tuple)
    texts = [part for part in example.target if isinstance(part, str)]
    places = [part for part in example.target if isinstance(part, Boxes | Points | Keypoints)]
    match value:
        case Number(number):
            true = example.values.get(task.spec.target.field or "")
            if isinstance(true, Number):
                half = 0.5 * 10.0**-task.spec.target.decimals
                return [Check("number of the answer", abs(number - true.value), half, "")]
        case Text(words) | Label(words):
            told = cleaned(" ".join(texts), task.spec)
            same = "".join(words.split()) == "".join(unicodedata.normalize("NFKC", told).split())
            return [
                Check(f"{type_name(value)} read back", float(not same), 0.0, "answers", "" if same else words)
            ]
        case Boxes() | Points():
            return _lost(value, sum(len(place) for place in places), value.labels, texts)
        case GroundedText():
            return _lost(value.boxes, sum(len(place) for place in places), None, texts)
        case Keypoints():
            seen = [row for place in places if isinstance(place, Keypoints) for row in place.visibility]
            same = len(seen) == len(value)
            changed = int((np.array(seen) != value.visibility).sum()) if same and seen else 0
            return [
                *_lost(value, len(seen), None, texts),
                Check("visibility of joints", float(changed), 0.0, "joints"),
            ]
    return []


def _lost(
    value: Boxes | Points | Keypoints, written: int, labels: tuple[str, ...] | None, texts: list[str]
) -> list[Check]:
    checks = [Check("items of the answer", float(abs(written - len(value))), 0.0, "items lost")]
    if labels is not None and len(labels) == len(texts):
        changed = sum(a.split() != b.split() for a, b in zip(labels, texts, strict=True))
        checks.append(Check("labels of the answer", float(changed), 0.0, "labels"))
    return checks


# ------------------------------------------------------------------------------------- pictures


def written_value(task: LoadedTask, value: DenseValue, geometry: Geometry) -> tuple[DenseValue, DenseValue]:
    """A dense value moved into the image tokenizer's frame, and the same written as eight-bit pixels and
    read back, without the image tokenizer."""
    target = task.spec.target
    pixels, _ = target_pixels(value, geometry, target.value_range, target.palette)
    return geometry.apply(value), value_of(task, pixels)


def value_of(task: LoadedTask, pixels: npt.NDArray) -> DenseValue:
    """Pixels (S2, S2, 3) as the task's kind of value, in the image tokenizer's frame."""
    target, kind = task.spec.target, task.spec.modality
    image = Image(pixels if pixels.dtype == np.uint8 else np.rint(pixels).clip(0, 255).astype(np.uint8))
    names = class_names(task.spec) if kind == "segmentation" else None
    return from_image(
        image,
        kind,  # type: ignore[arg-type]  # asked for dense answers only
        value_range=target.value_range,
        names=names,
        scheme=target.palette,
    )


def pixel_checks(
    task: LoadedTask, wrote: DenseValue, read: DenseValue, known: npt.NDArray[np.bool_]
) -> list[Check]:
    """What eight-bit pixels alone cost, over the `known` pixels (S2, S2)."""
    match wrote, read:
        case Depth(), Depth():
            low, high = task.spec.target.value_range or (0.0, 0.0)
            inside = known & (wrote.metres >= low) & (wrote.metres <= high)
            outside = float((known & ~inside).sum() / max(1, known.sum()))
            error = np.abs(wrote.metres - read.metres)[inside].max(initial=0.0)
            return [
                Check("depth in 8 bits", float(error), (high - low) / 255 / 2, "m"),
                Check(
                    f"depth outside {low:g}..{high:g} m", 100 * outside, 100 * CLIPPED, "% of pixels clipped"
                ),
            ]
        case Normals(), Normals():
            cosine = (wrote.vectors * read.vectors).sum(-1) / np.linalg.norm(wrote.vectors, axis=-1).clip(
                1e-9
            )
            angle = np.degrees(np.arccos(cosine.clip(-1, 1)))[known].max(initial=0.0)
            return [Check("normals in 8 bits", float(angle), NORMAL_ROUNDING, "°")]
        case Mask(), Mask():
            changed = (wrote.array != read.array) & known
            return [Check("mask as a picture", float(changed.sum()), 0.0, "pixels")]
        case Segmentation(), Segmentation():
            changed = (wrote.classes != read.classes) & known
            return [Check("segmentation as a picture", float(changed.sum()), 0.0, "pixels")]
    return []


def reconstruction_check(
    original: npt.NDArray, decoded: npt.NDArray[np.uint8], counted: npt.NDArray[np.bool_]
) -> Check:
    """What the image tokenizer costs: root mean square over the pixels of the (Ni,) codes that count."""
    cells = round(len(counted) ** 0.5)
    seen = np.kron(counted.reshape(cells, cells), np.ones((original.shape[0] // cells,) * 2, bool))
    difference = (original.astype(np.float64) - decoded)[seen]
    error = float(np.sqrt(np.mean(difference**2))) if difference.size else 0.0
    psnr = 20 * np.log10(255 / error) if error else np.inf
    return Check(
        "picture through the image tokenizer", error, RECONSTRUCTION, "grey levels", f"{psnr:.1f} dB"
    )
