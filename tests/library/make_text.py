"""Writes the fixtures of captioning in the official formats:
`python tests/library/make_text.py`. Karpathy's splits: make_karpathy.py. Pictures are of the toybox,
sentences our own."""

from __future__ import annotations

import json
import pickle
from typing import Any

import av
import datasets
import numpy as np
from grounding_scenes import picture
from make_closed_hub import PICTURE, TEXT, parquet
from make_closed_hub import picture as stored
from make_language import ROOT, document
from PIL import Image

SAID = ["a red cube near a wall", "one cube and nothing else", "there is a red block in a room"]
INT32 = datasets.Value("int32")
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


def film(stream: str, path: str) -> None:
    """A clip of eight frames, 64 x 56."""
    target = ROOT / path
    target.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(target), "w") as container:
        video = container.add_stream("mpeg4", rate=4)
        video.width, video.height, video.pix_fmt = 64, 56, "yuv420p"
        for i in range(8):
            pixels = np.asarray(Image.fromarray(picture(stream, i // 4).pixels).resize((64, 56)))
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(video.encode())


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


def nocaps_hub() -> None:
    """The mirror has the columns of the JSON files but the domain; the test split has no captions."""
    kinds = {"image_coco_url": TEXT, "image_date_captured": TEXT, "image_file_name": TEXT,
             "image_height": INT32, "image_width": INT32, "image_id": INT32,
             "image_license": datasets.Value("int8"), "image_open_images_id": TEXT}  # fmt: skip
    features = {"image": PICTURE, **kinds, "annotations_ids": datasets.Sequence(INT32),
                "annotations_captions": datasets.Sequence(TEXT)}  # fmt: skip
    names = {"validation": "nocaps_val_4500_captions.json", "test": "nocaps_test_image_info.json"}
    for split, name in names.items():
        content = json.loads((ROOT / "nocaps" / name).read_text())
        rows = []
        for image in content["images"]:
            said = [a for a in content.get("annotations", ()) if a["image_id"] == image["id"]]
            rows.append({key: image[key.removeprefix("image_")] for key in kinds} | {
                "image": stored(f"nocaps/images/{image['file_name']}"),
                "annotations_ids": [a["id"] for a in said],
                "annotations_captions": [a["caption"] for a in said],
            })  # fmt: skip
        parquet(f"lmms-lab/NoCaps/data/{split}-00000-of-00001.parquet", rows, features)


def paragraphs() -> None:
    rows = []
    for i, split in enumerate(("train", "val", "test")):
        numbers = [2317001 + 10 * i + j for j in range(4)]
        for number in numbers:
            folder = "VG_100K" if number % 2 else "VG_100K_2"
            save("paragraphs", number % 100, f"stanford_paragraphs/{folder}/{number}.jpg")
            text = f"A room with a floor and a wall. {SAID[i]}. The light comes from above, number {number}."
            rows.append({"url": f"https://cs.stanford.edu/people/rak248/{folder}/{number}.jpg",
                         "image_id": number, "paragraph": text})  # fmt: skip
        write(f"stanford_paragraphs/{split}_split.json", numbers)
    rows.append(rows[0] | {"paragraph": "The same picture again. It is described by somebody else."})
    write("stanford_paragraphs/paragraphs_v1.json", rows)


def msrvtt() -> None:
    clips = {"train": range(4), "validate": range(4, 8), "test": range(8, 12)}
    for name, splits in (("train_val", ("train", "validate")), ("test", ("test",))):
        videos, sentences = [], []
        for split in splits:
            for n in clips[split]:
                folder = "TestVideo" if split == "test" else "TrainValVideo"
                film(f"msrvtt/{n}", f"msrvtt/{folder}/video{n}.mp4")
                videos.append({"category": 9, "url": "https://www.youtube.com/watch?v=x",
                               "video_id": f"video{n}",
                               "start time": 1.5, "end time": 9.5, "split": split, "id": n})  # fmt: skip
                sentences += [{"caption": f"{text} in clip {n}", "video_id": f"video{n}", "sen_id": 3 * n + j}
                              for j, text in enumerate(SAID)]  # fmt: skip
        info = {"contributor": "us", "data_created": "2016-04-14 14:30:20", "version": "1.0"}
        write(f"msrvtt/{name}_videodatainfo.json", {"info": info, "videos": videos, "sentences": sentences})


def msvd() -> None:
    """Lists of clips, and the words of what is said of each; names are YouTube's ids with start and end."""
    said = {}
    for s, split in enumerate(("train", "val", "test")):
        names = [f"-clip_{split}{i}_{i}_{i + 9}" for i in range(4)]
        for i, name in enumerate(names):
            film(f"msvd/{name}", f"msvd/YouTubeClips/{name}.avi")
            said[name] = [f"{text} in clip {10 * s + i}".split() for text in SAID]
        document(f"msvd/msvd_data/{split}_list.txt", "".join(f"{name}\n" for name in names))
    (ROOT / "msvd" / "msvd_data" / "raw-captions.pkl").write_bytes(pickle.dumps(said, protocol=2))


def vist() -> None:
    for s, split in enumerate(("train", "val", "test")):
        album = str(100 + s)
        photos = [f"{album}{i:02d}" for i in range(8)]
        for i, photo in enumerate(photos):
            save(f"vist/{split}", i, f"vist/images/{photo}.jpg")
        annotations = []
        # two stories of the same photographs, three of others
        for story, first in ((0, 0), (1, 0), (2, 1), (3, 2), (4, 3)):
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
                "place": "in a bare room", "event": f"1 walks towards thing {i}",
                "intent": [f"take thing {i}", "leave the room"], "before": [f"see thing {i}", "stand up"],
                "after": [f"pick up thing {i}", "sit down"],
            })  # fmt: skip
        write(f"visual_comet/{split}_annots.json", rows)


if __name__ == "__main__":
    for make in (nocaps, nocaps_hub, paragraphs, msrvtt, msvd, vist, visual_comet):
        make()
