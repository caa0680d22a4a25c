"""Two evaluations side by side: which is better, and how sure that is."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from unified.cli import main
from unified.errors import UserError
from unified.evaluation.compare import bootstrap, compare
from unified.evaluation.compare_page import write_comparison
from unified.evaluation.metrics import get_metric
from unified.evaluation.plain import from_plain, plain
from unified.evaluation.results import Results, TaskResult
from unified.values.types import Boxes, GroundedText, Keypoints, Label, Mask, Number, Points, Text, Texts


def evaluation(folder, tasks, split="validation"):
    """A results folder. tasks: {name: (metric, value, rows)}; a row is {key, reference, scores, ...}."""
    folder.mkdir(parents=True, exist_ok=True)
    results = Results({"split": split})
    with (folder / "predictions.jsonl").open("w") as file:
        for name, (metric, value, rows, *args) in tasks.items():
            results.tasks[name] = TaskResult(
                f"{name}@v1", "text", len(rows), 0, 0, 1.0, metric, {metric: value},
                headline_args=args[0] if args else {},
            )  # fmt: skip
            for row in rows:
                text = {"type": "text", "text": "x"}
                file.write(json.dumps({"task": name, "prediction": text, "reference": text, **row}) + "\n")
    results.save(folder)
    return folder


def scored(metric, scores, **more):
    rows = [{"key": f"{i:04}", "scores": {metric: s}, **more} for i, s in enumerate(scores)]
    known = [s for s in scores if s is not None]
    return metric, float(np.mean(known)), rows


def pair(tmp_path, first, second):
    return evaluation(tmp_path / "a", {"t": first}), evaluation(tmp_path / "b", {"t": second})


# ---------------------------------------------------------------------------------- the numbers


def test_interval_of_a_mean_is_that_of_its_theory(tmp_path):
    rng = np.random.default_rng(0)
    a = rng.normal(0.5, 1, 400)
    b = a + rng.normal(0.1, 0.5, 400)  # paired: what the rows have in common cancels
    (found,) = compare(*pair(tmp_path, scored("box_iou", a), scored("box_iou", b)), resamples=4000).tasks
    error = np.std(b - a) / math.sqrt(400)
    middle = np.mean(b - a)
    assert found.difference == pytest.approx(middle)
    assert found.interval == pytest.approx((middle - 1.96 * error, middle + 1.96 * error), abs=0.1 * error)
    assert found.verdict == "b" and found.n == 400


def test_less_is_better_where_the_metric_says_so(tmp_path):
    worse = compare(*pair(tmp_path, scored("mae", [1.0, 2.0, 3.0]), scored("mae", [2.0, 3.0, 4.0])))
    assert worse.tasks[0].verdict == "a" and worse.tasks[0].difference == 1.0
    assert "A better" in worse.table()


def test_unclear_equal_and_rows_without_a_score(tmp_path):
    a, b = scored("accuracy", [0.0, 1.0, 1.0, None]), scored("accuracy", [1.0, 1.0, 0.0, None])
    found = compare(*pair(tmp_path, a, b)).tasks[0]
    assert found.verdict == "unclear" and found.interval[0] < 0 < found.interval[1]
    assert compare(*pair(tmp_path, a, a)).tasks[0].verdict == "equal"


def test_the_seed_decides(tmp_path):
    rng = np.random.default_rng(1)
    folders = pair(tmp_path, scored("accuracy", rng.random(50)), scored("accuracy", rng.random(50)))
    first, again, other = (compare(*folders, resamples=50, seed=seed) for seed in (3, 3, 4))
    assert first == again and first.tasks[0].interval != other.tasks[0].interval


def test_a_metric_of_the_whole_set_is_computed_anew(tmp_path):
    """F1 of yes over resampled rows, as one would by hand."""
    rng = np.random.default_rng(2)
    words = np.array(["no", "yes"])
    truth, a, b = (words[rng.integers(0, 2, 60)] for _ in range(3))
    b = np.where(rng.random(60) < 0.6, truth, b)
    metric = get_metric("f1_binary")

    def value(given, rows):
        some = [[Text(str(words[i])) for i in rows] for words in (given, truth)]
        return metric(*some, positive="yes").value

    def rows(given):
        texts = [[{"type": "text", "text": str(w)} for w in words] for words in (given, truth)]
        return [
            {"key": f"{i:04}", "scores": {}, "prediction": p, "reference": r, "given": {"reference": r}}
            for i, (p, r) in enumerate(zip(*texts, strict=True))
        ]

    every = range(60)
    label, args = "f1_binary(positive=yes)", {"positive": "yes"}
    folders = pair(tmp_path, *((label, value(some, every), rows(some), args) for some in (a, b)))
    (found,) = compare(*folders, resamples=80, seed=5).tasks
    assert found.interval == bootstrap(lambda rows: value(b, rows) - value(a, rows), 60, 80, 5)
    assert found.note == "recomputed for each resample" and found.interval[0] > 0 and found.verdict == "b"


def test_where_there_is_no_interval_it_is_said(tmp_path):
    rows = [{"key": str(i), "scores": {}} for i in range(4)]
    folders = pair(tmp_path, ("miou", 0.4, rows), ("miou", 0.5, rows))
    found = compare(*folders)
    assert found.tasks[0].interval is None and found.tasks[0].verdict == "unknown"
    assert "no interval: miou is no mean over rows" in found.table() and "B ahead" in found.table()


@pytest.mark.parametrize("iou", [None, 0.5])
def test_ap_over_some_images_is_that_of_a_new_evaluation(iou):
    rng = np.random.default_rng(3)

    def boxes(n, near=None):
        xy = rng.uniform(0, 60, (n, 2)) if near is None else near + rng.uniform(-4, 4, near.shape)
        return xy

    references, predictions = [], []
    for _ in range(12):
        xy = boxes(3)
        names = tuple(rng.choice(["cat", "dog", "cow"], 3))
        references.append(Boxes(np.hstack([xy, xy + 20]), names))
        moved = boxes(3, xy)
        predictions.append(Boxes(np.hstack([moved, moved + 20]), names, rng.random(3)))
    metric, args = get_metric("coco_ap"), {} if iou is None else {"iou": iou}
    sample = metric.resample(predictions, references, {}, args)
    for _ in range(5):
        rows = rng.integers(0, 12, 12)
        anew = metric([predictions[i] for i in rows], [references[i] for i in rows], **args).value
        assert sample(rows) == pytest.approx(anew)


def test_values_come_back_from_plain_data():
    boxes = Boxes(np.array([[1.25, 2, 3, 4]]), ("a",), np.array([0.5]))
    figures = Keypoints(np.ones((1, 2, 2)), np.array([[1, 2]]), ("x", "y"), np.array([9.5]))
    values = [
        Text("a"), Texts(("a", "b")), Label("a"), Number(2.5), boxes, Boxes(np.zeros((0, 4))), figures,
        Points(np.array([[1.0, 2.0]])), GroundedText("a b", ((0, 1),), Boxes(np.array([[0.0, 1, 2, 3]]))),
    ]  # fmt: skip
    for value in values:
        data = json.loads(json.dumps(plain(value)))
        back = from_plain(data)
        assert type(back) is type(value) and plain(back) == data
    assert from_plain(plain(Mask(np.ones((2, 2), bool)))) is None


# ------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"split": "test"}, "was evaluated on split 'validation', .* on 'test'"),
        ({"name": "u"}, "no task in common: .* has t; .* has u"),
        ({"scores": [1.0, 0.0, 1.0]}, "t: not the same rows: 2 in .*, 3 in .*; only .*b has 0002"),
        ({"metric": "exact_match"}, "is scored by accuracy, .* by exact_match: the task has changed"),
        ({"reference": {"type": "text", "text": "y"}}, "the true answer of row 0000 is not the same in"),
    ],
)
def test_what_cannot_be_compared(tmp_path, other, message):
    a = evaluation(tmp_path / "a", {"t": scored("accuracy", [1.0, 0.0])})
    given = {"split": "validation", "name": "t", "scores": [1.0, 1.0], "metric": "accuracy", **other}
    more = {"reference": given["reference"]} if "reference" in given else {}
    tasks = {given["name"]: scored(given["metric"], given["scores"], **more)}
    b = evaluation(tmp_path / "b", tasks, given["split"])
    with pytest.raises(UserError, match=message):
        compare(a, b)


def test_folders_that_hold_no_evaluation(tmp_path):
    a = evaluation(tmp_path / "a", {"t": scored("accuracy", [1.0, 0.0])})
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has not been evaluated; run `unified eval"):
        compare(a, tmp_path / "empty")
    with pytest.raises(UserError, match="no such folder"):
        compare(a, tmp_path / "gone")
    (a / "predictions.jsonl").unlink()
    with pytest.raises(UserError, match="predictions.jsonl: no such file; run `unified eval` again"):
        compare(a, a)


# ---------------------------------------------------------------------------------- what is shown


def test_command(tmp_path, capsys):
    """A run folder means its newest evaluation; tasks of one side are told; JSON, page and table agree."""
    run = tmp_path / "runs" / "x"
    tasks = {"t_<b>": scored("accuracy", [0.0] * 8), "mine": scored("mae", [1.0, 2.0])}
    a = evaluation(run / "eval" / "validation", tasks)
    b = evaluation(
        tmp_path / "b", {"t_<b>": scored("accuracy", [1.0] * 8), "theirs": scored("mae", [1.0, 2.0])}
    )
    page = tmp_path / "page.html"
    assert main(["compare", str(run), str(b), "--html", str(page)]) == 0
    out = capsys.readouterr().out
    assert "+100.0 % to +100.0 %" in out and "B better" in out
    assert "mine: only in A" in out and "theirs: only in B" in out and f"wrote {page}" in out
    html = page.read_text()
    assert "+100.0 % to +100.0 %" in html and "t_<wbr>&lt;b&gt;" in html and "mine: only in A" in html
    assert "prefers-color-scheme: dark" in html and "<script" not in html and html.count("<svg") == 1
    assert main(["compare", str(a), str(b), "--json", "--resamples", "10"]) == 0
    data = json.loads(capsys.readouterr().out)
    (task,) = data["tasks"]
    assert (task["difference"], task["interval"], task["verdict"]) == (1.0, [1.0, 1.0], "b")
    assert data["resamples"] == 10 and data["alone"] == {"mine": "A", "theirs": "B"}


def test_better_points_to_the_right(tmp_path):
    for metric in ("accuracy", "mae"):
        low, high = scored(metric, [0.0, 0.1, 0.2]), scored(metric, [0.5, 0.6, 0.9])
        found = compare(*pair(tmp_path, *((low, high) if metric == "accuracy" else (high, low))))
        write_comparison(found, tmp_path / "page.html")
        html = (tmp_path / "page.html").read_text()
        assert 'class="interval better"' in html
        assert float(html.split('<circle cx="')[1].split('"')[0]) > 90
