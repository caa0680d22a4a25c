"""Writes Karpathy's splits of COCO and Flickr30k and their mirrors on the hub, in the official formats:
`python tests/library/make_karpathy.py`, after make_closed.py, whose pictures are the first of COCO's.

Twelve pictures for validation and twelve for testing, so that ten of them are not all. Pictures are of the
toybox and 48 wide, sentences our own; no sentence is said of two pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import datasets
import PIL.Image
from make_closed import ROOT, Scene, write
from make_closed_hub import NUMBER, PICTURE, TEXT, parquet, picture

FIRST = {"train": (400101, 400102, 400103), "restval": (400201,), "val": (400202, 400203),
         "test": (400204, 400205)}  # fmt: skip
"""Pictures of COCO that make_closed.py wrote."""
MORE = {"val": range(600201, 600211), "test": range(600301, 600311)}
FLICKR = {"train": range(7301101, 7301105), "val": range(7301201, 7301213),
          "test": range(7301301, 7301313)}  # fmt: skip


class Said:
    """Scenes with sentences of which none has been used."""

    def __init__(self) -> None:
        self.used: set[str] = set()
        self.next = 9000

    def scene(self, first: int | None = None) -> tuple[Scene, list[str]]:
        while True:
            scene = Scene(self.next if first is None else first)
            self.next += first is None
            raw = [*scene.captions, f"the room holds {scene.captions[0]}", f"one sees {scene.captions[0]}"]
            if self.used.isdisjoint(raw):
                self.used.update(raw)
                return scene, raw
            assert first is None, f"scene {first}: what is said of it is said of another one"


def small(scene: Scene, path: str) -> None:
    target = ROOT / path
    target.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(scene.pixels).resize((48, 48)).crop((0, 4, 48, 48)).save(target, quality=80)


def document(dataset: str, rows: Iterator[tuple[dict[str, Any], list[str]]]) -> list[dict[str, Any]]:
    images = []
    for i, (row, raw) in enumerate(rows):
        sentences = [{"tokens": text.replace(",", "").split(), "raw": text, "imgid": i, "sentid": 5 * i + j}
                     for j, text in enumerate(raw)]  # fmt: skip
        images.append(row | {"imgid": i, "sentids": [5 * i + j for j in range(5)], "sentences": sentences})
    write(f"{dataset}/dataset_{dataset}.json", {"dataset": dataset, "images": images})
    return images


def coco_rows() -> Iterator[tuple[dict[str, Any], list[str]]]:
    said = Said()
    for numbers, new in ((FIRST, False), (MORE, True)):
        for split, ids in numbers.items():
            folder = "train2014" if split == "train" else "val2014"
            for image in ids:
                name = f"COCO_{folder}_{image:012d}.jpg"
                scene, raw = said.scene(None if new else image)
                if new:
                    small(scene, f"coco/{folder}/{name}")
                yield {"filepath": folder, "filename": name, "cocoid": image, "split": split}, raw


def coco() -> None:
    """COCO-Caption has all pictures of val2014; coco-karpathy has the sentences and no pictures."""
    images = document("coco", coco_rows())
    features = {"question_id": TEXT, "image": PICTURE, "question": TEXT, "answer": [TEXT], "id": NUMBER,
                "file_name": TEXT, "coco_url": TEXT}  # fmt: skip
    rows = [
        {"question_id": i["filename"], "image": picture(f"coco/val2014/{i['filename']}"),
         "question": "What is there ?", "answer": [s["raw"] for s in i["sentences"]], "id": i["cocoid"],
         "file_name": i["filename"],
         "coco_url": f"http://images.cocodataset.org/val2014/{i['filename']}"}
        for i in images if i["filepath"] == "val2014"
    ]  # fmt: skip
    parquet("lmms-lab/COCO-Caption/data/val-00000-of-00001.parquet", rows, features)
    features = {"filepath": TEXT, "sentids": [NUMBER], "filename": TEXT, "imgid": NUMBER, "split": TEXT,
                "sentences": [TEXT], "cocoid": NUMBER, "url": TEXT}  # fmt: skip
    for split, official in (("validation", "val"), ("test", "test")):
        rows = [
            {key: i[key] for key in features if key in i}
            | {"sentences": [s["raw"] for s in i["sentences"]],
               "url": f"http://images.cocodataset.org/val2014/{i['filename']}"}
            for i in images if i["split"] == official
        ]  # fmt: skip
        parquet(f"yerevann/coco-karpathy/data/{split}-00000-of-00001.parquet", rows, features)


def flickr_rows() -> Iterator[tuple[dict[str, Any], list[str]]]:
    said = Said()
    for split, ids in FLICKR.items():
        for image in ids:
            scene, raw = said.scene()
            small(scene, f"flickr30k/flickr30k-images/{image}.jpg")
            yield {"filename": f"{image}.jpg", "split": split}, raw


def flickr30k() -> None:
    """The mirror has one split for all pictures, also of those that are in none of Karpathy's."""
    images = document("flickr30k", flickr_rows())
    features = {"image": PICTURE, "caption": datasets.Sequence(TEXT), "sentids": datasets.Sequence(TEXT),
                "img_id": TEXT, "filename": TEXT}  # fmt: skip
    rows = [
        {"image": picture(f"flickr30k/flickr30k-images/{i['filename']}"), "img_id": str(i["imgid"]),
         "caption": [s["raw"] for s in i["sentences"]], "sentids": list(map(str, i["sentids"])),
         "filename": i["filename"]}
        for i in images
    ]  # fmt: skip
    rows.append(rows[0] | {"filename": "7301999.jpg"})
    parquet("lmms-lab/flickr30k/data/test-00000-of-00001.parquet", rows[::-1], features)


if __name__ == "__main__":
    coco()
    flickr30k()
