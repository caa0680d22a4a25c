"""One vocabulary: named, frozen ranges of ids that every modality shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unified.errors import UserError

KINDS = ("pad", "eos", "unk", "text", "location", "sentinel", "unused", "image_start", "image")
"""What an id can be; `Vocabulary.kind_of` returns these names."""


@dataclass(frozen=True)
class IdRange:
    """`count` ids from `start` on. Item i has id start + i, or counted from the end when `reversed`."""

    start: int
    count: int
    reversed: bool = False

    @property
    def stop(self) -> int:
        return self.start + self.count

    def __contains__(self, token: object) -> bool:
        return isinstance(token, (int, np.integer)) and self.start <= int(token) < self.stop

    def id(self, index: int) -> int:
        """The id of item `index`; IndexError outside 0..count-1."""
        if not 0 <= index < self.count:
            raise IndexError(f"item {index} of a range of {self.count} ids")
        return self.stop - 1 - index if self.reversed else self.start + index

    def index(self, token: int) -> int:
        """The item that `token` stands for; IndexError when it is not of this range."""
        if token not in self:
            raise IndexError(f"id {token} is not in {self.start}..{self.stop - 1}")
        return self.stop - 1 - token if self.reversed else token - self.start


class Vocabulary:
    """The ids of a tokenizer set.

    `[text pieces | locations, sentinels, unused ... | image_start]` are the text side, `text_size`
    ids; `image_size` image codes follow from `image_offset` = `text_size` on. Pad, end and unknown
    are the pieces 0, 1 and 2; the last id of the text side opens an image.
    """

    pad_id = 0
    eos_id = 1
    unk_id = 2

    def __init__(
        self, *, pieces: int, location: IdRange, sentinel: IdRange | None, text_size: int, image_size: int
    ) -> None:
        self.text = IdRange(self.unk_id + 1, pieces - self.unk_id - 1)
        self.location = location
        self.sentinel = sentinel or IdRange(location.stop, 0)
        self.text_size = text_size
        self.image_size = image_size
        self.image_start_id = text_size - 1
        self.image_offset = text_size
        self.image = IdRange(text_size, image_size)
        self.total = text_size + image_size
        self._check()
        kinds = np.full(self.total, KINDS.index("unused"), dtype=np.int8)
        kinds[: self.unk_id + 1] = [KINDS.index(k) for k in ("pad", "eos", "unk")]
        for name in ("text", "location", "sentinel", "image"):
            span: IdRange = getattr(self, name)
            kinds[span.start : span.stop] = KINDS.index(name)
        kinds[self.image_start_id] = KINDS.index("image_start")
        self._kinds = kinds
        self._kinds.setflags(write=False)

    def _check(self) -> None:
        """The ranges of the text side lie one after another below the image start."""
        spans = sorted((self.text, self.location, self.sentinel), key=lambda span: span.start)
        for before, after in zip(spans, spans[1:], strict=False):
            if after.count and before.stop > after.start:
                raise UserError(
                    f"tokenizer set: ids {before.start}..{before.stop - 1} and "
                    f"{after.start}..{after.stop - 1} overlap; ranges of a vocabulary are disjoint"
                )
        if spans[-1].stop > self.image_start_id:
            raise UserError(
                f"tokenizer set: layout.text_size is {self.text_size}, but ids reach {spans[-1].stop - 1} "
                f"and one more is needed for the image start; set text_size to at least {spans[-1].stop + 1}"
            )

    def location_id(self, bin: int) -> int:
        """The id of location bin `bin`."""
        return self.location.id(bin)

    def bin_of(self, token: int) -> int:
        """The location bin of an id; IndexError for ids that are no location."""
        return self.location.index(token)

    def location_ids(self, bins: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Ids of an array of bins in 0..count-1."""
        if self.location.reversed:
            return self.location.stop - 1 - bins
        return self.location.start + bins

    def bins_of(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Bins of an array of location ids."""
        if self.location.reversed:
            return self.location.stop - 1 - ids
        return ids - self.location.start

    def code_id(self, code: int) -> int:
        """The id of an image code."""
        return self.image.id(code)

    def kind_codes(self, ids: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
        """Index into `KINDS` of each id."""
        return self._kinds[np.asarray(ids, dtype=np.int64)]

    def kind_of(self, ids: Sequence[int] | npt.NDArray[np.int64]) -> list[str]:
        """The kind of each id, one of `KINDS`."""
        return [KINDS[k] for k in self.kind_codes(ids)]

    def is_piece(self) -> npt.NDArray[np.bool_]:
        """(total,) bool: the ids that stand for text."""
        return self._kinds == KINDS.index("text")
