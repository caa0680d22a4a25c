"""`train.py --inspect N`: the next micro-batches as training gets them, and nothing trained."""

import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import torch

import train
from unified.data.dataset import MixtureDataset, open_tasks
from unified.data.loader import StepLoader
from unified.data.order import MixtureOrder
from unified.data.packing import lengths
from unified.errors import UserError
from unified.preview.batches import decoder_rows, encoder_rows, fill, write_inspection
from unified.preview.processor import preview_processor
from unified.specs.load import LoadedMixture, MixtureTask, load_task, to_yaml
from unified.specs.schema import MixtureEntry, MixtureSpec
from unified.training import launch

TASKS = ("toybox_vqa_count", "toybox_detect", "toybox_depth", "toybox_frames_statement", "toybox_paraphrase")
SHAPE = {
    "d_model": 16, "num_heads": 2, "head_dim": 8, "encoder_layers": 1, "decoder_layers": 1, "d_ff": 32,
    "max_images": 3,
}  # fmt: skip
RUN = {
    "run": "runs/x", "tokenizer": "toy", "model": {"size": "toy", "overrides": SHAPE}, "tasks": list(TASKS),
    "data": {"batch_size": 8, "micro_batch": 4, "workers": 0}, "optim": {"lr": 1e-3, "steps": 3},
    "track": ["jsonl"],
}  # fmt: skip
PACKED = "data.packing={encoder: 400, decoder: 160}"


@pytest.fixture(scope="module")
def dataset():
    tasks = [load_task(name) for name in TASKS]
    spec = MixtureSpec(mixture="m", tasks=[MixtureEntry(task=task.name) for task in tasks])
    data = open_tasks(LoadedMixture(spec, Path("m"), [MixtureTask(task) for task in tasks]), "train")
    order = MixtureOrder(0, [(t.task.name, len(t.source), 1 / len(tasks)) for t in data])
    return MixtureDataset(data, order, preview_processor("toy", None), patches=40)


def loader(dataset, packing=None, **changes):
    how = {"batch_size": 16, "micro_batch": 8, "steps": 2, "length_power": 0.5, "packing": packing}
    return StepLoader(dataset, **{**how, **changes})


