import json
import sys
import types

import numpy as np
import pytest

from unified.errors import UserError
from unified.training.tracking import JsonLines, ProgressLine, check_trackers, open_trackers
from unified.values.types import Image

VALUES = {
    "loss": 1.25, "token_accuracy": 0.5, "lr": 1e-3, "seconds": 60.0, "tokens_per_second": 1234.5,
    "examples_per_second": 6.7, "data_wait": 0.03, "loss/a": 1.25, "token_accuracy/a": 0.5,
}  # fmt: skip


def steps(run):
    return [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_resumed_curve_has_every_step_once(tmp_path):
    tracker = JsonLines(tmp_path, {}, 0)
    for step in (1, 2, 3, 4):
        tracker.log(step, VALUES)
    tracker.file.write('{"step": 5, "lo')  # killed here
    tracker.close()
    resumed = JsonLines(tmp_path, {}, 2)
    resumed.log(3, VALUES)
    resumed.close()
    assert steps(tmp_path) == [1, 2, 3]
    JsonLines(tmp_path, {}, 0).close()
    assert steps(tmp_path) == []


def test_trackers_by_name(tmp_path):
    trackers = open_trackers(["jsonl", "tensorboard"], tmp_path, {}, 0)
    for tracker in trackers:
        tracker.log(1, VALUES)
        tracker.close()
    assert steps(tmp_path) == [1] and list((tmp_path / "tensorboard").iterdir())
    with pytest.raises(UserError, match=r"unknown tracker 'tensorbord' \(did you mean 'tensorboard'\?\)"):
        check_trackers(["tensorbord"])


def test_the_line_of_a_log_file(capsys):
    ProgressLine(["a"], live=False).show(1200, 0.25, VALUES)
    line = capsys.readouterr().out
    for part in ("step 1,200 (25%)", "loss 1.2500", "token accuracy 50.0%", "data wait 3%", "00:03:00 left"):
        assert part in line
    assert line.count("\n") == 1


def test_the_live_line_shows_every_task(capsys):
    line = ProgressLine(["a", "unseen"], live=True)
    line.show(1200, 0.25, VALUES)
    line.close()
    out = capsys.readouterr().out
    assert "step 1,200" in out and "loss 1.250" in out and "unseen" not in out


class Package(types.ModuleType):
    """A tracker's package that writes down what it is told."""

    def __init__(self, name):
        super().__init__(name)
        self.told = []

    def init(self, **given):
        self.told.append(("init", given["project"], given["name"], given["config"]))
        return self

    def log(self, values, step):
        self.told.append(("log", step, values))

    def finish(self):
        self.told.append(("finish",))

    def Image(self, pixels):
        return ("image", pixels.shape)


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_trackers_of_packages_that_one_installs(name, tmp_path, monkeypatch):
    package = Package(name)
    monkeypatch.setitem(sys.modules, name, package)
    check_trackers([name])
    (tracker,) = open_trackers([name], tmp_path / "run", {"seed": 1}, 0)
    tracker.log(3, {"loss": 1.0})
    tracker.show(3, {"a": Image(np.zeros((2, 4, 3), np.uint8))})
    tracker.close()
    assert package.told == [
        ("init", "unified", "run", {"seed": 1}),
        ("log", 3, {"loss": 1.0}),
        ("log", 3, {"samples/a": ("image", (2, 4, 3))}),
        ("finish",),
    ]
    monkeypatch.setitem(sys.modules, name, None)  # as if it were not there
    with pytest.raises(UserError, match=f"track: {name} is not installed; pip install {name}"):
        check_trackers(["jsonl", name])


def test_pictures_go_to_tensorboard(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for tracker in open_trackers(["jsonl", "tensorboard"], tmp_path, {}, 0):
        tracker.show(7, {"a": Image(np.full((2, 4, 3), 9, np.uint8))})
        tracker.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    (image,) = events.Images("samples/a")
    assert (image.step, image.width, image.height) == (7, 4, 2)
