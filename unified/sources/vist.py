"""Visual Storytelling: five photos of an album and the story that somebody wrote for them.

Format (Huang et al. 2016, https://visionandlanguage.net/VIST): `annotations` lists one-element lists, a
sentence each, with its story, its photo and the photo's place in the story.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from unified.errors import UserError
from unified.sources.base import Row, RowSource
from unified.sources.jsonrows import PackedRows, load_document
from unified.sources.location import Place
from unified.sources.records import walk
from unified.specs.source_schema import VistSource


class VistRows(RowSource):
    """Rows as VistSource states them, in the order in which the file first names their stories."""

    def __init__(self, place: Place, spec: VistSource, split: str) -> None:
        self.root = place.root
        path = place.file(spec.splits[split], f"splits.{split}")
        where = place.at(f"splits.{split}")
        found = walk(load_document(path, where), "annotations", path, where)
        stories: dict[str, list[dict[str, Any]]] = defaultdict(list)
        try:
            for (sentence,) in found:
                stories[str(sentence["story_id"])].append(sentence)
            rows = [_story(name, sentences, spec.text) for name, sentences in stories.items()]
        except (TypeError, ValueError, KeyError) as error:
            raise UserError(f"{where}: {path} is not VIST: {type(error).__name__}: {error}") from error
        self.same: dict[str, list[int]] = defaultdict(list)
        """Photos -> the rows of their stories."""
        for i, row in enumerate(rows):
            self.same[" ".join(row["photos"])].append(i)
        self.packed = PackedRows(rows, self.root, path.name)

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, index: int) -> Row:
        row = self.packed[index]
        same = self.same[" ".join(row["photos"])]
        others = [self.packed[i]["story"] for i in same if i != index]
        return row | {"telling": same.index(index), "references": [row["story"], *others]}

    def key(self, index: int) -> str:
        return f"{self.packed.name}:story {self.packed[index]['story_id']}"


def _story(name: str, sentences: list[dict[str, Any]], text: str) -> dict[str, Any]:
    ordered = sorted(sentences, key=lambda sentence: int(sentence["worker_arranged_photo_order"]))
    texts = [" ".join(sentence[text].split()) for sentence in ordered]
    return {
        "story_id": name,
        "album_id": str(ordered[0]["album_id"]),
        "photos": [str(sentence["photo_flickr_id"]) for sentence in ordered],
        "texts": texts,
        "story": " ".join(texts),
    }
