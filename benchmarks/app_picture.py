"""Takes docs/pictures/app.png: the app with an example answered, in a headless browser.

    python benchmarks/app_picture.py docs/pictures/app.png

Needs playwright and a chromium.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

import unified
from unified.cli.serve import listen

WIDTH, HEIGHT = 1280, 860


def take(path: Path) -> None:
    from unified.serving.app.launch import serve_page
    from unified.serving.app.page import Page, Settings

    page = Page(unified.pipeline("toy", "cpu"), "toy", Settings())
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    address = serve_page(page, "127.0.0.1", port)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        view.goto(address)
        view.get_by_role("button", name="give the region of every phrase").click()
        view.locator(".drawn img").wait_for()
        view.get_by_text("Tokens", exact=True).click()
        view.locator(".id.location").first.wait_for()
        view.mouse.move(0, 0)
        view.wait_for_timeout(1000)  # for what fades
        shot = Image.open(io.BytesIO(view.screenshot(full_page=True)))
        browser.close()
    page.blocks.close(verbose=False)
    shot.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        take(Path(sys.argv[1]))
