"""Official COCO JSON: instances, captions, person keypoints."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt

from unified.errors import UserError
from unified.sources.base import Row, RowSource
from unified.sources.fields import input_paths
from unified.sources.jsonrows import PackedRows, load_document
from unified.sources.location import Place
from unified.specs.example import BadRow
from unified.specs.source_schema import CocoSource
from unified.values.types import Keypoints


class CocoRows(RowSource):
    """Rows as CocoSource states them: boxes xyxy in pixels, labels the names of categories, masks
    {size, counts | polygons}, keypoints a Keypoints value with the joint names of the categories.

    Left out: crowds, objects under `min_area`, figures without a labelled joint. An image that is
    listed without any annotation is a row for instances (nothing is there) but none for captions
    and keypoints (nobody wrote any); an image whose objects were all left out is none either.
    Masks, most of a file's size, are kept only where a field reads them. Of an `image_info_*` file (told
    by its name), which has no annotations, rows are {image, image_id, width, height}.
    """

    def __init__(self, place: Place, spec: CocoSource, split: str) -> None:
        key = f"splits.{split}"
        path = place.file(spec.splits[split].annotations, f"{key}.annotations")
        self.folder = place.folder(spec.splits[split].images, f"{key}.images")
        self.root = place.root
        self.spec = spec
        self.masks = any("mask" in field for field in input_paths(place.task.spec.fields))
        where = place.at(f"{key}.annotations")
        if spec.per == "class" and spec.kind != "instances":
            raise UserError(f"{place.at('per')}: `class` goes with kind: instances")
        document = load_document(path, where)
        self.test = path.name.startswith("image_info")
        wanted = ["images"] if self.test else ["images", "annotations"]
        wanted += ["categories"] if spec.kind != "captions" else []
        absent = [name for name in wanted if not isinstance(document, dict) or name not in document]
        if absent:
            raise UserError(f"{where}: {path} is not COCO {spec.kind}: no key {', '.join(map(repr, absent))}")
        try:
            self.classes = {c["id"]: c["name"] for c in document.get("categories", [])}
            joints = {tuple(c["keypoints"]) for c in document.get("categories", []) if c.get("keypoints")}
            groups = self._group(document)
        except (KeyError, TypeError) as error:
            raise UserError(f"{where}: {path} is not COCO {spec.kind}: an entry lacks {error}") from error
        if spec.kind == "keypoints" and len(joints) != 1:
            raise UserError(f"{where}: {path} names joints in {len(joints)} ways in its categories, not one")
        self.joints = joints.pop() if spec.kind == "keypoints" else ()
        if not groups:
            raise UserError(f"{where}: {path} holds no {spec.kind} (crowds and small objects are left out)")
        self.packed = PackedRows(groups, self.root, path.name)

    def _group(self, document: dict[str, Any]) -> list[dict[str, Any]]:
        """One {image, annotations, crowds} a row."""
        if self.test:
            return [{"image": {key: image[key] for key in _IMAGE}} for image in document["images"]]
        keys = [key for key in _ANNOTATION if key != "segmentation" or self.masks]
        kept: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        crowds: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        mentioned = set()
        for annotation in document["annotations"]:
            mentioned.add(annotation["image_id"])
            if self._keeps(annotation):
                slim = {key: annotation[key] for key in keys if key in annotation}
                kept[annotation["image_id"]].append(slim)
            elif annotation.get("iscrowd"):
                crowds[annotation["image_id"]].append(
                    {key: annotation[key] for key in ("bbox", "category_id")}
                )
        rows = []
        for image in document["images"]:
            annotations = kept.get(image["id"], [])
            image = {key: image[key] for key in _IMAGE}
            if self.spec.per == "annotation":
                rows += [{"image": image, "annotations": [a]} for a in annotations]
            elif self.spec.per == "class":
                for number in dict.fromkeys(a["category_id"] for a in annotations):
                    same = [a for a in annotations if a["category_id"] == number]
                    rows.append({"image": image, "annotations": same})
            elif annotations or (self.spec.kind == "instances" and image["id"] not in mentioned):
                rows.append(
                    {"image": image, "annotations": annotations, "crowds": crowds.get(image["id"], [])}
                )
        return rows

    def _keeps(self, annotation: dict[str, Any]) -> bool:
        if self.spec.kind == "captions":
            return True
        if annotation.get("iscrowd") or annotation.get("area", 0.0) < self.spec.min_area:
            return False
        return self.spec.kind == "instances" or any(annotation["keypoints"][2::3])

    def __len__(self) -> int:
        return len(self.packed)

    def key(self, index: int) -> str:
        row = self.packed[index]
        name = f"{self.packed.name}:image {row['image']['id']}"
        if self.test:
            return name
        if self.spec.per == "class":
            return f"{name}, {self.classes[row['annotations'][0]['category_id']]}"
        return f"{name}, annotation {row['annotations'][0]['id']}" if self.spec.per == "annotation" else name

    def __getitem__(self, index: int) -> Row:
        packed = self.packed[index]
        image, found = packed["image"], packed.get("annotations", [])
        try:
            row: Row = {
                "image": str(self.folder / image["file_name"]),
                "image_id": image["id"],
                "width": image["width"],
                "height": image["height"],
            }
            if self.test:
                return row
            if self.spec.kind == "captions":
                plural = {"captions": [a["caption"] for a in found]}
            else:
                plural = self._objects(found, image)
            crowds = packed.get("crowds", [])
            crowd = {
                "crowd_boxes": _boxes(crowds),
                "crowd_labels": [self.classes[a["category_id"]] for a in crowds],
            }
        except (KeyError, TypeError, ValueError) as error:
            raise BadRow(f"not a COCO annotation: {type(error).__name__}: {error}") from error
        if self.spec.per == "image":
            return row | plural | (crowd if self.spec.kind == "instances" else {})
        if self.spec.per == "class":
            return row | plural | {"label": plural["labels"][0]}
        for name, values in plural.items():
            row[_SINGULAR[name]] = values if isinstance(values, Keypoints) else values[0]
        return row

    def _objects(self, found: list[dict[str, Any]], image: dict[str, Any]) -> dict[str, Any]:
        areas = [float(a["area"]) for a in found]
        objects: dict[str, Any] = {
            "boxes": _boxes(found),
            "labels": [self.classes[a["category_id"]] for a in found],
            "areas": areas,
        }
        if self.masks:
            objects["masks"] = [_mask(a.get("segmentation"), image) for a in found]
        if self.spec.kind == "keypoints":
            triples = np.asarray([a["keypoints"] for a in found], dtype=np.float64)
            triples = triples.reshape(-1, len(self.joints), 3)
            visibility = triples[..., 2].astype(np.int64)
            objects["keypoints"] = Keypoints(
                np.ascontiguousarray(triples[..., :2]), visibility, self.joints, np.asarray(areas)
            )
        return objects


_IMAGE = ("id", "file_name", "width", "height")
_ANNOTATION = ("id", "bbox", "area", "category_id", "segmentation", "keypoints", "caption")
"""What is kept of the file's entries."""
_SINGULAR = {
    "boxes": "box", "labels": "label", "areas": "area", "masks": "mask", "keypoints": "keypoints",
    "captions": "caption",
}  # fmt: skip


def _boxes(found: list[dict[str, Any]]) -> npt.NDArray[np.float64]:
    boxes = np.asarray([a["bbox"] for a in found], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _mask(segmentation: Any, image: dict[str, Any]) -> dict[str, Any] | None:
    if not segmentation:
        return None
    size = [image["height"], image["width"]]
    if isinstance(segmentation, dict):
        return {"size": segmentation.get("size", size), "counts": segmentation["counts"]}
    return {"size": size, "polygons": segmentation}
