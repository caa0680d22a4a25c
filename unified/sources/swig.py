"""SWiG: situations, that is a verb, its roles, and the noun and box of each role."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from unified.errors import UserError
from unified.sources.base import Row, RowSource
from unified.sources.jsonrows import PackedRows, load_document
from unified.sources.location import Place
from unified.specs.example import BadRow
from unified.specs.source_schema import SwigSource

NOTHING = "nothing"
"""The noun of a role that the picture does not show ("" in the files)."""


class SwigRows(RowSource):
    """Rows as SwigSource states them, of `SWiG_jsons/*.json` (github.com/allenai/swig, README). Nouns are the
    first word of their gloss; ids that `imsitu_space.json` lacks (`oov`) stay as they are."""

    def __init__(self, place: Place, spec: SwigSource, split: str) -> None:
        path, space = place.file(spec.splits[split], f"splits.{split}"), place.file(spec.space, "space")
        self.root, self.images = place.root, spec.images
        document = load_document(path, place.at(f"splits.{split}"))
        found = load_document(space, place.at("space"))
        if not isinstance(found, dict) or not {"nouns", "verbs"} <= found.keys():
            raise UserError(
                f"{place.at('space')}: {space} is not imsitu_space.json: it has no nouns and verbs"
            )
        if not isinstance(document, dict):
            raise UserError(f"{place.at(f'splits.{split}')}: {path} is no mapping of pictures")
        self.nouns = {i: noun["gloss"][0] for i, noun in found["nouns"].items()} | {"": NOTHING}
        self.verbs = {verb: (known["order"], known["abstract"]) for verb, known in found["verbs"].items()}
        self.packed = PackedRows(
            [{"name": n} | entry for n, entry in document.items()], place.root, path.name
        )

    def __len__(self) -> int:
        return len(self.packed)

    def key(self, index: int) -> str:
        return f"{self.packed.name}:{self.packed[index]['name']}"

    def __getitem__(self, index: int) -> Row:
        entry = self.packed[index]
        try:
            if entry["verb"] not in self.verbs:
                raise BadRow(f"the verb '{entry['verb']}' is not in the space of verbs")
            order, abstract = self.verbs[entry["verb"]]
            frames = [[self.nouns.get(frame[r], frame[r]) for r in order] for frame in entry["frames"]]
            boxes = [None if -1 in entry["bb"][role] else entry["bb"][role] for role in order]
        except (KeyError, TypeError) as error:
            raise BadRow(f"not an entry of SWiG: {type(error).__name__}: {error}") from error
        nouns = [_majority(said, box) for said, box in zip(zip(*frames, strict=True), boxes, strict=True)]
        roles = described(order, nouns, boxes)
        return {
            "image": f"{self.images}/{entry['name']}",
            "image_id": entry["name"],
            "width": entry["width"],
            "height": entry["height"],
            "verb": entry["verb"],
            "abstract": abstract,
            "order": order,
            "nouns": nouns,
            "boxes": boxes,
            "frames": [described(order, frame, [])["text"] for frame in frames],
            "roles": roles,
            "situation": described(order, nouns, boxes, entry["verb"]),
        }


def _majority(said: Sequence[str], box: Sequence[float] | None) -> str:
    """The noun of most annotators, the first of equals. What has a box is something."""
    shown = [noun for noun in said if noun != NOTHING or box is None]
    return Counter(shown or said).most_common(1)[0][0]


def described(
    order: Sequence[str], nouns: Sequence[str], boxes: Sequence[Sequence[float] | None], verb: str = ""
) -> Mapping[str, Any]:
    """`agent: man, item: ball` with the boxes of the nouns that have one, as grounded text; a verb goes
    before it, `kicking, agent: man`."""
    text, spans, kept = verb, [], []
    for i, (role, noun) in enumerate(zip(order, nouns, strict=True)):
        text += f"{', ' if text else ''}{role}: {noun}"
        box = boxes[i] if i < len(boxes) else None
        if box is not None and noun != NOTHING:
            spans.append([len(text) - len(noun), len(text)])
            kept.append(box)
    return {"text": text, "spans": spans, "boxes": kept}
