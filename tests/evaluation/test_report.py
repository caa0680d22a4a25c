"""The report page of a run, from its files."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import PIL.Image
import pytest

from unified.errors import UserError
from unified.evaluation.curves import Line, chart, sparkline
from unified.evaluation.report import write_report
from unified.evaluation.results import Results, TaskResult, shown

ABOUT = {
    "model": "runs/x", "split": "validation", "limit": 8, "seed": 0, "when": "2030-01-02",
    "parameters": 12345, "versions": {"torch": "2"}, "without_split": [],
}  # fmt: skip


def results(folder):
    picture = folder / "samples" / "a.png"
    picture.parent.mkdir(parents=True)
    PIL.Image.fromarray(np.full((8, 8, 3), 5, np.uint8)).save(picture)
    sample = {
        "key": "row 1", "prompt": "what <b>is</b> it ?", "reference": "cube", "prediction": "a & b",
        "score": 0.0, "worded": True, "inputs": ["samples/a.png"],
        "reference_image": None, "prediction_image": None,
    }  # fmt: skip
    worst = {**sample, "prompt": "the worst of all", "prediction": "cone", "score": 0.125}
    confused = {"labels": ["<cube>", "cone"], "counts": [[3, 1], [0, 4]]}
    task = TaskResult(
        "vqa@v1:abc", "text", 8, 1, 2, 0.5, "accuracy", {"accuracy": 0.5}, baseline={"accuracy": 0.25},
        baseline_answer='"cone"', ceiling={"accuracy": 1.0}, better_than_baseline=True, samples=[sample],
        worst=[worst], worst_by="accuracy", confusion=confused,
    )  # fmt: skip
    depth = TaskResult(
        "d@v1:d", "depth", 8, 0, 0, 0.5, "depth_rmse", {"depth_rmse": 0.7, "depth_delta1": None},
        baseline={"depth_rmse": 0.5, "depth_delta1": 0.1}, better_than_baseline=False,
    )  # fmt: skip
    return Results(dict(ABOUT), {"toy/vqa": task, "depth": depth})


@pytest.fixture
def run(tmp_path):
    with (tmp_path / "metrics.jsonl").open("w") as file:
        for step in range(10, 1000, 10):
            row = {"step": step, "loss": 5 / step, "lr": 1e-3, "tokens_per_second": 900.0, "loss/vqa<x>": 2.0}
            file.write(json.dumps(row) + "\n")
        file.write('{"step": 1000, "lo')  # cut short
    out = tmp_path / "eval" / "validation"
    results(out).save(out)
    (tmp_path / "model").mkdir()
    history = [{"command": f"train.py configs/{name}.yaml"} for name in ("first", "demo")]
    (tmp_path / "model" / "history.json").write_text(json.dumps(history))
    return tmp_path


class Page(HTMLParser):
    """Fails on tags that do not nest, and collects what the page would load."""

    VOID = ("meta", "img", "br", "link", "input", "line", "rect", "circle", "polyline")

    def __init__(self, html):
        super().__init__()
        self.open, self.loads, self.tags = [], [], set()
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.loads += [v for k, v in attrs if k in ("src", "href") and not v.startswith("#")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_report_is_one_file_that_loads_nothing(run):
    page = write_report(run).read_text()
    parsed = Page(page)
    assert "script" not in parsed.tags and parsed.loads
    assert all(source.startswith("data:image/png;base64,") for source in parsed.loads)
    assert "url(" not in page and "@import" not in page
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page


def test_report_says_what_the_files_say(run):
    page = write_report(run).read_text()
    text = re.sub(r"<[^>]+>", " ", page)
    for expected in (
        "1 of 2", "16", "990", "50.0 %", "25.0 %", "100.0 %", "0.700 m", "depth_rmse ↓", "not better",
        "the baseline always answers", "1 rows could not be used", "2 predictions were not whole answers",
        "train.py configs/first.yaml\ntrain.py configs/demo.yaml", "vqa@v1:abc", "torch 2",
        "12,345 parameters", "at most 8 rows", "Worst by accuracy",
        "the worst of all", "12.5 %", "&lt;cube&gt;",
    ):  # fmt: skip
        assert expected in text, expected
    assert page.count("<polyline") == 4  # loss, learning rate, tokens a second, one task's loss


def test_confusion_has_a_cell_for_every_pair(run):
    page = write_report(run).read_text()
    table = page[page.index('<table class="confusion') :]
    rows = re.findall(r"<tr>(.*?)</tr>", table[: table.index("</table>")])
    assert [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows[1:]] == [["3", "1"], ["·", "4"]]
    assert re.findall(r"--share: ([\d.]+)", table) == ["0.75", "0.25", "0.0", "1.0"]


def test_grids_over_training(run):
    for step in range(1, 31):
        folder = run / "samples" / f"step_{step:08d}"
        folder.mkdir(parents=True)
        PIL.Image.fromarray(np.full((4, 12, 3), step, np.uint8)).save(folder / "toybox_refer.png")
    page = write_report(run).read_text()
    shown = re.findall(r"<figcaption>step (\d+)", page)
    assert len(shown) == 6 and shown[0] == "1" and shown[-1] == "30"
    assert "The same examples over training" in page


def test_where_it_was_trained(run):
    history = [{"command": "train.py x", "versions": {"torch": "1.9"}, "machine": "Linux-5, 3 cores"}]
    (run / "model" / "history.json").write_text(json.dumps(history))
    text = re.sub(r"<[^>]+>", " ", write_report(run).read_text())
    assert "trained with: versions" in text and "torch 1.9" in text and "Linux-5, 3 cores" in text


def test_report_escapes_what_comes_from_data(run):
    page = write_report(run).read_text()
    assert "what &lt;b&gt;is&lt;/b&gt; it" in page and "a &amp; b" in page and "vqa&lt;x&gt;" in page
    assert "<b>is</b>" not in page


def test_newest_evaluation_and_a_results_folder_alone(run, tmp_path):
    newer = run / "eval" / "step_2"
    r = results(newer)
    r.tasks.pop("depth")
    r.save(newer)
    assert "1 of 1" in write_report(run).read_text()
    assert "1 of 1" in write_report(newer).read_text()


def test_training_alone(run, tmp_path):
    (run / "eval" / "validation" / "results.json").unlink()
    page = write_report(run).read_text()
    assert "not evaluated yet" in page and "Learning rate" in page and "<table" not in page


def test_nothing_to_report(tmp_path):
    with pytest.raises(UserError, match="nothing to report yet"):
        write_report(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        write_report(tmp_path / "absent")


def test_results_round_trip_and_table(tmp_path):
    r = results(tmp_path)
    r.save(tmp_path)
    assert Results.load(tmp_path) == r
    lines = r.table().splitlines()
    assert lines[1].split() == ["toy/vqa", "accuracy", "50.0", "%", "25.0", "%", "100.0", "%", "8", "better"]
    assert "not better" in lines[2] and "–" in lines[2]  # no ceiling
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(UserError, match="not a results file"):
        Results.load(tmp_path)
    with pytest.raises(UserError, match="run `unified eval` first"):
        Results.load(tmp_path / "absent")


def test_shown_understands_arguments():
    assert shown("bleu(n=1)", {"bleu(n=1)": 0.5}) == "50.0 %"
    assert shown("accuracy", None) == shown("accuracy", {"accuracy": None}) == "–"


# --------------------------------------------------------------------------------- charts


def points(svg):
    return [tuple(map(float, p.split(","))) for p in re.search(r'points="([^"]+)"', svg)[1].split()]


def test_a_falling_line_falls():
    svg = chart([Line("loss", [0, 1, 2], [4.0, 2.0, 1.0])], title="t", log=True)
    (x0, y0), (x1, y1), (x2, y2) = points(svg)
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.2)  # equal ratios are equal steps down
    assert y0 < y1 < y2  # SVG counts downwards


def test_long_and_broken_lines():
    values = [math.nan if i % 7 == 0 else float(i) for i in range(5000)]
    assert len(points(chart([Line("x", range(5000), values)], title="t"))) == 400
    assert chart([Line("x", [1], [math.nan])], title="t") == ""
    assert "<circle" in chart([Line("x", [1], [2.0])], title="t")
    assert "nan" not in chart([Line("x", [1, 2], [0.0, 0.0])], title="t", log=True)
    assert sparkline(Line("x", [], [])) == "" and len(points(sparkline(Line("x", [1, 2], [3, 3])))) == 2
