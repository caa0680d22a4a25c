"""Flickr30k Entities: captions whose phrases have boxes.

Format: Plummer et al. 2017 and https://github.com/BryanPlummer/flickr30k_entities. A sentence is written
`[/EN#chain/type/type words of the phrase] other words`; chain 0 is not visual. The XML gives each box the
chains that it shows, in pixels counted from 1; things without a box say whether they are the scene.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from unified.errors import UserError
from unified.sources.base import Row, RowSource
from unified.sources.jsonrows import PackedRows
from unified.sources.location import Place
from unified.specs.source_schema import EntitiesSource

OPENING = "[/EN#"


class EntityRows(RowSource):
    """Rows as EntitiesSource states them, one a sentence, in the order of the list of images."""

    def __init__(self, place: Place, spec: EntitiesSource, split: str) -> None:
        self.root = place.root
        self.images = place.expand(spec.images, "images")
        listed = place.file(spec.splits[split], f"splits.{split}")
        sentences = place.folder(spec.sentences, "sentences")
        annotations = place.folder(spec.annotations, "annotations")
        images = []
        self.starts: list[tuple[int, int]] = []
        """(image, sentence) of each row."""
        for number, name in enumerate(listed.read_text(encoding="utf-8").split()):
            texts = _lines(sentences / f"{name}.txt", place)
            images.append(
                {"id": name, "sentences": texts, "boxes": _boxes(annotations / f"{name}.xml", place)}
            )
            self.starts += [(number, sentence) for sentence in range(len(texts))]
        if not self.starts:
            raise UserError(f"{place.at(f'splits.{split}')}: {listed} lists no image that has sentences")
        self.packed = PackedRows(images, self.root, listed.name)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        number, sentence = self.starts[index]
        image = self.packed[number]
        caption, phrases = parse_sentence(image["sentences"][sentence], image["boxes"])
        grounded = [phrase for phrase in phrases if phrase["boxes"]]
        return {
            "image_id": image["id"],
            "image": f"{self.images}/{image['id']}.jpg",
            "sentence": sentence,
            "caption": caption,
            "phrases": phrases,
            "grounded": grounded,
            "grounded_caption": {
                "text": caption,
                "boxes": [box for phrase in grounded for box in phrase["boxes"]],
                "spans": [[p["first_char"], p["last_char"]] for p in grounded for _ in p["boxes"]],
            },
        }

    def key(self, index: int) -> str:
        number, sentence = self.starts[index]
        return f"{self.packed[number]['id']}.txt:{sentence + 1}"


def parse_sentence(text: str, boxes: dict[str, list[list[int]]]) -> tuple[str, list[dict[str, Any]]]:
    """The caption, words joined by one space, and its phrases in their order. Characters are counted in the
    caption, `last_char` excluded; a phrase has the boxes of its chain."""
    caption = ""
    phrases: list[dict[str, Any]] = []
    inside = False
    for token in text.split():
        if not inside and token.startswith(OPENING):
            chain, *types = token[len(OPENING) :].split("/")
            start = len(caption) + 1 if caption else 0
            phrases.append(
                {"chain": chain, "types": types, "first_char": start, "boxes": boxes.get(chain, [])}
            )
            inside = True
            continue
        closing = inside and token.endswith("]")
        caption += f"{' ' if caption else ''}{token[:-1] if closing else token}"
        if closing:
            phrase = phrases[-1]
            phrase["last_char"] = len(caption)
            phrase["phrase"] = caption[phrase["first_char"] :]
            inside = False
    return caption, [phrase for phrase in phrases if "phrase" in phrase]


def _lines(path: Path, place: Place) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except FileNotFoundError:
        raise place.missing("sentences", path, "file") from None


def _boxes(path: Path, place: Place) -> dict[str, list[list[int]]]:
    """Chain -> its boxes, x1, y1, x2, y2 counted from 0."""
    found: dict[str, list[list[int]]] = {}
    try:
        for thing in ET.parse(path).getroot().iter("object"):
            box = thing.find("bndbox")
            if box is None:
                continue
            corners = [int(box.findtext(name, "")) - 1 for name in ("xmin", "ymin", "xmax", "ymax")]
            for chain in thing.findall("name"):
                found.setdefault(chain.text or "", []).append(corners)
    except FileNotFoundError:
        raise place.missing("annotations", path, "file") from None
    except (ET.ParseError, ValueError) as error:
        raise UserError(f"{place.at('annotations')}: {path} is not an annotation: {error}") from error
    return found
