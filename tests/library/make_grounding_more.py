"""Writes the other fixtures of localisation: `python tests/library/make_grounding_more.py`.

See `make_grounding.py`. Flickr30k's pictures are shared with other makers, whose pictures have other ids.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from grounding_scenes import LIBRARY, Item, Picture, picture, write_json
from make_grounding import polygon

# ------------------------------------------------------------------------------ Flickr30k Entities

FLICKR = {"train": (7201000, 7201001, 7201002), "val": (7201010, 7201011), "test": (7201020, 7201021)}


def flickr30k_entities() -> None:
    """Each picture has five sentences. Chain 1 is the last thing (or the figure), chain 2 the others as one
    phrase with a box each, chain 3 the scene, chain 4 has no box, chain 0 is not visual."""
    base = LIBRARY / "flickr30k_entities"
    for part, ids in FLICKR.items():
        (base / "Sentences").mkdir(parents=True, exist_ok=True)
        (base / "Annotations").mkdir(parents=True, exist_ok=True)
        (base / f"{part}.txt").write_text("".join(f"{i}\n" for i in ids))
        for image_id in ids:
            image = picture("flickr30k_entities", image_id, figure=image_id % 2 == 0)
            image.save(LIBRARY / "flickr30k" / "flickr30k-images" / f"{image_id}.jpg")
            (base / "Sentences" / f"{image_id}.txt").write_text(sentences(image))
            (base / "Annotations" / f"{image_id}.xml").write_text(annotations(image, image_id))


def sentences(image: Picture) -> str:
    main = image.items[-1].phrase.removeprefix("the ")
    kind = "people" if image.items[-1].shape == "person" else "other"
    rest = image.items[:-1]
    others = f"{'a' if len(rest) == 1 else len(rest)} {'thing' if len(rest) == 1 else 'things'}"
    one, two = f"[/EN#1/{kind} The {main}]", f"[/EN#2/other {others}]"
    return "\n".join(
        [
            f"{one} is beside {two} .",
            f"There is [/EN#1/{kind} a {main}] in [/EN#3/scene a plain room] .",
            f"In [/EN#0/notvisual front] of [/EN#3/scene the wall] , {two} can be seen .",
            f"{two.replace('a thing', 'A thing')} and [/EN#1/{kind} a {main}] in [/EN#4/other the light] .",
            f"{one} .",
        ]
    ) + "\n"  # fmt: skip


def annotations(image: Picture, image_id: int) -> str:
    """Boxes count pixels from 1; the object that has no box carries two names."""
    lines = [
        "<annotation>",
        f"\t<filename>{image_id}.jpg</filename>",
        f"\t<size>\n\t\t<width>{image.width}</width>\n\t\t<height>{image.height}</height>\n\t\t<depth>3</depth>\n\t</size>",
    ]
    for item in image.items:
        chain = 1 if item is image.items[-1] else 2
        x1, y1, x2, y2 = (int(v) for v in item.box)
        ends = (min(x2 + 1, image.width), min(y2 + 1, image.height))
        corners = zip(("xmin", "ymin", "xmax", "ymax"), (x1 + 1, y1 + 1, *ends), strict=True)
        box = "".join(f"\n\t\t\t<{name}>{value}</{name}>" for name, value in corners)
        lines.append(f"\t<object>\n\t\t<name>{chain}</name>\n\t\t<bndbox>{box}\n\t\t</bndbox>\n\t</object>")
    lines.append(
        "\t<object>\n\t\t<name>3</name>\n\t\t<scene>1</scene>\n\t\t<nobndbox>0</nobndbox>\n\t</object>"
    )
    lines.append(
        "\t<object>\n\t\t<name>4</name>\n\t\t<name>5</name>\n\t\t<scene>0</scene>\n\t\t<nobndbox>1</nobndbox>\n\t</object>"
    )
    return "\n".join([*lines, "</annotation>"]) + "\n"


# --------------------------------------------------------------------------- ActivityNet-Entities

SIDE = 720
"""Boxes are in pixels of frames that are 720 wide."""


def activitynet_entities() -> None:
    """Two videos a split, two events each, ten frames an event. One event has no box at all; words of
    several classes share a box; one class has two boxes."""
    base = LIBRARY / "activitynet_entities"
    ids = {"training": ["v_aaaaaaaaaa1", "v_aaaaaaaaaa2"], "validation": ["v_bbbbbbbbbb1", "v_bbbbbbbbbb2"],
           "testing": ["v_cccccccccc1"], "hidden_test": ["v_dddddddddd1"]}  # fmt: skip
    found: dict[str, Any] = {}
    sizes: dict[str, Any] = {}
    vocab: set[str] = set()
    for split in ("training", "validation"):
        for k, video in enumerate(ids[split]):
            segments = {}
            for s in range(2):
                image = picture(f"anet/{split}", 2 * k + s, figure=True)
                scale = SIDE / image.width
                frame = 3 * s + k
                folder = base / "frames" / video / str(s)
                for i in range(10):
                    shown = image if i == frame else picture(f"anet/{split}/far", 20 * k + 10 * s + i % 3)
                    shown.save(folder / f"{i:02d}.jpg")
                empty = split == "training" and k == s == 1
                segments[str(s)] = event(image, frame, scale, 12.5 * s, empty)
                vocab |= {name for names in segments[str(s)]["process_clss"] for name in names}
            found[video] = {"duration": 25.0, "segments": segments}
            sizes[video] = {"rwidth": SIDE, "rheight": 630, "segments": {}}
    write_json(base / "anet_entities_cleaned_class_thresh50_trainval.json",
               {"vocab": sorted(vocab), "annotations": found})  # fmt: skip
    write_json(base / "anet_entities_trainval.json", {"database": sizes})
    write_json(base / "split_ids_anet_entities.json", ids)


def event(image: Picture, frame: int, scale: float, start: float, empty: bool) -> dict[str, Any]:
    person, thing = image.items[-1], image.items[0]
    shape = {"sphere": "ball", "cube": "box"}.get(thing.shape, "object")
    tokens = ["The", "man", "is", image.verb, "near", "a", shape, "and", "he", "smiles", "."]
    objects = [(["man", "he"], [1, 8], person), ([shape], [6], thing)]
    if len(image.items) > 2:
        objects.append(([shape], [6], image.items[1]))
    if empty:
        objects = []
    return {
        "timestamps": [start, start + 12.5],
        "process_clss": [names for names, _, _ in objects],
        "tokens": tokens,
        "frame_ind": [frame for _ in objects],
        "process_idx": [where for _, where, _ in objects],
        "process_bnd_box": [[round(v * scale, 1) for v in item.box] for _, _, item in objects],
        "crowds": [0 for _ in objects],
    }


# ------------------------------------------------------------------------------------- ADE20K

ADE = {"sphere": 120, "cube": 42, "cylinder": 43, "cone": 136, "person": 13}
WALL, FLOOR = 1, 4


def ade20k() -> None:
    """ADEChallengeData2016: PNGs of class numbers, 0 = other; the topmost rows are 0."""
    base = LIBRARY / "ade20k" / "ADEChallengeData2016"
    for folder, short, count in (("training", "train", 4), ("validation", "val", 4)):
        for n in range(1, count + 1):
            image = picture(f"ade20k/{folder}", n, figure=n == 2)
            name = f"ADE_{short}_{n:08d}"
            image.save(base / "images" / folder / f"{name}.jpg")
            classes = np.full(image.pixels.shape[:2], FLOOR, np.uint8)
            classes[:22] = WALL
            classes[:3] = 0
            for item in image.items:
                classes[item.mask] = ADE[item.shape]
            (base / "annotations" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(classes).save(base / "annotations" / folder / f"{name}.png", optimize=True)


# --------------------------------------------------------------------------- VizWiz-VQA-Grounding


def vizwiz_grounding() -> None:
    base = LIBRARY / "vizwiz_grounding"
    for part, first in (("train", 500), ("val", 600), ("test", 700)):
        rows = {}
        for n in range(4):
            image, name = picture(f"vizwiz/{part}", n, figure=n == 3), f"VizWiz_{part}_{first + n:08d}"
            image.save(base / part / f"{name}.jpg")
            item = max(image.items, key=lambda i: int(i.mask.sum()))
            rows[f"{name}.jpg"] = asked(item, image) if part != "test" else {"question": QUESTIONS[n % 2]}
            if part != "test":
                from pycocotools import mask as coco_mask

                run = coco_mask.merge(coco_mask.frPyObjects([polygon(item)], image.height, image.width))
                target = base / "binary_masks_png" / part / f"{name}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(coco_mask.decode(run) * np.uint8(255)).save(target, optimize=True)
        write_json(base / f"{part}_grounding.json", rows)


QUESTIONS = ("What is this ?", "Can you tell me what is in front of me?")


def asked(item: Item, image: Picture) -> dict[str, Any]:
    answer = item.phrase.removeprefix("the ")
    points = np.array(polygon(item)).reshape(-1, 2)
    return {
        "question": QUESTIONS[len(answer) % 2],
        "most_common_answer": answer,
        "answers": [answer] * 7 + ["a toy", "unanswerable", "thing"],
        "answer_grounding": [{"x": float(x), "y": float(y)} for x, y in points],
        "height": image.height,
        "width": image.width,
    }


# ---------------------------------------------------------------------------------------- SWiG

NOUNS = {
    "n10287213": (["man", "adult male"], "an adult person who is male"),
    "n00007846": (["person", "individual"], "a human being"),
    "n02778669": (["ball"], "round object that is hit or thrown or kicked in games"),
    "n02883344": (["box"], "a container; may have a lid"),
    "n04105893": (["room"], "an area within a building enclosed by walls and floor and ceiling"),
    "n05564590": (["hand", "manus"], "the extremity of the arm"),
    "n03963645": (["toy", "plaything"], "an artifact designed to be played with"),
}
VERBS = {
    "kicking": ("the AGENT kicks an ITEM at a PLACE", ["agent", "item", "place"]),
    "waving": ("the AGENT waves with a BODYPART at a PLACE", ["agent", "bodypart", "place"]),
    "running": ("the AGENT runs at a PLACE", ["agent", "place"]),
    "jumping": ("the AGENT jumps over an OBSTACLE at a PLACE", ["agent", "obstacle", "place"]),
    "standing": ("the AGENT stands at a PLACE", ["agent", "place"]),
}


def swig() -> None:
    base = LIBRARY / "swig"
    space = {
        "nouns": {i: {"gloss": gloss, "def": text} for i, (gloss, text) in NOUNS.items()},
        "verbs": {
            verb: {"framenet": "Motion", "abstract": text, "def": f"made for tests: {verb}", "order": order,
                   "roles": {role: {"framenet": role, "def": f"The {role} of {verb}"} for role in order}}
            for verb, (text, order) in VERBS.items()
        },
    }  # fmt: skip
    write_json(base / "SWiG_jsons" / "imsitu_space.json", space)
    for part in ("train", "dev", "test"):
        rows, n = {}, 0
        while len(rows) < 5:
            image = picture(f"swig/{part}", n, figure=True)
            n += 1
            if image.verb not in VERBS:
                continue
            name = f"{image.verb}_{n}.jpg"
            image.save(base / "images_512" / name)
            rows[name] = situation(image)
        write_json(base / "SWiG_jsons" / f"{part}.json", rows)


def situation(image: Picture) -> dict[str, Any]:
    """Three annotators' nouns for each role; "" where a role is not there; the box is one for all of them."""
    person, thing = image.items[-1], image.items[0]
    said = {
        "agent": (["n10287213", "n10287213", "n00007846"], person.box),
        "item": (["n02778669", "n03963645", "n02778669"], thing.box),
        "bodypart": (["n05564590", "n05564590", ""], [-1, -1, -1, -1]),
        "obstacle": (["", "", "n02883344"], [-1, -1, -1, -1]),
        "place": (["n04105893", "n04105893", "n04105893"], [-1, -1, -1, -1]),
    }
    roles = sorted(VERBS[image.verb][1], reverse=True)
    return {
        "verb": image.verb,
        "height": image.height,
        "width": image.width,
        "bb": {role: [int(v) for v in said[role][1]] for role in roles},
        "frames": [{role: said[role][0][k] for role in roles} for k in range(3)],
    }


