"""unified/sources/imagefolder.py and files.py"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from source_helpers import save_image, task_of

from unified.errors import UserError
from unified.sources.base import RowSource
from unified.sources.fields import read_fields
from unified.sources.files import wildcards
from unified.sources.open import open_source
from unified.specs.example import BadRow


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    for name in ("dog/b.jpg", "dog/a.PNG", "cat/deep/er/c.jpg", "cat/notes.txt", "dog/.x/d.jpg", "loose.jpg"):
        path = tmp_path / "train" / name
        save_image(path) if path.suffix != ".txt" else path.write_text("")
    (tmp_path / "train" / "empty").mkdir()
    task = task_of(tmp_path, {"type": "imagefolder", "splits": {"train": "train"}}, image={}, label={})
    rows = open_source(task, "train")
    assert isinstance(rows, RowSource)
    keys = [rows.key(i) for i in range(len(rows))]
    assert keys[:2] == ["cat/deep/er/c.jpg", "dog/a.PNG"] and "dog/b.jpg" in keys
    values = read_fields(task, rows[1], rows)
    assert values["label"].name == "dog" and values["image"].size == (6, 4)
    with pytest.raises(IndexError):
        rows[len(rows)]


def test_folders_without_classes(tmp_path: Path) -> None:
    task = task_of(tmp_path, {"type": "imagefolder", "splits": {"train": "train"}}, image={})
    with pytest.raises(
        UserError, match=f"source.splits.train: no such folder: {tmp_path}/train; correct the path"
    ):
        open_source(task, "train")
    (tmp_path / "train" / "cat").mkdir(parents=True)
    with pytest.raises(UserError, match="no images in .*/train: expected <class>/<image> with .jpg"):
        open_source(task, "train")
    save_image(tmp_path / "train" / "a.jpg")
    with pytest.raises(UserError, match="its images lie outside class folders; use `type: files`"):
        open_source(task, "train")


def test_files_and_their_siblings(tmp_path: Path) -> None:
    for number in (2, 1):
        save_image(tmp_path / "data" / "room" / f"image_{number}.png")
        depth = np.full((4, 6), number * 1000, np.uint16)
        PIL.Image.fromarray(depth).save(tmp_path / "data" / "room" / f"depth_{number}.png")
    (tmp_path / "data" / "room" / "depth_2.png").unlink()
    task = task_of(
        tmp_path,
        {"type": "files", "root": "data", "splits": {"train": "**/image_?.png"}},
        image="path",
        depth={"path": "{folder}/depth_{match[1]}.png", "unit_scale": 0.001},
        name="{stem} of {folder} is {name}",
    )
    rows = open_source(task, "train")
    assert isinstance(rows, RowSource) and len(rows) == 2 and rows.key(0) == "room/image_1.png"
    assert rows[0] == {
        "path": "room/image_1.png", "stem": "image_1", "name": "image_1.png", "folder": "room",
        "match": ["room", "1"],
    }  # fmt: skip
    values = read_fields(task, rows[0], rows)
    assert values["depth"].metres[0, 0] == 1.0 and values["name"].text == "image_1 of room is image_1.png"
    with pytest.raises(BadRow, match=f"field 'depth': no such file: {tmp_path}/data/room/depth_2.png"):
        read_fields(task, rows[1], rows)
    with pytest.raises(IndexError):
        rows[2]


def test_files_outside_the_root_and_in_it(tmp_path: Path) -> None:
    save_image(tmp_path / "other" / "a.png")
    save_image(tmp_path / "data" / "b.png")
    patterns = [str(tmp_path / "other" / "*.png"), "b.png"]
    task = task_of(tmp_path, {"type": "files", "root": "data", "splits": {"train": patterns}}, image="path")
    rows = open_source(task, "train")
    assert isinstance(rows, RowSource)
    assert rows[0]["path"] == str(tmp_path / "other" / "a.png") and rows[1]["folder"] == "."
    assert all(read_fields(task, rows[i], rows) for i in range(2))


@pytest.mark.parametrize(
    ("pattern", "text", "groups"),
    [
        ("a/*.jpg", "a/x.jpg", ("x",)),
        ("a/*.jpg", "a/x/y.jpg", None),
        ("**/*_l.png", "p/q/7_l.png", ("p/q", "7")),
        ("**/*_l.png", "7_l.png", (None, "7")),
        ("[0-9][0-9].jpg", "42.jpg", ("4", "2")),
        ("[!0-9].jpg", "4.jpg", None),
        ("???-?.txt", "abc-d.txt", ("abc", "d")),
        ("a+(b).t", "a+(b).t", ()),
    ],
)
def test_wildcards(pattern: str, text: str, groups: tuple[str, ...] | None) -> None:
    match = wildcards(pattern).fullmatch(text)
    assert (match.groups() if match else None) == groups
