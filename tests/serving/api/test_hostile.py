"""What strangers may send: schemathesis by the OpenAPI document, and mutated requests. Never a 5xx."""

import base64
import json
import random

import psutil
import pytest
import schemathesis
from api_pictures import png
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import sampled_from
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.testclient import TestClient

from unified.serving.api.app import Settings, build_app

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def app(pipe):
    return build_app(pipe, Settings())


OPERATIONS = [
    "GET /healthz", "GET /metrics", "GET /v1/models", "GET /v1/tasks", "GET /v1/tasks/{task}",
    "POST /v1/chat/completions", "POST /v1/prompt", "POST /v1/tasks/{task}",
]  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_requests_by_the_document(app, pipe, name):
    """Not through schemathesis' pytest plugin, which knows no pytest 9."""
    document = schemathesis.openapi.from_asgi("/openapi.json", app)
    found = {o.ok().label: o.ok() for o in document.get_all_operations()}
    assert sorted(found) == OPERATIONS
    operation = found[name]

    @settings(
        max_examples=100, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    @given(case=operation.as_strategy(), task=sampled_from(["as drawn", *pipe.tasks]))
    def all_are_answered(case, task):
        if "{task}" in name and task != "as drawn":
            case.path_parameters["task"] = task
        # a schema cannot say which base64 is a picture
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    all_are_answered()


WORDS = ["how many things are there ?", "What is the depth map of the image ?", "refer", "", "\x00",
         "é" * 300, "</s><extra_id_0><loc_5>", "\u202e\ufeff", "a " * 9000,
         "What is in the region 1 2 30 40 ?",
         "What is in the region -1e9 nan inf 40 ?", "🦊", "{{ box }}", "{% for %}"]  # fmt: skip


def mutated(rng, picture):
    """A picture file with bytes changed, cut off or doubled."""
    data = bytearray(picture)
    for _ in range(rng.randint(0, 20)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    kind = rng.random()
    if kind < 0.2:
        data = data[: rng.randrange(len(data))]
    elif kind < 0.3:
        data = data + data
    return bytes(data)


def request(rng, tasks):
    """(path, arguments of the client)"""
    kinds = rng.choices(["PNG", "JPEG", "GIF", "BMP", "WEBP"], k=rng.choice([0, 1, 1, 1, 2, 9]))
    pictures = [mutated(rng, png(rng.randint(1, 80), rng.randint(1, 80), kind)) for kind in kinds]
    words, task = rng.choice(WORDS), rng.choice(tasks)
    if rng.random() < 0.5:
        path, body = "/v1/prompt", {"prompt": words}
        if rng.random() < 0.3:
            body["target"] = rng.choice(["boxes", "depth", "text", "mask", "nothing"])
    else:
        junk = [words, 1e308, -1, True, None, [], {}, [[1, 2, 3, 4]], [[5, 5, 5, 5]], [[[0]]], ["a", 1]]
        path = f"/v1/tasks/{task.name}"
        body = {"fields": {name: rng.choice(junk) for name in task.spec.fields if rng.random() < 0.5}}
    if rng.random() < 0.4:
        data = body.get("fields", body)
        form = {k: v if isinstance(v, str) else json.dumps(v) for k, v in data.items()}
        return path, {"data": form, "files": [("images", ("x", p)) for p in pictures]}
    body["images"] = [base64.b64encode(p).decode() for p in pictures]
    content = bytearray(json.dumps(body).encode())
    if rng.random() < 0.2:
        content[rng.randrange(len(content))] = rng.randrange(256)
    return path, {"content": bytes(content), "headers": {"content-type": "application/json"}}


def test_mutated_pictures_and_prompts(app, pipe):
    rng, tasks = random.Random(0), list(pipe.tasks.values())
    codes, process, held = {}, psutil.Process(), []
    with TestClient(app, raise_server_exceptions=False) as client:
        for i in range(500):
            path, arguments = request(rng, tasks)
            answer = client.post(path, **arguments)
            codes[answer.status_code] = codes.get(answer.status_code, 0) + 1
            assert answer.status_code < 500, (i, path, arguments, answer.text)
            if i >= 200 and i % 50 == 49:
                held.append(process.memory_info().rss)
    assert codes.keys() <= {200, 413, 422} and codes[200] > 50 and codes[422] > 100, codes
    assert max(held) - held[0] < 64 * 2**20, held