# ------------------------------------------------------------------------------- Visual Genome


VG_URL = "https://cs.stanford.edu/people/rak248"


def visual_genome() -> None:
    """region_descriptions.json, image_data.json and the split of the dense captioning work."""
    base = LIBRARY / "visual_genome"
    splits = {"train": [2401, 2402, 2403], "val": [2411, 2412], "test": [2421, 2422]}
    data, regions, number = [], [], 100
    for image_id in sum(splits.values(), []):
        image = picture("visual_genome", image_id, figure=image_id % 2 == 0)
        folder = "VG_100K" if image_id % 2 else "VG_100K_2"
        image.save(base / folder / f"{image_id}.jpg")
        data.append({"image_id": image_id, "url": f"{VG_URL}/{folder}/{image_id}.jpg",
                     "width": image.width, "height": image.height, "coco_id": None,
                     "flickr_id": None})  # fmt: skip
        found = []
        for item in image.items:
            x1, y1, x2, y2 = (int(v) for v in item.box)
            found.append({"region_id": number, "width": x2 - x1, "height": y2 - y1, "image_id": image_id,
                          "phrase": f"{item.phrase} on the floor", "y": y1, "x": x1})  # fmt: skip
            number += 1
        regions.append({"regions": found, "id": image_id})
    write_json(base / "image_data.json", data)
    write_json(base / "region_descriptions.json", regions)
    write_json(base / "densecap_splits.json", splits)


if __name__ == "__main__":
    for make in (flickr30k_entities, activitynet_entities, ade20k, vizwiz_grounding, swig, visual_genome):
        make()
