"""A headless browser for tests of pages: Debian's chromium, driven by playwright.

`browser` is a fixture that every test may ask for (see conftest.py); it skips where there is no chromium.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
PHONE = {"width": 390, "height": 844}
"""The viewport of a phone, in CSS pixels."""


@pytest.fixture(scope="session")
def browser():
    """A playwright Browser."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = CHROMIUM if CHROMIUM.exists() else shutil.which("chromium")
    if not found:
        pytest.skip("there is no chromium")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=str(found), args=list(ARGUMENTS))
        yield launched
        launched.close()


@contextlib.contextmanager
def watched(page):
    """Within it no error may reach the page's console, and none may be thrown."""
    told = []
    page.on("console", lambda message: message.type == "error" and told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    yield page
    assert not told, told


def overflow(page):
    """Pixels by which a page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
