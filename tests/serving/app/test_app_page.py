"""The page's functions on the shipped toy model, and over HTTP by gradio's own client."""

from __future__ import annotations

import io
import threading
import time

import gradio as gr
import httpx
import numpy as np
import pytest
from conftest import LIMITS
from gradio_client import Client, handle_file
from PIL import Image

import unified
from unified.serving.app.answers import tokens_html
from unified.serving.app.forms import Filled
from unified.serving.app.page import Page, Settings, told
from unified.serving.app.scenes import draws_scenes, scene
from unified.values.types import TYPES, Label, Number, Text


def slots(page, filled, write):
    """What the page sends of a filled form."""
    form = page.forms[filled[0]]
    pictures = [
        write(filled[1].pictures[b.name], f"{b.name}.png") if b.name in filled[1].pictures else None
        for b in form.pictures
    ]
    words = [filled[1].words.get(b.name) for b in form.texts]
    return [
        *pictures, *[None] * (len(page.pictures) - len(pictures)),
        *words, *[""] * (len(page.texts) - len(words)), *[None] * len(page.lists),
    ]  # fmt: skip


def test_every_task_is_asked_and_answered(page, upload):
    for name in page.forms:
        filled = scene(page.forms[name], 0)
        words, drawn, note, data, tokens = page.ask_task(name, *slots(page, (name, filled), upload))
        kind = TYPES[data["answer"]["type"]]
        assert data["task"] == name and words
        assert kind is TYPES[page.forms[name].task.spec.modality]
        shown = drawn.value is not None
        assert shown == (kind not in (Text, Label, Number)) and drawn.visible is shown
        assert "log-probability" in note and 'class="id ' in tokens


def test_free_prompts(page, pipe, upload):
    picture = Image.fromarray(np.asarray(scene(page.forms["toybox_refer"], 4).pictures["image"]))
    words, drawn, _, data, _ = page.ask_freely("what colour is the cone?", "", upload(picture), None)
    assert data["answer"] == {"type": "text", "text": words} and words and drawn.value is None
    prompt = 'Which region does the text "small blue cone" describe ?'
    _, drawn, _, data, _ = page.ask_freely(prompt, "", upload(picture))
    assert data == pipe("refer", image=picture, phrase="small blue cone").to_dict() and drawn.value
    x1, y1, x2, y2 = data["answer"]["xyxy"][0]
    assert 190 < (x1 + x2) / 2 < 230 and 115 < (y1 + y2) / 2 < 155  # where the cone is
    _, _, _, data, _ = page.ask_freely("how far is it all ?", "depth", upload(picture))
    assert data["task"] is None and data["answer"]["type"] == "depth"


BOMB = io.BytesIO()
Image.new("1", (1200, 1000)).save(BOMB, "PNG")
WHOLE = io.BytesIO()
Image.effect_noise((64, 64), 50).save(WHOLE, "PNG")


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (b"dear model", "image: is no picture that can be read; send PNG"),
        (WHOLE.getvalue()[:500], "image: is damaged"),
        (BOMB.getvalue(), "image: is 1200 x 1000 pixels large, more than 1,000,000 pixels"),
        (bytes(LIMITS.max_bytes + 1), "image: is 1.0 MB large, more than 1 MB"),
        (b"", "image: is empty"),
    ],
    ids=["text", "truncated", "bomb", "large", "empty"],
)
def test_bad_uploads(page, upload, picture, message):
    file = upload(picture)
    rest = [None] * (len(page.pictures) - 1)
    with pytest.raises(gr.Error) as raised:
        told(page.ask_task)("toybox_depth", file, *rest, *[""] * len(page.texts))
    assert raised.value.message.startswith(message) and raised.value.duration is None
    with pytest.raises(gr.Error, match="image 1: "):
        told(page.ask_freely)("what is this ?", "", file)
    problem, good, slot, *others = page.received(1, "task", file, file, *rest[1:])
    assert problem["visible"] and problem["value"].startswith(message.replace("image", "image 2"))
    assert "value" not in good
    assert slot["value"] is None and not any("value" in other for other in others)


@pytest.mark.parametrize(
    ("task", "image", "words", "message"),
    [
        ("toybox_refer", True, "", "task 'toybox_refer': missing: phrase (text)"),
        ("toybox_refer", False, "cone", "task 'toybox_refer': missing: image (image)"),
        ("toybox_segment_box", True, "left <b>", "field 'box': 'left &lt;b&gt;' is not a place"),
        ("toybox_segment_box", True, "1 2 3", "'1 2 3' is not a place; write pixels of the image as: x1 y1"),
        ("toybox_segment_box", True, "500 500 600 600", "lies outside the image of 128 x 96"),
        ("toybox_segment_box", True, "9 9 1 1", "a box ends before it begins"),
        ("nonsense", True, "", "this page has no task 'nonsense'"),
        (None, True, "", "choose a task first"),
    ],
)
def test_bad_forms(page, upload, task, image, words, message):
    pictures = [upload() if image else None, *[None] * (len(page.pictures) - 1)]
    with pytest.raises(gr.Error) as raised:
        told(page.ask_task)(task, *pictures, words, *[""] * (len(page.texts) - 1))
    assert message in raised.value.message and not raised.value.print_exception


def test_bad_free_prompts(page, upload):
    for prompt, target, count, message in [
        ("  ", "", 1, "the prompt is empty"),
        ("what is it ?", "grounded_txt", 1, "no such kind of answer"),
        ("what is it ?", "", 5, "5 images given; this model takes at most 4"),
    ]:
        with pytest.raises(gr.Error, match=message):
            told(page.ask_freely)(prompt, target, *[upload()] * count)


