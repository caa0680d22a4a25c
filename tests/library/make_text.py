"""Writes the fixtures of captioning and sentiment in the official formats:
`python tests/library/make_text.py`. Pictures are of the toybox, sentences our own."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
from grounding_scenes import picture
from make_language import ROOT, document

SAID = ["a red cube near a wall", "one cube and nothing else", "there is a red block in a room"]
DOMAINS = ("in-domain", "near-domain", "out-domain", "in-domain")


def save(stream: str, index: int, path: str) -> tuple[int, int]:
    found = picture(stream, index)
    found.save(ROOT / path)
    return found.width, found.height


def write(path: str, content: Any) -> None:
    document(path, json.dumps(content, indent=1))


def frames(stream: str, folder: str, count: int = 4) -> None:
    """A clip as a folder of frames."""
    for i in range(count):
        save(stream, i, f"{folder}/{i:02d}.jpg")


def nocaps() -> None:
    for split, name in (("val", "nocaps_val_4500_captions.json"), ("test", "nocaps_test_image_info.json")):
        images, annotations = [], []
        for i, domain in enumerate(DOMAINS):
            file = f"{split}{i:04x}.jpg"
            width, height = save(f"nocaps/{split}", i, f"nocaps/images/{file}")
            image = {"id": i, "open_images_id": file[:-4], "file_name": file,
                     "width": width, "height": height,
                     "license": 0, "date_captured": "2018-11-06 11:04:33",
                     "coco_url": f"https://s3.amazonaws.com/nocaps/{split}/{file}"}  # fmt: skip
            images.append(image | ({"domain": domain} if split == "val" else {}))
            annotations += [
                {"image_id": i, "id": 10 * i + j, "caption": f"{text}, picture {i}"}
                for j, text in enumerate(SAID)
            ]
        info = {"licenses": [], "info": {}, "images": images}
        write(f"nocaps/{name}", info | ({"annotations": annotations} if split == "val" else {}))


def paragraphs() -> None:
    rows = []
    for i, split in enumerate(("train", "val", "test")):
        numbers = [2317001 + 10 * i, 2317002 + 10 * i]
        for number in numbers:
            save("paragraphs", number % 100, f"stanford_paragraphs/VG_100K/{number}.jpg")
            text = f"A room with a floor and a wall. {SAID[i]}. The light comes from above, number {number}."
            rows.append({"url": f"https://cs.stanford.edu/people/rak248/VG_100K/{number}.jpg",
                         "image_id": number, "paragraph": text})  # fmt: skip
        write(f"stanford_paragraphs/{split}_split.json", numbers)
    rows.append(rows[0] | {"paragraph": "The same picture again. It is described by somebody else."})
    write("stanford_paragraphs/paragraphs_v1.json", rows)


def msrvtt() -> None:
    clips = {"train": [0, 1], "validate": [2, 3], "test": [4, 5]}
    for name, splits in (("train_val", ("train", "validate")), ("test", ("test",))):
        videos, sentences = [], []
        for split in splits:
            for n in clips[split]:
                frames(f"msrvtt/{n}", f"msrvtt/videos/video{n}")
                videos.append({"category": 9, "url": "https://www.youtube.com/watch?v=x",
                               "video_id": f"video{n}",
                               "start time": 1.5, "end time": 9.5, "split": split, "id": n})  # fmt: skip
                sentences += [{"caption": f"{text} in clip {n}", "video_id": f"video{n}", "sen_id": 3 * n + j}
                              for j, text in enumerate(SAID)]  # fmt: skip
        info = {"contributor": "us", "data_created": "2016-04-14 14:30:20", "version": "1.0"}
        write(f"msrvtt/{name}_videodatainfo.json", {"info": info, "videos": videos, "sentences": sentences})


def vist() -> None:
    for s, split in enumerate(("train", "val", "test")):
        album = str(100 + s)
        photos = [f"{album}{i:02d}" for i in range(6)]
        for i, photo in enumerate(photos):
            save(f"vist/{split}", i, f"vist/images/{photo}.jpg")
        annotations = []
        # two stories of the same photographs, one of others
        for story, first in ((1, 0), (2, 0), (3, 1)):
            for order in range(5):
                text = f"[male] saw thing {order} of {story} in album {album} ."
                annotations.append([{
                    "original_text": text.replace("[male]", "Tom"), "text": text, "album_id": album,
                    "photo_flickr_id": photos[first + order], "setting": "first-2-pick-and-tell",
                    "worker_id": "A1", "story_id": f"{album}{story}", "tier": "story-in-sequence",
                    "worker_arranged_photo_order": order, "storylet_id": f"{album}{story}{order}",
                }])  # fmt: skip
        images = [{"id": p, "album_id": album, "datetaken": "2004-01-01 10:00:00", "title": "", "text": "",
                   "tags": ""} for p in photos]  # fmt: skip
        albums = [{"id": album, "title": "a day", "vist_label": "fair", "description": ""}]
        content = {"images": images, "albums": albums, "annotations": annotations, "info": {}, "type": "sis"}
        write(f"vist/sis/{split}.story-in-sequence.json", content)


def visual_comet() -> None:
    stills = sorted((ROOT / "vcr" / "vcr1images").rglob("*.jpg"))
    for split in ("train", "val"):
        rows = []
        for i in range(4):
            name = str(stills[i % len(stills)].relative_to(ROOT / "vcr" / "vcr1images"))
            rows.append({
                "img_fn": name, "movie": name.split("/")[0], "metadata_fn": name[:-3] + "json",
                "place": "in a bare room", "event": f"1 walks towards thing {i}", "split": split,
                "intent": [f"take thing {i}", "leave the room"], "before": [f"see thing {i}", "stand up"],
                "after": [f"pick up thing {i}", "sit down"],
            })  # fmt: skip
        write(f"visual_comet/{split}_annots.json", rows)


def sentiment(name: str, file: str, values: list[float], said: list[str]) -> None:
    """MMSA's pickle: for each split equally long columns."""
    splits = {}
    for split in ("train", "valid", "test"):
        ids = [f"{split}{name}$_${i}" for i in range(len(values))]
        for i, key in enumerate(ids):
            frames(f"{name}/{split}", f"{name}/Raw/{key.replace('$_$', '/')}", count=1 if i else 2)
        n = len(values)
        splits[split] = {
            "raw_text": np.array(said), "audio": np.zeros((n, 2, 3), np.float32), "id": ids,
            "vision": np.zeros((n, 2, 4), np.float32), "text": np.zeros((n, 2, 5), np.float32),
            "text_bert": np.zeros((n, 3, 2), np.float32), "audio_lengths": [2] * n, "vision_lengths": [2] * n,
            "annotations": ["Positive" if v > 0 else "Negative" if v < 0 else "Neutral" for v in values],
            "classification_labels": np.sign(values), "regression_labels": np.array(values, np.float32),
        }  # fmt: skip
    target = ROOT / name / "Processed" / file
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(pickle.dumps(splits, protocol=4))


if __name__ == "__main__":
    for make in (nocaps, paragraphs, msrvtt, vist, visual_comet):
        make()
    WORDS = ["i liked it a lot", "it was a waste of time", "it is a film", "quite good"]
    sentiment("mosi", "unaligned_50.pkl", [2.4, -1.8, 0.0, 1.0], WORDS)
    sentiment("mosei", "unaligned_50.pkl", [2.4, -1.8, 0.0, 1.0], WORDS)
    sentiment(
        "ch_sims", "unaligned_39.pkl", [0.8, -0.6, 0.0, 0.2], ["我很喜欢", "真糟糕", "这是一部电影", "还不错"]
    )