@pytest.mark.parametrize("packing", [None, (400, 160)], ids=["padded", "packed"])
def test_every_position_is_told(dataset, packing):
    stepped = loader(dataset, packing)
    for step, batches, _ in stepped:
        for micro, batch in enumerate(batches):
            cells = (dataset.processor.image_size // dataset.processor.patch_size) ** 2
            sides = encoder_rows(batch, cells), decoder_rows(batch)
            runs = [run for rows in sides for row in rows for run in row]
            assert sum(run.length for run in runs) == batch.n_places
            assert sum(run.length for run in runs if run.example is not None) == batch.n_tokens
            assert all(run.length > 0 and (run.example is None) == (run.kind == "padding") for run in runs)
            encoded = [dataset[i][0] for i in stepped.items.samples(step, micro)]
            for side, rows in enumerate(sides):
                assert len({sum(run.length for run in row) for row in rows}) == 1, "rows are equally long"
                placed = Counter()
                for row in rows:
                    for run in row:
                        placed[run.example] += run.length
                assert [placed[i] for i in range(len(encoded))] == [lengths(e)[side] for e in encoded]
                assert 0 < fill(rows) <= 1


@pytest.mark.parametrize("packing", [None, (400, 160)], ids=["padded", "packed"])
def test_page_of_batches(dataset, packing, tmp_path, read_page):
    path = write_inspection(loader(dataset, packing), 3, dataset.processor, tmp_path / "inspect.html")
    page = read_page(path)
    assert re.findall(r"<h2>(.*?)</h2>", page.html) == [
        "Step 0, micro-batch 0", "Step 0, micro-batch 1", "Step 1, micro-batch 0"
    ]  # fmt: skip
    assert page.html.count('<article class="example"') == 24
    assert all(name in page.text for name in TASKS)
    assert ("packed, at most 400 + 160 positions a row" if packing else "one example a row") in page.text
    shares = [float(s) for s in re.findall(r"; ([\d.e-]+) % of the loss", page.text)]
    assert len(shares) == 24 and sum(shares) == pytest.approx(300, abs=3)
    assert page.html.count("<figcaption>input 3</figcaption>") == page.text.count("toybox_frames_statement")
    assert "<figcaption>answer</figcaption>" in page.html


def test_ranks_are_named_and_an_end_is_said(dataset, tmp_path):
    path = tmp_path / "inspect.html"
    write_inspection(loader(dataset, micro_batch=4, rank=1, world=2), 9, dataset.processor, path)
    page = path.read_text()
    assert "rank 1 of 2; " in page and page.count("<h2>Step") == 4, "two steps of two"
    with pytest.raises(UserError, match="no steps left"):
        write_inspection(loader(dataset, start_step=2), 1, dataset.processor, path)
    with pytest.raises(UserError, match="at least one micro-batch"):
        write_inspection(loader(dataset), 0, dataset.processor, path)


@pytest.fixture
def inspect(tmp_path, monkeypatch, capsys):
    """Runs train.py in this process; its exit code and output."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text(to_yaml(RUN))
    environment = dict(os.environ)
    monkeypatch.setattr(launch, "start", lambda: launch.Ranks(0, 1, 0, torch.device("cpu"), None))

    def inspect(*arguments):
        code = train.main(["x.yaml", *arguments])
        said = capsys.readouterr()
        return code, said.out + said.err

    yield inspect
    os.environ.clear()
    os.environ.update(environment)


@pytest.mark.parametrize("changes", [[], [PACKED]], ids=["padded", "packed"])
def test_nothing_is_trained(inspect, read_page, changes):
    run = Path("runs/x")
    run.mkdir(parents=True)
    (run / "skipped.jsonl").write_text("{}\n")
    code, said = inspect(*changes, "--inspect", "3")
    assert code == 0 and said.splitlines()[-1].endswith("runs/x/inspect.html")
    assert sorted(p.name for p in run.rglob("*")) == ["inspect.html", "skipped.jsonl"]
    assert read_page(run / "inspect.html").text.count("Step 1, micro-batch 0") == 1


def test_inspect_refuses(inspect):
    code, said = inspect("--inspect", "0")
    assert code == 2 and "--inspect 0: at least one micro-batch is wanted" in said
    with pytest.raises(SystemExit) as stopped:
        inspect("--inspect", "1", "--dry-run")
    assert stopped.value.code == 2


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian's package: chromium)")
@pytest.mark.parametrize("width", [500, 1100])
def test_pages_in_a_browser(dataset, tmp_path, width):
    """Every picture is shown, nothing is said on the console, and a phone needs no sideways scrolling."""
    from unified.cli import main

    main(["tasks", "preview", "toybox_depth", "-n", "2", "--html", str(tmp_path / "preview.html")])
    write_inspection(loader(dataset, (400, 160)), 1, dataset.processor, tmp_path / "inspect.html")
    measure = (
        "<script>addEventListener('load', () => { const root = document.documentElement; "
        "root.dataset.over = root.scrollWidth - innerWidth; "
        "root.dataset.broken = [...document.images].filter(i => !i.naturalWidth).length; })</script>"
    )
    for name in ("preview", "inspect"):
        page = tmp_path / f"{name}.html"
        page.write_text(page.read_text().replace("</main>", f"</main>{measure}"))
        done = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr",
             f"--window-size={width},900", "--dump-dom", page.as_uri()],
            capture_output=True, text=True, timeout=180,
        )  # fmt: skip
        root = re.search(r"<html[^>]*>", done.stdout)
        assert root, done.stderr[-2000:]
        assert 'data-broken="0"' in root[0], root[0]
        assert int(re.search(r'data-over="(-?\d+)"', root[0])[1]) <= 0, root[0]
        assert "CONSOLE" not in done.stderr, done.stderr[-2000:]
