import pytest
from starlette.testclient import TestClient

from unified.serving.api.app import Settings, build_app


@pytest.fixture
def client(pipe):
    with TestClient(build_app(pipe, Settings())) as made:
        yield made
