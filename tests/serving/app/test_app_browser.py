"""The page in a browser."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from browser import PHONE, overflow, watched
from conftest import LIMITS
from PIL import Image

from unified.serving.app.page import Page, Settings

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "white")


@pytest.fixture(scope="module")
def address(pipe, uploads, serving):
    with serving(Page(pipe, "toy", Settings(concurrency=1, queue=1, limits=LIMITS))) as served:
        yield served


@pytest.fixture
def opened(browser, address):
    """The page, loaded with its first example."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(10_000)
    with watched(page):
        page.goto(address)
        page.wait_for_function("document.querySelector('.picture img') !== null")
        yield page
    page.close()


def answer_of(page, pattern):
    """The answer's words, as soon as they match."""
    words = page.locator(".words textarea")
    page.wait_for_function(
        "([box, pattern]) => new RegExp(pattern).test(box.value)",
        arg=[words.element_handle(), pattern],
        timeout=20_000,
    )
    return words.input_value()


def toast(page, pattern):
    found = page.get_by_test_id("toast-body").filter(has_text=re.compile(pattern, re.I))
    found.first.wait_for(timeout=20_000)
    assert "Traceback" not in page.content()
    return found.first


def button(page, name):
    return page.get_by_role("button", name=name).and_(page.locator(":visible")).first


def drawn_size(page):
    """Width and height of the drawn answer, as soon as it is there."""
    picture = page.locator(".drawn img")
    picture.wait_for(timeout=20_000)
    page.wait_for_function("image => image.naturalWidth > 0", arg=picture.element_handle())
    return picture.evaluate("image => [image.naturalWidth, image.naturalHeight]")


def test_a_question_about_a_scene(opened):
    button(opened, "Random toybox scene").click()
    opened.wait_for_timeout(500)
    button(opened, "Answer").click()
    assert answer_of(opened, r"^\w+$") in COLOURS
    assert not opened.locator(".drawn img").count()
    opened.get_by_text("Tokens", exact=True).click()
    opened.locator(".id.text small").first.wait_for()
    opened.get_by_text("JSON", exact=True).click()
    opened.get_by_text('"toybox_vqa_colour"').first.wait_for()


def test_a_box_and_a_depth_map(opened):
    button(opened, "small blue cone").click()
    answer_of(opened, r"^(\d+\.\d ?){4}$")
    assert drawn_size(opened) == [512, 512]  # with the box on it
    button(opened, "depth map").click()
    answer_of(opened, "^depth map, 256 x 256")
    width, height = drawn_size(opened)
    assert width == 512 and height > 512  # with the legend below


def test_own_words(opened):
    opened.get_by_role("tab", name="Your own words").click()
    opened.get_by_label("prompt").fill("what shape is the yellow thing?")
    opened.get_by_label("prompt").press("Enter")
    answer_of(opened, r"\w")
    button(opened, "Random toybox question").click()
    opened.wait_for_function(
        "box => box.value !== 'what shape is the yellow thing?'",
        arg=opened.get_by_label("prompt").element_handle(),
    )


def test_bad_uploads_and_fields(opened, tmp_path):
    (tmp_path / "text.png").write_text("dear model")
    Image.new("1", (2000, 1000)).save(tmp_path / "bomb.png")
    opened.get_by_label("Remove Image").click()
    for name, told in [
        ("text.png", "image 1: is no picture that can be read"),
        ("bomb.png", "image 1: is 2000 x 1000 pixels large, more than 1,000,000 pixels"),
    ]:
        opened.locator("input[type=file]").first.set_input_files(tmp_path / name)
        opened.locator(".block.problem").filter(has_text=told).wait_for()
        opened.locator(".picture img").first.wait_for(state="detached")
    button(opened, "Answer").click()
    toast(opened, "missing: image")
    Image.new("RGB", (64, 64)).save(tmp_path / "good.png")
    opened.locator("input[type=file]").first.set_input_files(tmp_path / "good.png")
    opened.locator(".block.problem").wait_for(state="hidden")
    opened.get_by_label("question").fill("")
    button(opened, "Answer").click()
    toast(opened, "missing: question")


def test_a_file_that_is_too_large(browser, address, tmp_path):
    (tmp_path / "large.png").write_bytes(bytes(LIMITS.max_bytes + 1))
    page = browser.new_page()  # not watched: the server's refusal is an error to the console
    page.goto(address)
    page.wait_for_function("document.querySelector('.picture img') !== null")
    page.get_by_label("Remove Image").click()
    page.locator("input[type=file]").first.set_input_files(tmp_path / "large.png")
    toast(page, "maximum allowed size|too large")
    page.close()


def test_a_full_queue(browser, address, pipe, monkeypatch):
    go = threading.Event()
    monkeypatch.setattr(
        pipe, "answer", lambda questions, answer=pipe.answer: go.wait(30) and answer(questions)
    )
    pages = [browser.new_page() for _ in range(3)]
    try:
        for page in pages:
            page.goto(address)
            page.wait_for_function("document.querySelector('.picture img') !== null")
            button(page, "Answer").click()
            time.sleep(1)
        toast(pages[2], "currently busy. Please try again")
        go.set()
        assert answer_of(pages[0], r"\w") and answer_of(pages[1], r"\w")
    finally:
        go.set()
        for page in pages:
            page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone(browser, address, scheme):
    page = browser.new_page(viewport=PHONE, color_scheme=scheme)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    with watched(page):
        page.goto(address)
        page.wait_for_function("document.querySelector('.picture img') !== null")
        button(page, "joints of the figure").click()
        answer_of(page, "head: ")
        page.get_by_text("Tokens", exact=True).click()
        page.get_by_text("JSON", exact=True).click()
        page.wait_for_timeout(500)
        assert overflow(page) <= 0
        assert page.evaluate("document.body.classList.contains('dark')") is (scheme == "dark")
    page.close()
    assert all(url.startswith((address, "data:", "blob:")) for url in asked)


@pytest.mark.usefixtures("browser")
def test_the_picture_of_the_docs(tmp_path):
    script = ROOT / "benchmarks/app_picture.py"
    subprocess.run([sys.executable, str(script), str(tmp_path / "app.png")], check=True, timeout=120)
    size = (tmp_path / "app.png").stat().st_size
    assert 20_000 < size < 150_000
    assert Image.open(tmp_path / "app.png").width == Image.open(ROOT / "docs/pictures/app.png").width
