from __future__ import annotations

import sys
from pathlib import Path

import pytest

import unified

sys.path.append(str(Path(__file__).parent.parent / "evaluation"))  # tiny_model is shared


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """The folder of a run that has exported its (random) model."""
    from tiny_model import tiny_set, write_run

    folder = tmp_path_factory.mktemp("runs")
    return write_run(folder / "tiny", tiny_set(folder / "tokenizers"))


@pytest.fixture(scope="session")
def pipe():
    return unified.pipeline("toy", "cpu")
