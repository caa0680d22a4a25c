"""MATLAB files of both kinds: a row is one sample, with MATLAB's order of axes."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from source_helpers import task_of

from unified.errors import UserError
from unified.sources.base import RowSource
from unified.sources.fields import read_fields
from unified.sources.open import open_source

IMAGES = np.arange(4 * 6 * 3 * 5, dtype=np.uint8).reshape(4, 6, 3, 5)  # h, w, c, n as in MATLAB
DEPTHS = np.arange(1, 4 * 6 * 5 + 1, dtype=np.float32).reshape(4, 6, 5)
FIELDS: dict[str, Any] = {"image": "images", "depth": {"path": "depths"}, "scene": "scenes"}


def v5(path: Path, **variables: Any) -> None:
    scipy.io.savemat(path, variables)


def v73(path: Path, **variables: Any) -> None:
    """HDF5 as MATLAB writes it: axes in reverse, text as 16-bit numbers, cells as references."""
    with h5py.File(path, "w", userblock_size=512) as file:
        refs = file.create_group("#refs#")

        def put(group: h5py.Group, name: str, value: Any) -> h5py.Dataset | h5py.Group:
            if isinstance(value, str):
                made = group.create_dataset(name, data=np.array([[ord(c)] for c in value], dtype=np.uint16))
                made.attrs["MATLAB_class"] = np.bytes_("char")
            elif isinstance(value, list):  # a cell (n, 1)
                cells = [put(refs, f"c{len(refs)}", item).ref for item in value]
                made = group.create_dataset(name, (1, len(cells)), dtype=h5py.ref_dtype)
                made[0] = cells
                made.attrs["MATLAB_class"] = np.bytes_("cell")
            elif isinstance(value, dict):
                made = group.create_group(name)
                for key, item in value.items():
                    put(made, key, item)
            else:
                array = np.atleast_2d(value)
                made = group.create_dataset(name, data=array.T)
                made.attrs["MATLAB_class"] = np.bytes_("double")
            return made

        for name, value in variables.items():
            put(file, name, value)


def cell(items: list[Any]) -> Any:
    out = np.empty((len(items), 1), dtype=object)
    for i, item in enumerate(items):
        out[i, 0] = item
    return out


SCENES = ["kitchen", "office", "büro", "x", "bath room"]


@pytest.fixture(params=["v5", "v7.3"])
def labeled(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A small nyu_depth_v2_labeled.mat; the real one is of v7.3."""
    path = tmp_path / "labeled.mat"
    if request.param == "v5":
        v5(path, images=IMAGES, depths=DEPTHS, scenes=cell(SCENES), names=cell(["wall", "bed"]))
    else:
        v73(path, images=IMAGES, depths=DEPTHS, scenes=SCENES, names=["wall", "bed"])
    return path


def open_mat(folder: Path, source: dict[str, Any], fields: dict[str, Any]) -> tuple[RowSource, Any]:
    task = task_of(folder, {"type": "mat", "splits": {"train": "labeled.mat"}, **source}, **fields)
    rows = open_source(task, "train")
    assert isinstance(rows, RowSource)
    return rows, task


def test_samples(labeled: Path) -> None:
    rows, task = open_mat(labeled.parent, {"number": "n"}, FIELDS)
    assert len(rows) == 5
    for copy in (rows, pickle.loads(pickle.dumps(rows))):
        row = copy[2]
        assert set(row) == {"images", "depths", "scenes", "n"}, "other variables are not read"
        assert np.array_equal(row["images"], IMAGES[..., 2]) and np.array_equal(row["depths"], DEPTHS[..., 2])
        assert row["scenes"] == "büro" and row["n"] == 3
    values = read_fields(task, rows[4], rows)
    assert np.array_equal(values["image"].pixels, IMAGES[..., 4])  # type: ignore[union-attr]
    assert np.array_equal(values["depth"].metres, DEPTHS[..., 4])  # type: ignore[union-attr]
    with pytest.raises(IndexError):
        rows[5]


def test_split_by_a_list_of_numbers(labeled: Path) -> None:
    """splits.mat of NYUv2 (v5): trainNdxs and testNdxs count from 1."""
    v5(
        labeled.parent / "splits.mat",
        trainNdxs=np.array([[2], [5]], dtype=np.uint16),
        testNdxs=np.array([[1]]),
    )
    images = {"type": "mat", "splits": {"*": "labeled.mat"}, "number": "n"}
    source = {
        "splits": {"train": "splits.mat"}, "records": {"train": "trainNdxs"},
        "join": [{"on": {"value": "n"}, "source": images}],
    }  # fmt: skip
    rows, _ = open_mat(labeled.parent, source, FIELDS)
    assert [rows[i]["scenes"] for i in range(len(rows))] == ["office", "bath room"]
    assert np.array_equal(rows[1]["images"], IMAGES[..., 4])


def test_cells_and_structs_as_rows(tmp_path: Path) -> None:
    things = np.zeros((2, 1), dtype=[("WNID", object), ("ID", object), ("box", object)])
    things[0, 0], things[1, 0] = ("n1", 7, [[1, 2, 3, 4]]), ("n2", 8, [[]])
    v5(tmp_path / "labeled.mat", synsets=things, cells=cell(["a", np.array([1, 2])]))
    rows, _ = open_mat(tmp_path, {"records": "synsets"}, {"text": "WNID"})
    assert [(rows[i]["WNID"], rows[i]["ID"]) for i in range(2)] == [("n1", 7), ("n2", 8)]
    assert rows[0]["box"].tolist() == [1, 2, 3, 4] and rows.key(1) == "labeled.mat:synsets[1]"
    rows, _ = open_mat(tmp_path, {"records": "cells"}, {"text": "value"})
    assert rows[0] == {"value": "a"} and rows[1]["value"].tolist() == [1, 2]
    v73(tmp_path / "labeled.mat", synsets={"WNID": ["n1", "n2"], "ID": [7, 8]}, one={"x": 3, "y": ["p", "q"]})
    rows, _ = open_mat(tmp_path, {"records": "synsets"}, {"text": "WNID"})
    assert [rows[i] for i in range(len(rows))] == [{"WNID": "n1", "ID": 7}, {"WNID": "n2", "ID": 8}]
    rows, _ = open_mat(tmp_path, {"records": "one"}, {"text": "y"})
    assert len(rows) == 1 and rows[0] == {"x": 3, "y": ["p", "q"]}


def test_what_cannot_be_read(labeled: Path) -> None:
    with pytest.raises(UserError, match=r"no field reads a variable of .* \(it has: .*depths"):
        open_mat(labeled.parent, {}, {"text": "zzz"})
    with pytest.raises(UserError, match="source.records: no variable 'trainNdxs' in .*labeled.mat"):
        open_mat(labeled.parent, {"records": "trainNdxs"}, {"text": "value"})
    with pytest.raises(UserError, match=r"differ in samples \(last axis\): .*names 2"):
        open_mat(labeled.parent, {}, {**FIELDS, "text": "names"})
    labeled.write_bytes(b"no matlab file at all, but long enough to have a header" * 9)
    with pytest.raises(UserError, match="splits.train: .* cannot be read as a MATLAB file"):
        open_mat(labeled.parent, {}, FIELDS)
