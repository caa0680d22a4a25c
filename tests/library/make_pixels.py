"""Writes the fixtures of NYU Depth v2 and its normals, COCO 2014 captions, MagicBrush and InstructPix2Pix in
the official formats: `python tests/library/make_pixels.py`. Pictures are of the toybox."""

from __future__ import annotations

import io
import json

import datasets
import h5py
import numpy as np
from make_closed_hub import PICTURE, TEXT, parquet
from make_language import ROOT, document
from PIL import Image
from scipy.io import savemat

from unified.sources.toybox.source import ToyboxRows
from unified.specs.source_schema import ToyboxSource

WIDTH, HEIGHT = 64, 48


def toybox(kind: str) -> ToyboxRows:
    return ToyboxRows(ToyboxSource(type="toybox", kind=kind), "validation")


def nyu_depth() -> None:
    """HDF5 holds MATLAB's axes in reverse: (n, 3, w, h) and (n, w, h). 0 in rawDepths is not measured."""
    rows, source = [], toybox("depth")
    for i in range(8):
        row = source[i]
        rows.append((np.asarray(row["image"])[:HEIGHT, :WIDTH], np.asarray(row["depth"])[:HEIGHT, :WIDTH]))
    folder = ROOT / "nyu_depth_v2"
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "nyu_depth_v2_labeled.mat", "w", track_order=True) as file:
        pictures = np.stack([image.transpose(2, 1, 0) for image, _ in rows])
        depths = np.stack([depth.T for _, depth in rows]).astype(np.float32)
        measured = depths.copy()
        measured[:, 20:40, 10:20] = 0
        for name, values in (("images", pictures), ("depths", depths), ("rawDepths", measured)):
            file.create_dataset(name, data=values, compression="gzip", track_times=False)
    savemat(folder / "splits.mat", {"trainNdxs": np.array([[2], [5], [7], [8]], np.uint16),
                                    "testNdxs": np.array([[1], [3], [4], [6]], np.uint16)})  # fmt: skip


def nyu_normals() -> None:
    """As released for DSINE: colours of vectors that point into the surface; a black corner has none."""
    source = toybox("normals")
    for i in range(8):
        row = source[i]
        vectors = -np.asarray(row["normals"])[:HEIGHT, :WIDTH]
        colours = np.round((vectors + 1) * 127.5).astype(np.uint8)
        colours[:4, :6] = 0
        folder = ROOT / "dsine_eval" / "nyuv2" / ("train" if i < 4 else "test")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(row["image"])[:HEIGHT, :WIDTH]).save(folder / f"{i:06d}_img.png")
        Image.fromarray(colours).save(folder / f"{i:06d}_normal.png")


def coco_captions() -> None:
    """Of the first pictures in dataset_coco.json, and two of the sentences said of each."""
    karpathy = json.loads((ROOT / "coco" / "dataset_coco.json").read_text())["images"][:8]
    for split in ("train2014", "val2014"):
        images, annotations = [], []
        for image in (i for i in karpathy if i["filepath"] == split):
            with Image.open(ROOT / "coco" / split / image["filename"]) as picture:
                width, height = picture.size
            images.append({"license": 1, "file_name": image["filename"], "height": height, "width": width,
                           "id": image["cocoid"], "date_captured": "2013-11-14 16:28:13"})  # fmt: skip
            annotations += [{"image_id": image["cocoid"], "id": s["sentid"], "caption": s["raw"]}
                            for s in image["sentences"][:2]]  # fmt: skip
        content = {"info": {"year": 2014}, "images": images, "licenses": [], "annotations": annotations}
        document(f"coco/annotations/captions_{split}.json", json.dumps(content))


def stored(pixels: object) -> dict:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels)).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def edits() -> None:
    source = toybox("edit")
    brush, pix2pix = [], []
    for i in range(4):
        row = source[i]
        before, after, told = stored(row["image"]), stored(row["target_image"]), row["instruction"]
        brush.append({"img_id": str(100 + i // 2), "turn_index": 1 + i % 2, "source_img": before,
                      "mask_img": before, "instruction": told, "target_img": after})  # fmt: skip
        pix2pix.append({"original_prompt": "a room", "original_image": before, "edit_prompt": told,
                        "edited_prompt": "a changed room", "edited_image": after})  # fmt: skip
    features = {"img_id": TEXT, "turn_index": datasets.Value("int32"), "source_img": PICTURE,
                "mask_img": PICTURE, "instruction": TEXT, "target_img": PICTURE}  # fmt: skip
    for split in ("train", "dev"):
        parquet(f"osunlp/MagicBrush/data/{split}-00000-of-00001.parquet", brush, features)
    features = {"original_prompt": TEXT, "original_image": PICTURE, "edit_prompt": TEXT,
                "edited_prompt": TEXT, "edited_image": PICTURE}  # fmt: skip
    path = "timbrooks/instructpix2pix-clip-filtered/data/train-00000-of-00001.parquet"
    parquet(path, pix2pix, features)


def magicbrush_test() -> None:
    """Two sessions of two turns; the second starts from the result of the first."""
    source, sessions = toybox("edit"), {}
    for i, session in enumerate(("30", "139")):
        row = source[i]
        before, after = (np.asarray(row[key]) for key in ("image", "target_image"))
        changed = np.any(before != after, axis=2)
        pictures = {"input": before, "mask1": np.where(changed, 0, 255).astype(np.uint8), "output1": after,
                    "mask2": np.zeros_like(before), "output2": after[:, ::-1]}  # fmt: skip
        folder = ROOT / "magicbrush" / "test" / "images" / session
        folder.mkdir(parents=True, exist_ok=True)
        for name, pixels in pictures.items():
            Image.fromarray(np.ascontiguousarray(pixels)).save(folder / f"{session}-{name}.png")
        said = {1: ("input", row["instruction"]), 2: ("output1", "swap left and right")}
        sessions[session] = [
            {"input": f"{session}-{start}.png", "mask": f"{session}-mask{turn}.png",
             "output": f"{session}-output{turn}.png", "instruction": told}
            for turn, (start, told) in said.items()
        ]  # fmt: skip
    document("magicbrush/test/edit_sessions.json", json.dumps(sessions, indent=1))


if __name__ == "__main__":
    nyu_depth()
    nyu_normals()
    coco_captions()
    edits()
    magicbrush_test()
