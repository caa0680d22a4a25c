"""Writes the fixtures of the localisation tasks: `python tests/library/make_grounding.py`.

File names, structure and keys are those of the released data; pictures are toybox renders, sentences and
ids are our own. Running it again writes the same files. COCO's folders are shared with other makers, whose
pictures have other ids.
"""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from scipy.spatial import ConvexHull

sys.path.insert(0, str(Path(__file__).parent))
from grounding_python2 import dumps
from grounding_scenes import LIBRARY, Item, Picture, picture, write_json

COCO_NAMES = Path(__file__).with_name("coco_categories.txt").read_text().splitlines()
COCO = {name: int(number) for number, name, _ in (line.split("\t") for line in COCO_NAMES)}
CLASS = {
    "sphere": "sports ball",
    "cube": "suitcase",
    "cylinder": "bottle",
    "cone": "vase",
    "person": "person",
}
CATEGORIES = [
    {"supercategory": group, "id": int(number), "name": name}
    for number, name, group in (line.split("\t") for line in COCO_NAMES)
]
PICTURES = {("train", n): 500100 + n for n in range(1, 7)} | {("val", n): 500200 + n for n in range(1, 7)}
"""(part, number) -> image id. Odd numbers show a figure."""


def coco_picture(part: str, number: int) -> Picture:
    return picture(f"coco/{part}", number, figure=number % 2 == 1)


def polygon(item: Item) -> list[float]:
    """The convex hull of an item's pixels as COCO writes polygons: x, y, x, y, ..."""
    ys, xs = np.nonzero(item.mask)
    corners = np.concatenate([np.stack([xs + dx, ys + dy], axis=1) for dx in (0, 1) for dy in (0, 1)])
    hull = corners[ConvexHull(corners).vertices].astype(float)
    return hull.ravel().tolist()


def annotation(item: Item, image: Picture, image_id: int, number: int, crowd: bool = False) -> dict[str, Any]:
    """One object as `instances_*.json` says it; area and box from its outline as the official tools do."""
    outline = [polygon(item)]
    run = coco_mask.merge(coco_mask.frPyObjects(outline, image.height, image.width))
    if crowd:
        outline_: Any = {"counts": run_lengths(coco_mask.decode(run)), "size": [image.height, image.width]}
    else:
        outline_ = outline
    x1, y1, x2, y2 = item.box
    return {
        "segmentation": outline_,
        "area": float(coco_mask.area(run)),
        "iscrowd": int(crowd),
        "image_id": image_id,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "category_id": COCO[CLASS[item.shape]],
        "id": image_id * 10 + number,
    }


