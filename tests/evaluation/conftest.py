from __future__ import annotations

import pytest
from tiny_model import tiny_set, write_run


@pytest.fixture(scope="session")
def tiny_tokenizers(tmp_path_factory):
    return tiny_set(tmp_path_factory.mktemp("tokenizers") / "tiny")


@pytest.fixture(scope="session")
def run(tmp_path_factory, tiny_tokenizers):
    """The folder of a run that has exported its (random) model."""
    return write_run(tmp_path_factory.mktemp("runs") / "tiny", tiny_tokenizers)
