"""Pages as a browser shows them: no error in the console, none wider than a phone, words to be read."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from browser import PHONE, overflow, watched
from PIL import Image

from unified.cli import main
from unified.data.dataset import MixtureDataset, open_tasks
from unified.data.loader import StepLoader
from unified.data.order import MixtureOrder
from unified.preview.batches import write_inspection
from unified.preview.processor import preview_processor
from unified.specs.load import LoadedMixture, MixtureTask, load_task
from unified.specs.schema import MixtureEntry, MixtureSpec

DESKTOP = {"width": 1280, "height": 900}
TASKS = ("toybox_vqa_count", "toybox_refer", "toybox_depth", "toybox_detect")


@pytest.fixture(scope="module")
def preview(tmp_path_factory):
    page = tmp_path_factory.mktemp("preview") / "page.html"
    main(["tasks", "preview", "toybox_detect", "-n", "3", "--html", str(page)])
    return page


@pytest.fixture(scope="module")
def inspect(tmp_path_factory):
    entries = [MixtureTask(load_task(name)) for name in TASKS]
    spec = MixtureSpec(mixture="m", tasks=[MixtureEntry(task=name) for name in TASKS])
    data = open_tasks(LoadedMixture(spec, Path("m"), entries), "train")
    order = MixtureOrder(0, [(name, 1000, 1 / len(TASKS)) for name in TASKS])
    processor = preview_processor("toy", None)
    loader = StepLoader(MixtureDataset(data, order, processor), batch_size=8, micro_batch=4, steps=1)
    return write_inspection(loader, 2, processor, tmp_path_factory.mktemp("inspect") / "inspect.html")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with an evaluation, curves and grids."""
    folder = tmp_path_factory.mktemp("runs") / "a_run_with_quite_a_long_name_indeed"
    folder.mkdir()
    out = folder / "eval" / "validation"
    assert main(["eval", "toy", "--tasks", ",".join(TASKS), "--limit", "4", "--out", str(out)]) == 0
    with (folder / "metrics.jsonl").open("w") as file:
        for step in range(10, 2000, 10):
            row = {"step": step, "loss": 50 / step, "lr": 1e-3, "loss/toybox_refer": 90 / step}
            file.write(json.dumps(row) + "\n")
    for step in (10, 20, 30):
        grid = folder / "samples" / f"step_{step:08d}" / "toybox_refer.png"
        grid.parent.mkdir(parents=True)
        Image.fromarray(np.full((300, 990, 3), step, np.uint8)).save(grid)
    return folder


@pytest.fixture(scope="module")
def report(run):
    assert main(["report", str(run)]) == 0
    return run / "report.html"


@pytest.fixture(scope="module")
def compare(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    shutil.copytree(run, folder / "other")
    assert main(["compare", str(run), str(folder / "other"), "--html", str(folder / "page.html")]) == 0
    return folder / "page.html"


CONTRAST = """() => {
  const rgb = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = c => c.slice(0, 3).map(v => linear(v / 255))
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const body = getComputedStyle(document.body);
  const [a, b] = [light(rgb(body.color)), light(rgb(body.backgroundColor))];
  return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), b];
}"""
"""Contrast of words and paper by WCAG's formula, and how light the paper is."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("name", ["preview", "inspect", "report", "compare"])
def test_page(browser, request, name, viewport, scheme):
    path = request.getfixturevalue(name)
    page = browser.new_page(viewport=viewport, color_scheme=scheme)
    with watched(page):
        page.goto(path.as_uri())
        assert page.locator("h1").is_visible() and page.locator("h2").count()
        assert overflow(page) == 0
        contrast, paper = page.evaluate(CONTRAST)
        assert contrast > 7 and (paper < 0.2) == (scheme == "dark")
        broken = page.evaluate("[...document.images].filter(image => !image.naturalWidth).length")
        assert page.locator("img").count() > 0 or name == "compare"
        assert broken == 0
    page.close()


def test_wide_tables_scroll_in_their_own_box(browser, report):
    page = browser.new_page(viewport=PHONE)
    page.goto(report.as_uri())
    strip = page.locator(".strip").first
    inner, outer = strip.evaluate("box => [box.scrollWidth, box.clientWidth]")
    assert inner > outer > 300
    page.close()


def test_the_watch_sees_errors_and_wide_pages(browser):
    page = browser.new_page(viewport=PHONE)
    with pytest.raises(AssertionError, match="too bad"), watched(page):
        page.set_content("<div style='width: 500px'>wide</div><script>console.error('too bad')</script>")
    assert overflow(page) >= 110
    with pytest.raises(AssertionError, match="thrown"), watched(page):
        page.set_content("<script>throw new Error('thrown')</script>")
    page.close()
