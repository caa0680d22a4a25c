"""The HTTP API on the shipped toy model."""

import base64
import io
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from api_pictures import base64_png, png
from PIL import Image
from starlette.testclient import TestClient

from unified.cli import main
from unified.serving.api.app import Settings, build_app
from unified.serving.uploads import Limits


def ask(client, body, path="/v1/prompt", status=200, **more):
    answer = client.post(path, json=body, **more)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_prompt_in_json_and_as_a_form(client, pipe):
    words = "how many things are there ?"
    answer = ask(client, {"prompt": words, "images": [base64_png()]})
    told = pipe(words, image=Image.open(io.BytesIO(png())))
    assert answer["text"] == told.text and answer["value"] == {"type": "text", "text": told.text}
    assert answer["score"] == pytest.approx(told.score, abs=1e-3) and answer["malformed"] is False
    form = client.post("/v1/prompt", data={"prompt": words}, files=[("images", ("room.png", png()))])
    assert form.json() == answer
    uri = "data:image/png;base64," + base64_png()
    assert ask(client, {"prompt": words, "images": [uri]}) == answer


def test_every_kind_of_answer(client, pipe):
    scene = {"images": [base64_png()]}
    asked = {
        "detect": {}, "refer": {"phrase": "red cube"}, "point": {"phrase": "red cube"}, "keypoints": {},
        "depth": {}, "normals": {}, "segmentation_shape": {}, "refer_mask": {"phrase": "red cube"},
        "edit": {"instruction": "make the red cube blue"}, "classify_shape": {}, "caption": {},
        "grounded_caption": {}, "vqa_count": {"question": "how many cubes are there ?"},
        "distance": {"phrase": "red cube"},
    }  # fmt: skip
    kinds = set()
    for name, fields in asked.items():
        needed = {f["name"] for f in client.get(f"/v1/tasks/{name}").json()["fields"]} - {"image"}
        fields = {field: next(iter(fields.values()), "red cube") for field in needed}
        value = ask(client, scene | {"fields": fields, "draw": name == "refer"}, f"/v1/tasks/{name}")
        kinds.add(value["value"]["type"])
        if name == "depth":
            picture = Image.open(io.BytesIO(base64.b64decode(value["value"]["png"])))
            assert picture.size == (48, 32) and picture.mode.startswith("I;16")
            assert np.array(picture).max() / 1000 == pytest.approx(value["value"]["farthest_m"], abs=2e-3)
        if name == "refer":
            assert Image.open(io.BytesIO(base64.b64decode(value["drawn"]))).width >= 48
        else:
            assert "drawn" not in value
    assert kinds >= {"boxes", "points", "keypoints", "depth", "normals", "segmentation", "mask", "image",
                     "label", "text", "grounded_text", "number"}  # fmt: skip


def test_fields_that_are_pictures(client):
    colours = io.BytesIO()
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(colours, "PNG")
    files = {"segmentation": ("map.png", colours.getvalue())}
    answer = client.post("/v1/tasks/segmentation_to_image", files=files)
    assert answer.json()["value"]["type"] == "image", answer.text
    answer = client.post("/v1/tasks/caption", files={"image": ("room.png", png(kind="JPEG"))})
    assert answer.json()["value"]["type"] == "text", answer.text


def test_tasks_are_listed(client, pipe):
    listed = client.get("/v1/tasks").json()["tasks"]
    assert [task["name"] for task in listed] == list(pipe.tasks)
    refer = client.get("/v1/tasks/refer").json()
    assert refer["answer"] == "boxes" and "phrase" in refer["prompt"]
    assert refer["fields"][0] == {"name": "image", "type": "image", "image": True}
    assert client.get("/v1/tasks/classify_shape").json()["options"]
    gone = client.get("/v1/tasks/toybox_refr")
    assert gone.status_code == 404 and "did you mean 'toybox_refer'" in gone.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("prompt", {"prompt": " "}, "the prompt is empty"),
        ("prompt", {}, "prompt: Field required"),
        ("prompt", {"prompt": "x", "imges": []}, "imges: Extra inputs"),
        ("prompt", {"prompt": "x", "images": ["%%"]}, "images[0]: is not base64"),
        ("prompt", {"prompt": "x", "images": ["aGVsbG8="]}, "images[0]: is no picture"),
        ("prompt", {"prompt": "x", "images": ["http://a.b/c.png"]}, "addresses are not fetched"),
        ("prompt", {"prompt": "x", "images": [base64_png()] * 9}, "9 images given; this model takes at most"),
        ("prompt", {"prompt": "x", "target": "boxs"}, "target: Input should be"),
        ("tasks/refer", {"images": [base64_png()]}, "missing: phrase (text)"),
        ("tasks/refer", {"images": [base64_png()], "fields": {"phrase": 3}}, "phrase: is a text"),
        ("tasks/refer", {"images": [base64_png()], "fields": {"phrase": "a", "x": 1}}, "unknown field 'x'"),
        ("tasks/caption", {"fields": {"image": "/etc/passwd"}}, "image: is not base64"),
        ("tasks/caption", {"fields": {"image": {"path": "/etc/passwd"}}}, "image: send a picture file"),
        ("tasks/classify_region", {"images": [base64_png()], "fields": {"box": [[1, 2]]}}, "box"),
        ("tasks/classify_region", {"images": [base64_png()], "fields": {"box": "1 2 inf 4"}}, "infinity"),
        ("tasks/classify_region", {"images": [base64_png()], "fields": {"box": [[1, 2, 3, 1e300]]}}, "box"),
    ],
)  # fmt: skip
def test_bad_input_is_422_with_one_message(client, path, body, message):
    error = ask(client, body, f"/v1/{path}", 422)["error"]
    assert message in error["message"] and error["type"] == "invalid_request"


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[1]", b'{"prompt": "\\ud800"}', b'{"prompt": NaN}', b"[" * 100_000, b"\xff\xfe"]
)
def test_what_is_no_json(client, data):
    answer = client.post("/v1/prompt", content=data, headers={"content-type": "application/json"})
    assert answer.status_code == 422 and answer.json()["error"]["message"]


