"""ActivityNet-Entities: sentences of events in videos, whose nouns have boxes in single frames."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from unified.errors import UserError
from unified.sources.base import Row, RowSource
from unified.sources.jsonrows import PackedRows, load_document
from unified.sources.location import Place
from unified.specs.source_schema import ActivityNetEntitiesSource

FRAMES = 10
"""Frames that the annotators saw of an event, each the middle of a tenth of it."""
_KEYS = ("tokens", "frame_ind", "process_bnd_box", "process_idx", "process_clss", "timestamps")


class ActivityNetEntitiesRows(RowSource):
    """Rows as ActivityNetEntitiesSource states them (github.com/facebookresearch/ActivityNet-Entities,
    data/anet_entities_skeleton.txt). Events without a box are left out. A word is grounded once, at its
    token; all boxes that the frame has for it are kept."""

    def __init__(self, place: Place, spec: ActivityNetEntitiesSource, split: str) -> None:
        self.root = place.root
        files = {"annotations": spec.annotations, "sizes": spec.sizes, "ids": spec.ids}
        paths = {name: place.file(text, name) for name, text in files.items()}
        documents = {name: load_document(path, place.at(name)) for name, path in paths.items()}
        try:
            wanted = documents["ids"][spec.splits[split]]
            events, sizes = documents["annotations"]["annotations"], documents["sizes"]["database"]
            rows = [
                row
                for video in wanted
                if video in events
                for row in _rows(video, events[video], sizes[video])
            ]
        except (KeyError, TypeError, IndexError) as error:
            raise UserError(
                f"{place.at(f'splits.{split}')}: not the files of ActivityNet-Entities: "
                f"{type(error).__name__}: {error}"
            ) from error
        if not rows:
            raise UserError(f"{place.at(f'splits.{split}')}: no video of '{spec.splits[split]}' has boxes")
        self.packed = PackedRows(rows, place.root, paths["annotations"].name)

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, index: int) -> Row:
        return self.packed[index]

    def key(self, index: int) -> str:
        row = self.packed[index]
        return f"{self.packed.name}:{row['video']}, segment {row['segment']}, frame {row['frame']}"


def _rows(video: str, found: dict[str, Any], size: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each frame of an event that has boxes."""
    width, height = size["rwidth"], size["rheight"]
    rows = []
    for segment, event in found["segments"].items():
        tokens, frames, boxes, words, classes, times = (event[key] for key in _KEYS)
        starts = [sum(len(token) + 1 for token in tokens[:i]) for i in range(len(tokens))]
        for frame in sorted(set(frames)):
            grounded: dict[int, list[list[float]]] = defaultdict(list)
            names: dict[int, str] = {}
            for i, where in enumerate(frames):
                if where == frame:
                    x1, y1, x2, y2 = boxes[i]
                    box = [x1 / width, y1 / height, x2 / width, y2 / height]
                    for word, name in zip(words[i], classes[i], strict=True):
                        grounded[word].append(box)
                        names[word] = name
            order = sorted(grounded)
            spans = [[starts[w], starts[w] + len(tokens[w])] for w in order for _ in grounded[w]]
            text = " ".join(tokens)
            rows.append(
                {
                    "video": video,
                    "segment": segment,
                    "frame": frame,
                    "duration": found["duration"],
                    "start": times[0],
                    "end": times[1],
                    "caption": text,
                    "classes": [names[w] for w in order],
                    "grounded_caption": {
                        "text": text,
                        "spans": spans,
                        "boxes": [box for w in order for box in grounded[w]],
                    },
                }
            )
    return rows
