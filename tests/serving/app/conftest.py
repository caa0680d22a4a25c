from __future__ import annotations

import contextlib
import socket

import numpy as np
import pytest
from PIL import Image

from unified.serving.app.launch import serve_page
from unified.serving.app.page import Page, Settings
from unified.serving.uploads import Limits

LIMITS = Limits(max_bytes=2**20, max_pixels=10**6)


@pytest.fixture(scope="session", autouse=True)
def uploads(tmp_path_factory):
    """Where gradio keeps files, instead of a folder of the whole machine."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("gradio")
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        patch.setenv("NO_PROXY", "localhost,127.0.0.1")
        yield folder


@pytest.fixture(scope="session")
def page(pipe, uploads):
    return Page(pipe, "toy", Settings(limits=LIMITS))


@pytest.fixture
def upload(tmp_path):
    """Writes a picture, or bytes, as an uploaded file; returns its path."""

    def write(content=None, name="room.png"):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            (content or Image.fromarray(np.full((96, 128, 3), 200, np.uint8))).save(path)
        return str(path)

    return write


@pytest.fixture
def serving():
    """A context manager: a page's address while it is served."""

    @contextlib.contextmanager
    def serve(page):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        yield serve_page(page, "127.0.0.1", port)
        page.blocks.close(verbose=False)

    return serve
