"""Rows that cannot be read, and data that goes away while it is read."""

import json

import numpy as np
import pytest
from jobs import TRAIN, curve, finish, run, run_until, write_config
from PIL import Image

from unified.training.checkpoints import complete

ROWS, BAD = 400, (7, 130, 131, 399)
TASK = """
task: shade
source: {type: jsonl, splits: {train: rows.jsonl}}
fields: {image: file, answer: shade}
input: {images: [image], prompt: ["How bright is it ?"]}
target: {template: "{{ answer }}"}
"""


def write_data(folder, bad=BAD):
    (folder / "shade.yaml").write_text(TASK)
    (folder / "images").mkdir()
    with (folder / "rows.jsonl").open("w") as rows:
        for i in range(ROWS):
            file, shade = folder / f"images/{i}.png", i % 200
            Image.fromarray(np.full((32, 32, 3), shade, np.uint8)).save(file)
            if i in bad:
                file.write_bytes(file.read_bytes()[:40])
            rows.write(
                json.dumps({"file": f"images/{i}.png", "shade": "dark" if shade < 100 else "light"}) + "\n"
            )
    # 110 steps of 8 examples: more than two epochs
    optim = {"lr": 0.003, "steps": 110, "schedule": "constant"}
    return write_config(folder, tasks=["shade.yaml"], optim=optim, checkpoint={"every_steps": 20})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run over data of which 1 % cannot be read: folder and output."""
    folder = write_data(tmp_path_factory.mktemp("bad"))
    (code, out, err), (other, *_) = run(2, TRAIN, "x.yaml", cwd=folder)
    assert code == other == 0, err[-3000:]
    return folder, out


def test_one_in_a_hundred_is_skipped_written_down_and_counted(whole):
    folder, out = whole
    lines = [json.loads(line) for line in (folder / "runs/x/skipped.jsonl").read_text().splitlines()]
    assert {line["row"] for line in lines} == set(BAD)
    assert all(line["task"] == "shade" and "unreadable image" in line["reason"] for line in lines)
    assert "shade: 4 of 400 rows could not be used; they stand in runs/x/skipped.jsonl" in out
    assert len(curve(folder / "runs/x")) == 110


def test_more_end_the_run(tmp_path):
    """Five, of which each rank alone meets too few."""
    folder = write_data(tmp_path, (*BAD, 200))
    results = run(2, TRAIN, "x.yaml", cwd=folder)
    errors = "".join(err for *_, err in results)
    assert [code for code, *_ in results] == [2, 2], errors[-3000:]
    assert "shade: 5 of 400 rows could not be used, more than 1%" in errors and "Traceback" not in errors
    assert "the same command continues" in errors


def test_pictures_that_go_away_end_the_run_and_lose_nothing(tmp_path, whole):
    folder = write_data(tmp_path)
    processes = run_until(25, 2, cwd=folder)
    (folder / "images").rename(folder / "away")
    results = finish(processes, timeout=120)
    errors = "".join(err for *_, err in results)
    assert [code for code, *_ in results] == [2, 2], errors[-3000:]
    assert "error: " in errors and "images" in errors and "Traceback" not in errors, errors[-3000:]
    newest = complete(folder / "runs/x")[-1]

    (folder / "away").rename(folder / "images")
    (folder / "runs/x/skipped.jsonl").unlink(missing_ok=True)
    (code, out, err), _ = run(2, TRAIN, "x.yaml", cwd=folder)
    assert code == 0 and f"continues runs/x/checkpoints/{newest.name}" in out, err[-2000:]
    assert curve(folder / "runs/x") == curve(whole[0] / "runs/x")


def test_rows_that_go_away_change_nothing(tmp_path, whole):
    """The file is open, so it stays readable under whatever name, or none."""
    folder = write_data(tmp_path)
    processes = run_until(25, 2, cwd=folder)
    (folder / "rows.jsonl").unlink()
    results = finish(processes, timeout=120)
    assert [code for code, *_ in results] == [0, 0], results
    assert curve(folder / "runs/x") == curve(whole[0] / "runs/x")