def run_lengths(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed RLE: lengths of runs in column order, the first of zeros."""
    flat = np.concatenate([[0], mask.ravel(order="F"), [2]])
    changes = np.flatnonzero(np.diff(flat)) - 0
    return np.diff(np.concatenate([[0], changes])).tolist()


def file_name(image_id: int, year: int, part: str) -> str:
    return f"COCO_{part}2014_{image_id:012d}.jpg" if year == 2014 else f"{image_id:012d}.jpg"


def image_entry(image: Picture, image_id: int, year: int, part: str) -> dict[str, Any]:
    name = file_name(image_id, year, part)
    return {
        "license": 1,
        "file_name": name,
        "coco_url": f"http://images.cocodataset.org/{part}{year}/{name}",
        "height": image.height,
        "width": image.width,
        "date_captured": "2013-11-14 17:02:52",
        "flickr_url": f"http://farm1.staticflickr.com/1/{image_id}_toybox_z.jpg",
        "id": image_id,
    }


HEADER = {
    "info": {"description": "fixture in the format of COCO 2017", "url": "http://cocodataset.org",
             "version": "1.0", "year": 2017, "contributor": "unified", "date_created": "2017/09/01"},
    "licenses": [{"url": "http://example.org/", "id": 1, "name": "made for tests"}],
}  # fmt: skip
JOINTS = ["nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
          "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee",
          "right_knee", "left_ankle", "right_ankle"]  # fmt: skip
SKELETON = [[16, 14], [14, 12], [17, 15], [15, 13], [12, 13], [6, 12], [7, 13], [6, 7], [6, 8], [7, 9],
            [8, 10], [9, 11], [2, 3], [1, 2], [1, 3], [2, 4], [3, 5], [4, 6], [5, 7]]  # fmt: skip


def coco_test() -> None:
    """image_info_test-dev2017.json: pictures and categories, no annotations."""
    images = []
    for n in range(1, 5):
        image, image_id = coco_picture("test", n), 500300 + n
        image.save(LIBRARY / "coco" / "test2017" / file_name(image_id, 2017, "test"))
        images.append(image_entry(image, image_id, 2017, "test"))
    whole = {**HEADER, "images": images, "categories": CATEGORIES}
    write_json(LIBRARY / "coco" / "annotations" / "image_info_test-dev2017.json", whole)


def keypoints(item: Item) -> list[float]:
    """The seventeen joints of COCO from the eleven of a toybox figure; eyes and ears of half of them are
    not labelled (0, 0, 0), as COCO writes it."""
    known = item.joints
    side = {"left": 2.0, "right": -2.0}
    out: list[float] = []
    for name in JOINTS:
        way, _, part = name.partition("_")
        if name == "nose":
            x, y, v = known["head"]
        elif part in ("eye", "ear"):
            x, y, v = known["head"]
            x, y, v = (x + side[way] / 2, y - 1, v) if part == "eye" else (0, 0, 0)
        elif part in ("shoulder", "hip"):
            x, y, v = known["neck" if part == "shoulder" else "hip"]
            x += side[way]
        else:
            x, y, v = known[f"{way}_" + {"wrist": "hand", "ankle": "foot"}.get(part, part)]
        out += [round(x), round(y), v] if v else [0, 0, 0]
    return out


def coco() -> None:
    """instances and person keypoints of 2014 and 2017; the last object of val's second picture is a crowd
    (an uncompressed RLE), the sixth picture of val has no annotation."""
    for part in ("train", "val"):
        pictures = {PICTURES[part, n]: coco_picture(part, n) for n in range(1, 7)}
        for year in (2014, 2017):
            instances, people = [], []
            for image_id, image in pictures.items():
                image.save(LIBRARY / "coco" / f"{part}{year}" / file_name(image_id, year, part))
                if image_id == PICTURES["val", 6]:
                    continue
                for number, item in enumerate(image.items):
                    crowd = image_id == PICTURES["val", 2] and number == len(image.items) - 1
                    entry = annotation(item, image, image_id, number, crowd)
                    instances.append(entry)
                    if item.shape == "person":
                        points = keypoints(item)
                        labelled = {"num_keypoints": sum(v > 0 for v in points[2::3]), "keypoints": points}
                        people.append(entry | labelled)
            images = [image_entry(image, i, year, part) for i, image in pictures.items()]
            base = LIBRARY / "coco" / "annotations"
            whole = {**HEADER, "images": images, "annotations": instances, "categories": CATEGORIES}
            write_json(base / f"instances_{part}{year}.json", whole)
            person = CATEGORIES[0] | {"keypoints": JOINTS, "skeleton": SKELETON}
            whole = {**HEADER, "images": images, "annotations": people, "categories": [person]}
            write_json(base / f"person_keypoints_{part}{year}.json", whole)


# ---------------------------------------------------------------------------- referring expressions

SPLITS = {"unc": {"train": (1, 2), "val": (3, 4), "testA": (5,), "testB": (6,)},
          "umd": {"train": (1, 2), "val": (3, 4), "test": (5, 6)}}  # fmt: skip


def refer() -> None:
    """refs(unc).p of RefCOCO and RefCOCO+, refs(umd).p of RefCOCOg, as written by Python 2; instances.json
    beside each. All pictures are of train2014. testA is about people, testB about other things."""
    pictures = {n: coco_picture("train", n) for n in range(1, 7)}
    for folder, by in (("refcoco", "unc"), ("refcoco+", "unc"), ("refcocog", "umd")):
        refs, sentence = [], 0
        for split, numbers in SPLITS[by].items():
            for n in numbers:
                image, image_id = pictures[n], PICTURES["train", n]
                for k, item in enumerate(image.items):
                    if split == "testA" and item.shape != "person":
                        continue
                    place = "left" if item.box[0] + item.box[2] < image.width else "right"
                    said = [item.phrase, f"{item.phrase.removeprefix('the ')} on the {place}"]
                    if folder == "refcocog":
                        said = [f"{item.phrase} that stands on the {place} side of the room"]
                    if folder == "refcoco+":  # no words of place
                        said = [item.phrase, item.phrase.removeprefix("the ")]
                    refs.append(
                        {
                            "sent_ids": list(range(sentence, sentence + len(said))),
                            "file_name": f"COCO_train2014_{image_id:012d}_{len(refs)}.jpg",
                            "ann_id": image_id * 10 + k,
                            "ref_id": len(refs),
                            "image_id": image_id,
                            "split": split,
                            "sentences": [
                                {"tokens": text.split(), "raw": text.upper() if k == 0 else text,
                                 "sent_id": sentence + i, "sent": text}
                                for i, text in enumerate(said)
                            ],
                            "category_id": COCO[CLASS[item.shape]],
                        }
                    )  # fmt: skip
                    sentence += len(said)
        path = LIBRARY / folder / f"refs({by}).p"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dumps(refs))
        images = [image_entry(p, PICTURES["train", n], 2014, "train") for n, p in pictures.items()]
        objects = [
            annotation(item, p, PICTURES["train", n], k)
            for n, p in pictures.items() for k, item in enumerate(p.items)
        ]  # fmt: skip
        whole = {**HEADER, "images": images, "annotations": objects, "categories": CATEGORIES}
        write_json(LIBRARY / folder / "instances.json", whole)


# -------------------------------------------------------------------------------------------- LVIS

LVIS = {"sphere": (41, "ball", "f"), "cube": (145, "box", "f"), "cylinder": (133, "bottle", "c"),
        "cone": (1139, "vase", "r"), "person": (793, "person", "f"), "": (1021, "snowman", "r")}  # fmt: skip


def lvis() -> None:
    """lvis_v1_{train,val}.json over COCO's pictures: no file_name, no iscrowd; every picture is known to lack
    a snowman, and not all boxes of the first are marked. val's last picture is of train2017."""
    categories = [
        {"image_count": 4, "synonyms": [name], "def": f"made for tests: {name}", "id": number,
         "synset": f"{name}.n.01", "name": name, "frequency": letter, "instance_count": 5}
        for number, name, letter in LVIS.values()
    ]  # fmt: skip
    shown = {
        "train": [("train", n) for n in range(1, 5)],
        "val": [("val", n) for n in range(1, 6)] + [("train", 6)],
    }
    for part, wanted in shown.items():
        images, objects = [], []
        for k, (of, n) in enumerate(wanted):
            image, image_id = coco_picture(of, n), PICTURES[of, n]
            entry = image_entry(image, image_id, 2017, of)
            del entry["file_name"]
            entry |= {
                "neg_category_ids": [LVIS[""][0]],
                "not_exhaustive_category_ids": [LVIS["cube"][0]] if k == 0 else [],
            }
            images.append(entry)
            for number, item in enumerate(image.items):
                found = annotation(item, image, image_id, number) | {"category_id": LVIS[item.shape][0]}
                del found["iscrowd"]
                objects.append(found)
        whole = {**HEADER, "images": images, "annotations": objects, "categories": categories}
        write_json(LIBRARY / "lvis" / f"lvis_v1_{part}.json", whole)


# ----------------------------------------------------------------------------------------- mirrors


def hub() -> None:
    """Parquet mirrors as `$UNIFIED_DATA/hub/<id>`: jxu124's RefCOCO and detection-datasets' COCO."""
    from datasets import ClassLabel, Dataset, Features, Image, Sequence, Value

    names = [c["name"] for c in CATEGORIES]
    box = Sequence(Value("float64"), length=4)
    objects = Sequence(
        {
            "bbox_id": Value("int64"),
            "category": ClassLabel(names=names),
            "bbox": box,
            "area": Value("float64"),
        }
    )
    number, text = Value("int64"), Value("string")
    coco_features = Features(
        {"image_id": number, "image": Image(), "width": number, "height": number, "objects": objects}
    )
    for part in ("train", "val"):
        rows = []
        for n in range(1, 6):
            image, image_id = coco_picture(part, n), PICTURES[part, n]
            stored = LIBRARY / "coco" / f"{part}2017" / f"{image_id:012d}.jpg"
            found = [annotation(item, image, image_id, k) for k, item in enumerate(image.items)]
            rows.append(
                {
                    "image_id": image_id,
                    "image": {"bytes": stored.read_bytes(), "path": None},
                    "width": image.width,
                    "height": image.height,
                    "objects": {
                        "bbox_id": [a["id"] for a in found],
                        "category": [
                            next(c["name"] for c in CATEGORIES if c["id"] == a["category_id"]) for a in found
                        ],
                        "bbox": [item.box for item in image.items],
                        "area": [a["area"] for a in found],
                    },
                }
            )
        save(Dataset.from_list(rows, features=coco_features), "detection-datasets/coco", part)
    sentence = {"raw": text, "sent": text, "sent_id": number, "tokens": Sequence(text)}
    features = Features(
        {"sent_ids": Sequence(number), "file_name": text, "ann_id": number, "ref_id": number,
         "image_id": number,
         "split": text, "sentences": [sentence], "category_id": number, "raw_anns": text,
         "raw_image_info": text,
         "raw_sentences": text, "image_path": text, "bbox": Sequence(Value("float64")),
         "captions": Sequence(text),
         "global_image_id": text, "anns_id": text}
    )  # fmt: skip
    for folder, by, name in (
        ("refcoco", "unc", "refcoco"),
        ("refcoco+", "unc", "refcocoplus"),
        ("refcocog", "umd", "refcocog"),
    ):
        refs = pickle.loads((LIBRARY / folder / f"refs({by}).p").read_bytes())
        instances = json.loads((LIBRARY / folder / "instances.json").read_text())
        objects_ = {a["id"]: a for a in instances["annotations"]}
        images = {i["id"]: i for i in instances["images"]}
        for split in sorted({ref["split"] for ref in refs}):
            rows = []
            for ref in (ref for ref in refs if ref["split"] == split):
                found, image = objects_[ref["ann_id"]], images[ref["image_id"]]
                x, y, w, h = found["bbox"]
                rows.append(
                    ref
                    | {
                        "raw_anns": json.dumps(found),
                        "raw_image_info": json.dumps(image),
                        "raw_sentences": json.dumps(ref["sentences"]),
                        "image_path": f"coco/train2014/{image['file_name']}",
                        "bbox": [x, y, x + w, y + h],
                        "captions": [s["sent"] for s in ref["sentences"]],
                        "global_image_id": f"coco.{image['id']}",
                        "anns_id": f"coco.{found['id']}",
                    }
                )
            ours = {"val": "validation", "testA": "test"}.get(split, split)
            save(Dataset.from_list(rows, features=features), f"jxu124/{name}", ours)


def save(rows: Any, name: str, split: str) -> None:
    path = LIBRARY / "hub" / name / "data" / f"{split}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(str(path))


if __name__ == "__main__":
    for make in (coco, coco_test, refer, lvis, hub):
        make()
