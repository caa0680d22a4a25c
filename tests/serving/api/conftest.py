import pytest
from starlette.testclient import TestClient

import unified
from unified.serving.api.app import Settings, build_app


@pytest.fixture(scope="session")
def pipe():
    return unified.pipeline("toy", "cpu")


@pytest.fixture
def client(pipe):
    with TestClient(build_app(pipe, Settings())) as made:
        yield made