def test_a_bug_is_logged_and_not_shown(caplog):
    with pytest.raises(gr.Error) as raised:
        told(lambda: {}["secret"])()
    assert "secret" not in raised.value.message and "secret" in caplog.text


def test_forms_follow_the_task(page):
    task, about, fresh, *updates = page.filled("toybox_next_frame")
    assert task == "toybox_next_frame" and "third picture" in about and fresh.visible
    pictures, texts = updates[: len(page.pictures)], updates[len(page.pictures) :]
    assert [u.get("label") for u in pictures if u["visible"]] == ["image 1", "image 2"]
    assert not any(u["visible"] for u in texts) and not any("value" in u for u in pictures)
    filled = page.fresh_scene("toybox_segment_box")
    box = next(u for u in filled[3 + len(page.pictures) :] if u["visible"])
    assert len(box["value"].split()) == 4 and filled[3]["value"].size == (256, 256)


def test_a_free_prompt_is_offered_one_more_picture(page, upload):
    file = upload()
    assert [u["visible"] for u in page.to_free(None, None, None, None)[1:]] == [True, False, False, False]
    assert [u["visible"] for u in page.received(0, "free", file, None, None, None)[1:]] == [True, True] + [
        False
    ] * 2
    assert all(u["visible"] for u in page.received(3, "free", *[file] * 4)[1:])
    words, kind, first, *_ = page.fresh_question()
    assert words and kind == "" and first["value"].size == (256, 256)


def test_a_model_without_tasks(pipe):
    class Bare:
        tasks, model, processor, trained = {}, pipe.model, pipe.processor, False

    bare = Page(Bare(), "bare", Settings())
    texts = str(bare.blocks.get_config_file())
    assert "Randomly initialised" in texts and "### Examples" not in texts


def test_a_run(run, upload):
    """`unified app runs/demo`: any model folder, with the few tasks that it carries."""
    page = Page(unified.pipeline(run, "cpu"), str(run), Settings(limits=LIMITS))
    assert page.forms
    for name, form in page.forms.items():
        filled = scene(form, 0) if draws_scenes(form) else Filled({"image": Image.new("RGB", (64, 64))})
        words, *_ = page.ask_task(name, *slots(page, (name, filled), upload))
        assert words


def test_the_model_is_asked_one_at_a_time(page, pipe, upload, monkeypatch):
    inside, most = 0, 0

    def slow(questions, answer=pipe.answer):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.02)
        found = answer(questions)
        inside -= 1
        return found

    monkeypatch.setattr(pipe, "answer", slow)
    file = upload()
    threads = [threading.Thread(target=page.ask_freely, args=("what is it ?", "", file)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_tokens_are_escaped(page):
    from unified.preview.tokens import Token

    page_of = tokens_html([Token(7, "text", "<script>"), Token(9, "location", "x 1.0")])
    assert "<script>" not in page_of and "&lt;script&gt;" in page_of and "id location" in page_of
    assert "each scored" in tokens_html([])


def test_over_http(page, upload, serving):
    with serving(page) as address:
        shown = httpx.get(address, trust_env=False).text
        assert "unified: toy" in shown and "googleapis" not in shown
        client = Client(address, verbose=False, analytics_enabled=False)
        rest = [None] * (len(page.pictures) - 1)
        words, drawn, _, data, _ = client.predict(
            "what shape is it ?", "", handle_file(upload()), *rest, api_name="/ask_freely"
        )
        assert data["answer"] == {"type": "text", "text": words} and drawn["value"] is None
        with pytest.raises(Exception, match="the prompt is empty"):
            client.predict(" ", "", None, *rest, api_name="/ask_freely")
        for path, meta in [
            (upload(), {}),
            (upload(), {"_type": "gradio.FileData"}),
            ("docs/gallery.png", {}),
        ]:
            # a file of the server's, named by a stranger
            named = {"path": path, **({"meta": meta} if meta else {})}
            asked = {"data": ["what is it ?", "", named, *rest]}
            event = httpx.post(f"{address}gradio_api/call/ask_freely", json=asked, trust_env=False).json()
            said = httpx.get(f"{address}gradio_api/call/ask_freely/{event['event_id']}", trust_env=False).text
            assert said.startswith("event: error"), said
        large = {"files": ("large.png", bytes(LIMITS.max_bytes + 1))}
        assert httpx.post(f"{address}gradio_api/upload", files=large, trust_env=False).status_code == 413


def test_a_full_queue_is_told(pipe, upload, serving, monkeypatch):
    page = Page(pipe, "toy", Settings(concurrency=1, queue=1))
    go = threading.Event()
    monkeypatch.setattr(
        pipe, "answer", lambda questions, answer=pipe.answer: go.wait(30) and answer(questions)
    )
    with serving(page) as address:
        client = Client(address, verbose=False, analytics_enabled=False)
        ask = ("what is it ?", "", *[None] * len(page.pictures))
        jobs = [client.submit(*ask, api_name="/ask_freely")]
        while not page._lock.locked():
            time.sleep(0.01)
        jobs += [client.submit(*ask, api_name="/ask_freely")]
        while len(page.blocks._queue) < 1:
            time.sleep(0.01)
        with pytest.raises(Exception, match="(?i)queue is full"):
            client.predict(*ask, api_name="/ask_freely")
        go.set()
        assert all(job.result(timeout=30)[0] for job in jobs)
