"""A folder for each class."""

from __future__ import annotations

import os

from unified.errors import UserError
from unified.sources.base import Row, RowSource
from unified.sources.images import IMAGE_SUFFIXES
from unified.sources.location import Place
from unified.specs.source_schema import ImageFolderSource


class ImageFolderRows(RowSource):
    """`<folder>/<class>/**/<image>` in sorted order. Rows: {image: path, label: class}."""

    def __init__(self, place: Place, spec: ImageFolderSource, split: str) -> None:
        self.root = place.root
        key = f"splits.{split}"
        self.folder = place.folder(spec.splits[split], key)
        self.files: list[str] = []
        """Paths inside the folder; the first part is the class."""
        for entry in sorted(os.scandir(self.folder), key=lambda entry: entry.name):
            if entry.is_dir() and not entry.name.startswith("."):
                self.files += _images(entry.path, entry.name)
        if not self.files:
            loose = any(name.lower().endswith(IMAGE_SUFFIXES) for name in os.listdir(self.folder))
            mend = (
                "its images lie outside class folders; use `type: files` for images without classes"
                if loose
                else f"expected <class>/<image> with {', '.join(IMAGE_SUFFIXES)}"
            )
            raise UserError(f"{place.at(key)}: no images in {self.folder}: {mend}")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        file = self.files[index]
        return {"image": os.path.join(self.folder, file), "label": file.partition(os.sep)[0]}

    def key(self, index: int) -> str:
        return self.files[index]


def _images(folder: str, name: str) -> list[str]:
    found = []
    for parent, folders, files in os.walk(folder):
        folders.sort()
        inside = os.path.normpath(os.path.join(name, os.path.relpath(parent, folder)))
        images = [file for file in sorted(files) if file.lower().endswith(IMAGE_SUFFIXES)]
        found += [os.path.join(inside, file) for file in images]
    return found
