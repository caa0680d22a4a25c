"""Writes the fixtures of ImageNet and Places365, and of ImageNet's mirror, in the official formats:
`python tests/library/make_classification.py`. Pictures are of the toybox."""

from __future__ import annotations

import datasets
from grounding_scenes import picture
from make_closed_hub import PICTURE, parquet
from make_closed_hub import picture as stored
from make_language import ROOT, document

SYNSETS = [
    ("n03000001", "cube, block"),
    ("n03000002", "ball, sphere"),
    ("n03000003", "cone"),
    ("n03000004", "tube"),
]
PLACES = ["/a/attic", "/b/ballroom", "/c/corridor", "/c/courtyard/outdoor"]


def imagenet() -> None:
    folder = "imagenet/ILSVRC/Data/CLS-LOC"
    solution = ["ImageId,PredictionString"]
    label = datasets.ClassLabel(names=[words for _, words in SYNSETS])
    rows: dict[str, list[dict]] = {"train": [], "validation": []}
    for i, (synset, _) in enumerate(SYNSETS):
        names = {"train": f"{folder}/train/{synset}/{synset}_{10 + i}.JPEG",
                 "validation": f"{folder}/val/ILSVRC2012_val_{i + 1:08d}.JPEG"}  # fmt: skip
        for split, name in names.items():
            picture(f"imagenet/{split}", i).save(ROOT / name)
            rows[split].append({"image": stored(name), "label": i})
        boxes = f"{synset} 10 12 50 60 {synset} 3 4 20 30 " if i else f"{synset} 10 12 50 60 "
        solution.append(f"ILSVRC2012_val_{i + 1:08d},{boxes}")
    document("imagenet/LOC_val_solution.csv", "\n".join(solution) + "\n")
    lines = "".join(f"{synset} {words}\n" for synset, words in SYNSETS)
    document("imagenet/LOC_synset_mapping.txt", lines)
    for split, found in rows.items():
        features = {"image": PICTURE, "label": label}
        parquet(f"ILSVRC/imagenet-1k/data/{split}-00000-of-00001.parquet", found, features)


def places365() -> None:
    train, val = [], []
    for i, place in enumerate(PLACES):
        files = (f"{place}/{i + 1:08d}.jpg", f"Places365_val_{i + 1:08d}.jpg")
        picture("places/train", i).save(ROOT / f"places365/data_256{files[0]}")
        picture("places/val", i).save(ROOT / f"places365/val_256/{files[1]}")
        train.append(f"{files[0]} {i}\n")
        val.append(f"{files[1]} {i}\n")
    document("places365/places365_train_standard.txt", "".join(train))
    document("places365/places365_val.txt", "".join(val))
    document("places365/categories_places365.txt", "".join(f"{p} {i}\n" for i, p in enumerate(PLACES)))


if __name__ == "__main__":
    imagenet()
    places365()
