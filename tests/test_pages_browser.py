"""Pages as a browser shows them: no error in the console, none wider than a phone."""

import pytest
from browser import PHONE, overflow, watched


def test_the_watch_sees_errors_and_wide_pages(browser):
    page = browser.new_page(viewport=PHONE)
    with pytest.raises(AssertionError, match="too bad"), watched(page):
        page.set_content("<div style='width: 500px'>wide</div><script>console.error('too bad')</script>")
    assert overflow(page) >= 110
    with pytest.raises(AssertionError, match="thrown"), watched(page):
        page.set_content("<script>throw new Error('thrown')</script>")
    page.close()
