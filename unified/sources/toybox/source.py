"""The built-in world as a source of rows."""

from __future__ import annotations

from pathlib import Path

from unified.errors import UserError, did_you_mean
from unified.sources.base import Row, RowSource
from unified.sources.toybox.context import Context
from unified.sources.toybox.draws import Draws
from unified.sources.toybox.rows import ROW_MAKERS
from unified.specs.source_schema import ToyboxSource

SIZES = (32, 256)
ARGS = ("max_things",)


class ToyboxRows(RowSource):
    """Rows of one kind and split. Row i depends on the kind, the split and i, and on nothing else.

    `args`: `max_things` (1 to 5) bounds the things in a scene where the kind leaves it open.
    Raises UserError for an unknown kind, split or argument.
    """

    def __init__(self, spec: ToyboxSource, split: str) -> None:
        if spec.kind not in ROW_MAKERS:
            hint = did_you_mean(spec.kind, list(ROW_MAKERS))
            raise UserError(
                f"source.kind: the toybox has no '{spec.kind}'{hint}; kinds: {', '.join(sorted(ROW_MAKERS))}"
            )
        if split not in spec.splits:
            raise UserError(f"source.splits: no split '{split}'; there are: {', '.join(spec.splits)}")
        if not SIZES[0] <= spec.image_size <= SIZES[1]:
            raise UserError(
                f"source.image_size: {spec.image_size} is outside {SIZES[0]} to {SIZES[1]} pixels"
            )
        for name in spec.args:
            if name not in ARGS:
                raise UserError(
                    f"source.args: unknown '{name}'{did_you_mean(name, ARGS)}; there is: {', '.join(ARGS)}"
                )
        max_things = spec.args.get("max_things", 5)
        if not (isinstance(max_things, int) and 1 <= max_things <= 5):
            raise UserError(f"source.args.max_things: {max_things!r} is not a whole number from 1 to 5")
        self.root = Path()
        self.spec, self.split, self.max_things = spec, split, max_things
        self.maker = ROW_MAKERS[spec.kind]

    def __len__(self) -> int:
        return self.spec.splits[self.split]

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        draws = Draws(f"{self.spec.kind}/{self.split}", index)
        return self.maker(Context(draws, self.split == "held_out", self.spec.image_size, self.max_things))

    def key(self, index: int) -> str:
        return f"toybox:{self.spec.kind}/{self.split}:{index}"
