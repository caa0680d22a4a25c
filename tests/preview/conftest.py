"""Pages as a browser reads them."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest


class Page(HTMLParser):
    """Fails on tags that do not nest; `loads`: what a browser would fetch, `text`: the words."""

    VOID = ("meta", "img", "br")

    def __init__(self, html):
        super().__init__()
        self.open, self.loads, self.tags, self.html = [], [], set(), html
        self.text = " ".join(re.sub(r"<[^>]+>", " ", html.partition("<body>")[2]).split())
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture
def read_page():
    """A page of one file: nothing is loaded, nothing runs, light and dark, made for phones too."""

    def read(path):
        page = Page(Path(path).read_text())
        assert all(source.startswith("data:image/png;base64,") for source in page.loads)
        assert "script" not in page.tags and "url(" not in page.html and "@import" not in page.html
        assert "prefers-color-scheme: dark" in page.html and "width=device-width" in page.html
        return page

    return read
