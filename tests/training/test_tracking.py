import json

import pytest

from unified.errors import UserError
from unified.training.tracking import JsonLines, ProgressLine, check_trackers, open_trackers

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