def test_forms_that_cannot_be_read(client):
    for kind, content in [("multipart/form-data", b"x"), ("multipart/form-data; boundary=a", b"--a\r\nx"),
                          ("text/plain", b"x")]:  # fmt: skip
        answer = client.post("/v1/prompt", content=content, headers={"content-type": kind})
        assert answer.status_code == 422 and answer.json()["error"]["message"], answer.text


def test_too_large(pipe):
    settings = Settings(limits=Limits(max_bytes=20_000, max_pixels=10_000))
    with TestClient(build_app(pipe, settings)) as client:
        ask(client, {"prompt": "x", "images": [base64_png()]})
        many = ask(client, {"prompt": "x", "images": [base64_png(width=101, height=100)]}, status=413)
        assert "images[0]: is" in many["error"]["message"] and many["error"]["type"] == "too_large"
        noise = ask(client, {"prompt": "x", "images": ["A" * 30_000]}, status=413)
        assert "MB" in noise["error"]["message"]
        answer = client.post(
            "/v1/prompt", content=b"x" * 200_000, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 413 and "the request is larger" in answer.text


def test_a_token(pipe):
    with TestClient(build_app(pipe, Settings(token="sesame"))) as client:
        for path in ("/v1/tasks", "/v1/models", "/metrics"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers={"Authorization": "Bearer sesam"}).status_code == 401
            assert client.get(path, headers={"Authorization": "Bearer sesame"}).status_code == 200
        refused = client.post("/v1/prompt", json={"prompt": "x"})
        assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"
        assert client.get("/healthz").json() == {"status": "ok", "model": "toy"}


class Held:
    """A pipeline that answers once it is let go, and remembers its batches."""

    def __init__(self, pipe):
        self.pipe, self.go, self.begun, self.batches = pipe, threading.Event(), threading.Event(), []

    def __getattr__(self, name):
        return getattr(self.pipe, name)

    def answer(self, questions):
        self.batches.append(len(questions))
        self.begun.set()
        assert self.go.wait(20)
        return self.pipe.answer(questions)


def at_once(client, bodies, held):
    """Status codes; the first request holds the model while the others arrive."""
    found = {}

    def one(i, body):
        found[i] = client.post("/v1/prompt", json=body)

    threads = [threading.Thread(target=one, args=(i, body)) for i, body in enumerate(bodies)]
    threads[0].start()
    assert held.begun.wait(20)
    for thread in threads[1:]:
        thread.start()
    for thread in threads[1:]:
        thread.join(0.3)
    held.go.set()
    for thread in threads:
        thread.join()
    return [found[i] for i in range(len(bodies))]


def test_what_waits_is_answered_together_by_kind(pipe):
    held, image = Held(pipe), base64_png()
    asked = ["first"] + ["what is this ?", "What is the depth map of the image ?"] * 3
    with TestClient(build_app(held, Settings())) as client:
        answers = at_once(client, [{"prompt": words, "images": [image]} for words in asked], held)
        assert {a.status_code for a in answers} == {200}
        assert [a.json()["value"]["type"] for a in answers[1:]] == ["label", "depth"] * 3
        assert held.batches == [1, 3, 3]
        told = client.get("/metrics").text
        assert 'unified_requests_total{route="/v1/prompt",status="200"} 7.0' in told
        assert "unified_batch_size_count 3.0" in told and "unified_requests_inside 0.0" in told


def test_beyond_the_queue_is_429(pipe):
    held = Held(pipe)
    with TestClient(build_app(held, Settings(queue=2))) as client:
        answers = at_once(client, [{"prompt": "x"}] * 4, held)
        assert sorted(a.status_code for a in answers) == [200, 200, 429, 429]
        busy = next(a for a in answers if a.status_code == 429)
        assert busy.headers["retry-after"] == "1" and "busy" in busy.json()["error"]["message"]
        assert ask(client, {"prompt": "x"})


def test_what_takes_too_long_is_504_and_is_not_computed(pipe):
    held = Held(pipe)
    with TestClient(build_app(held, Settings(timeout=0.5))) as client:
        for _ in range(2):
            assert "within 0.5 s" in ask(client, {"prompt": "x"}, status=504)["error"]["message"]
        held.go.set()
        ask(client, {"prompt": "x"})
        assert held.batches == [1, 1]  # the second was given up before it began


def test_one_that_cannot_be_answered_fails_alone(pipe):
    class Poisoned(Held):
        def answer(self, questions):
            answers = super().answer(questions)
            if any("poison" in str(question.example) for question in questions):
                raise RuntimeError("poisoned")
            return answers

    held = Poisoned(pipe)
    app = build_app(held, Settings())
    with TestClient(app, raise_server_exceptions=False) as client:
        answers = at_once(client, [{"prompt": w} for w in ("first", "a", "poison", "b")], held)
        assert [a.status_code for a in answers] == [200, 200, 500, 200]


def chat(*parts, **more):
    return {"messages": [{"role": "user", "content": list(parts)}], **more}


def test_chat(client, pipe):
    words = {"type": "text", "text": "What does the image describe ?"}
    picture = {
        "type": "image_url",
        "image_url": {"url": f"data:image/png;base64,{base64_png()}", "detail": "low"},
    }
    path = "/v1/chat/completions"
    answer = ask(client, chat(words, picture, model="toy"), path)
    told = pipe("What does the image describe ?", image=Image.open(io.BytesIO(png())))
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": told.text}
    assert answer["choices"][0]["finish_reason"] == "stop" and answer["object"] == "chat.completion"
    usage = answer["usage"]
    assert usage["completion_tokens"] == len(told.ids)
    assert usage["total_tokens"] == usage["prompt_tokens"] + len(told.ids)
    short = ask(client, chat(words, picture, max_tokens=1), path)
    assert short["choices"][0]["finish_reason"] == "length" and short["usage"]["completion_tokens"] == 1
    assert told.text.startswith(short["choices"][0]["message"]["content"])
    ask(client, chat(words, picture, temperature=1.5, top_p=0.9), path)
    ask(client, {"messages": [{"role": "user", "content": "hello"}]}, path)
    assert "no model 'gpt'" in ask(client, chat(words, model="gpt"), path, 404)["error"]["message"]
    depth = {"type": "text", "text": "What is the depth map of the image ?"}
    for body, message in [
        (chat(words, picture, stream=True), "stream"),
        (chat(depth, picture), "a picture (depth)"),
        (chat(words, {"type": "image_url", "image_url": {"url": "https://a.b/c.png"}}), "not fetched"),
        ({"messages": [{"role": "system", "content": "be kind"}]}, "messages.0.role"),
        (chat(words, presence_penalty=1), "presence_penalty"),
    ]:
        assert message in ask(client, body, path, 422)["error"]["message"]


def test_openapi_tells_bodies_and_errors(client):
    document = client.get("/openapi.json").json()
    prompt = document["paths"]["/v1/prompt"]["post"]
    assert set(prompt["requestBody"]["content"]) == {"application/json", "multipart/form-data"}
    assert {"200", "413", "422", "429", "504"} <= set(prompt["responses"])
    assert client.get("/docs").status_code == 200


def test_the_command_refuses_a_busy_port(capsys):
    from unified.cli.serve import listen

    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        assert main(["serve", "toy", "--port", str(taken.getsockname()[1])]) == 2
    assert "choose another --port" in capsys.readouterr().err


def test_the_command_serves_until_it_is_stopped(tmp_path):
    import httpx

    from unified.cli.serve import listen

    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "unified", "serve", "--port", str(port), "--token", "sesame"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert f":{port}/docs" in process.stdout.readline()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            assert client.get("/healthz").json()["status"] == "ok"
            refused = client.post("/v1/prompt", content=b"x" * 5_000_000)
            assert refused.status_code == 401  # the answer arrives though nobody wanted the body
            secret = {"Authorization": "Bearer sesame"}
            ask(client, {"prompt": "what is this ?", "images": [base64_png()]}, headers=secret)
        process.terminate()
        assert process.wait(20) == -signal.SIGTERM  # after what was asked is answered
    finally:
        process.kill()
