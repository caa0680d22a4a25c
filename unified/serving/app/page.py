"""The page: what is asked on the left, the answer on the right."""

from __future__ import annotations

import functools
import html
import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from unified.errors import UserError
from unified.evaluation.samples import words_of
from unified.preview.page import data_uri
from unified.serving.app.answers import shown
from unified.serving.app.forms import Blank, Filled, Form, read_images
from unified.serving.app.scenes import draws_scenes, examples, scene
from unified.serving.app.upload import Upload
from unified.serving.asking import Question
from unified.serving.pipeline import Pipeline
from unified.serving.uploads import Limits
from unified.values.types import Image

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """`concurrency`: answers in work at once, of which the model computes one at a time; `queue`: questions
    inside, those in work included."""

    concurrency: int = 2
    queue: int = 20
    limits: Limits = Limits()


def told(function: Callable[..., Any]) -> Callable[..., Any]:
    """Problems become a message on the page, which stays until it is closed."""

    @functools.wraps(function)
    def telling(*args: Any) -> Any:
        try:
            return function(*args)
        except UserError as error:
            message = str(error)
        except Exception:
            logger.exception("the app failed")
            message = "the app failed; its log says why"
        raise gr.Error(html.escape(message, quote=False), duration=None, print_exception=False)

    return telling


class Page:
    """One model on a page. `blocks` is the gradio app."""

    def __init__(self, pipe: Pipeline, name: str, settings: Settings) -> None:
        self.pipe, self.name, self.settings = pipe, name, settings
        found = {task: Form.of(loaded) for task, loaded in pipe.tasks.items()}
        self.forms = {task: form for task, form in found.items() if form is not None}
        self.examples = examples(self.forms)
        self._lock = threading.Lock()
        with gr.Blocks(
            title=f"unified: {name}", analytics_enabled=False, delete_cache=(600, 3600)
        ) as self.blocks:
            self._lay_out()
        self.blocks.queue(max_size=settings.queue)

    # ---------------------------------------------------------------------------------- layout

    def _lay_out(self) -> None:
        forms, first = list(self.forms.values()), next(iter(self.examples), next(iter(self.forms), None))
        most = max((len(form.pictures) for form in forms), default=0)
        parameters = sum(p.numel() for p in self.pipe.model.parameters())
        gr.Markdown(
            f"# unified: {html.escape(self.name)}\n{parameters / 1e6:,.1f} M parameters, "
            f"{len(self.pipe.tasks)} tasks, on {self.pipe.model.device}"
            + ("" if self.pipe.trained else "\n\n**Randomly initialised: its answers mean nothing.**")
        )
        with gr.Row():
            with gr.Column(min_width=280):
                mode = gr.State("task" if first else "free")
                with gr.Row():
                    self.pictures = [
                        Upload(
                            type="filepath", format="png", sources=["upload", "clipboard"], height=280,
                            visible=i == 0, label=f"image {i + 1}", elem_classes="picture", buttons=[],
                        )
                        for i in range(max(most, self.pipe.model.config.max_images))
                    ]  # fmt: skip
                problem = gr.Markdown(visible=False, elem_classes="problem")
                with gr.Tabs(selected="task" if first else "free") as tabs:
                    with gr.Tab("A task", id="task", visible=bool(first)) as task_tab:
                        self.task = gr.Dropdown(list(self.forms), value=first, label="task")
                        self.about = gr.Markdown(elem_classes="about")
                        self.texts = [
                            gr.Textbox(visible=False)
                            for _ in range(max((len(f.texts) for f in forms), default=0))
                        ]
                        self.lists = [
                            gr.Dropdown([], visible=False)
                            for _ in range(max((len(f.lists) for f in forms), default=0))
                        ]
                        with gr.Row():
                            ask_task = gr.Button("Answer", variant="primary")
                            self.fresh = gr.Button("Random toybox scene")
                    with gr.Tab("Your own words", id="free") as free_tab:
                        prompt = gr.Textbox(label="prompt", lines=1, placeholder="What colour is the cube ?")
                        kinds = sorted({task.spec.modality for task in self.pipe.tasks.values()} - {"text"})
                        target = gr.Dropdown(
                            [("text, or what a known prompt asks for", ""), *kinds],
                            value="",
                            label="kind of answer",
                        )
                        with gr.Row():
                            ask_freely = gr.Button("Answer", variant="primary")
                            fresh_free = gr.Button("Random toybox question", visible=bool(self._questions()))
            with gr.Column(min_width=280):
                words = gr.Textbox(
                    label="answer", lines=1, interactive=False, elem_classes="words", buttons=["copy"]
                )
                drawn = gr.Image(
                    label="drawn", show_label=False, format="png", interactive=False, visible=False,
                    elem_classes=["picture", "drawn"],
                    buttons=["download", "fullscreen"],
                )  # fmt: skip
                note = gr.Markdown(elem_classes="note")
                with gr.Accordion("JSON", open=False):
                    data = gr.JSON(show_label=False, open=True, max_height=400)
                with gr.Accordion("Tokens", open=False):
                    tokens = gr.HTML()
        answer = [words, drawn, note, data, tokens]
        slots = [*self.pictures, *self.texts, *self.lists]
        form = [self.task, self.about, self.fresh, *slots]
        # outside of the queue, so that forms are there while it is full; such an event can tell no error
        private: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        model: dict[str, Any] = {"concurrency_limit": self.settings.concurrency, "concurrency_id": "model"}

        asking = [ask_task.click, *(text.submit for text in self.texts)]
        gr.on(asking, told(self.ask_task), [self.task, *slots], answer, api_name="ask_task", **model)
        free = [prompt, target, *self.pictures]
        asking = [ask_freely.click, prompt.submit]
        gr.on(asking, told(self.ask_freely), free, answer, api_name="ask_freely", **model)
        self.task.input(told(self.filled), self.task, form, **private)
        self.fresh.click(told(self.fresh_scene), self.task, form, **private)
        fresh_free.click(told(self.fresh_question), None, free, **private)
        task_tab.select(told(self.to_task), self.task, [mode, *self.pictures], **private)
        free_tab.select(told(self.to_free), self.pictures, [mode, *self.pictures], **private)
        for i, slot in enumerate(self.pictures):
            looked_at = [problem, *self.pictures]
            slot.upload(functools.partial(self.received, i), [mode, *self.pictures], looked_at, **private)
            slot.clear(lambda: gr.update(visible=False), None, problem, **private)
        if self.examples:
            gr.Markdown("### Examples")
            with gr.Row(elem_id="examples"):
                for name, filled in self.examples.items():
                    button = gr.Button(self._question_words(name, filled), size="sm", icon=_icon(filled))  # type: ignore[arg-type]
                    filling = button.click(
                        told(functools.partial(self.example, name)), None, [tabs, mode, *form], **private
                    )
                    filling.success(
                        told(self.ask_task), [self.task, *slots], answer, api_visibility="private", **model
                    )
        if first:
            self.blocks.load(told(functools.partial(self.start, first)), None, form, **private)

    # --------------------------------------------------------------------------------- answers

    def ask_task(self, task: str, *slots: str | None) -> list[Any]:
        """`slots`: a file for each picture, then what stands in the boxes and lists."""
        form, pictures = self._form(task), len(self.pictures)
        words = [*slots[pictures:][: len(form.texts)], *slots[pictures + len(self.texts) :]]
        fields = form.read(slots[:pictures], words, self.settings.limits)
        return self._answer(lambda: self.pipe.task_question(task, (), fields))

    def ask_freely(self, prompt: str, target: str, *pictures: str | None) -> list[Any]:
        images = read_images(pictures, self.settings.limits)
        kind: Any = target or None
        return self._answer(lambda: self.pipe.free_question(prompt, images, kind))

    def _answer(self, question: Callable[[], Question]) -> list[Any]:
        with self._lock:
            begun = time.perf_counter()
            result = self.pipe.answer([question()])[0]
            seconds = time.perf_counter() - begun
        seen = shown(result, self.pipe.processor, seconds)
        drawn = gr.Image(value=seen.picture, visible=seen.picture is not None)
        return [seen.words, drawn, seen.note, seen.data, seen.tokens]

    def _form(self, task: str | None) -> Form:
        if task not in self.forms:
            raise UserError("choose a task first" if task is None else f"this page has no task '{task}'")
        return self.forms[task]

    # ----------------------------------------------------------------------------------- forms

    def filled(self, task: str, filled: Filled | None = None) -> list[Any]:
        """The form of a task: its name, what it is, the button for scenes, and every slot. Without `filled`
        the pictures stay, since the next question is often about the same."""
        form = self._form(task)
        words = {} if filled is None else filled.words

        def picture(blank: Blank) -> dict[str, Any]:
            return {} if filled is None else {"value": filled.pictures.get(blank.name)}

        def text(blank: Blank) -> dict[str, Any]:
            return {"value": words.get(blank.name, ""), "info": blank.hint or None}

        def choice(blank: Blank) -> dict[str, Any]:
            return {"value": words.get(blank.name), "choices": list(blank.choices)}

        return [
            task, form.about, gr.Button(visible=draws_scenes(form)),
            *_slots(self.pictures, form.pictures, picture),
            *_slots(self.texts, form.texts, text),
            *_slots(self.lists, form.lists, choice),
        ]  # fmt: skip

    def start(self, task: str) -> list[Any]:
        return self.filled(task, self.examples.get(task))

    def example(self, task: str) -> list[Any]:
        return [gr.Tabs(selected="task"), "task", *self.filled(task, self.examples[task])]

    def fresh_scene(self, task: str) -> list[Any]:
        form = self._form(task)
        if not draws_scenes(form):
            raise UserError(f"task '{task}' is not of the toybox, which therefore has no scene for it")
        return self.filled(task, scene(form))

    def _questions(self) -> list[str]:
        """Tasks of the built-in world that are asked with one image and words."""
        return [
            name for name, form in self.forms.items()
            if draws_scenes(form) and [b.kind for b in form.pictures] == ["image"]
            and all(b.kind == "text" for b in form.texts)
        ]  # fmt: skip

    def fresh_question(self) -> list[Any]:
        task = random.choice(self._questions())
        filled = scene(self.forms[task])
        pictures = [*filled.pictures.values(), *[None] * (len(self.pictures) - 1)]
        slots = self._free_slots(pictures)
        for slot, picture in zip(slots, pictures, strict=True):
            slot["value"] = picture
        return [self._question_words(task, filled), "", *slots]

    def _question_words(self, task: str, filled: Filled) -> str:
        return words_of(self.pipe.task_question(task, (), {**filled.pictures, **filled.words}).example)

    # -------------------------------------------------------------------------------- pictures

    def to_task(self, task: str) -> list[Any]:
        return ["task", *_slots(self.pictures, self._form(task).pictures, lambda blank: {})]

    def to_free(self, *pictures: str | None) -> list[Any]:
        return ["free", *self._free_slots(pictures)]

    def received(self, i: int, mode: str, *pictures: str | None) -> list[Any]:
        """Picture `i` has come. It is looked at: a bad one goes, and the page says why. A free prompt is
        offered one more."""
        slots = self._free_slots(pictures) if mode == "free" else [gr.update() for _ in pictures]
        try:
            read_images([file if k == i else None for k, file in enumerate(pictures)], self.settings.limits)
        except UserError as error:
            slots[i]["value"] = None
            return [gr.update(value=html.escape(str(error), quote=False), visible=True), *slots]
        return [gr.update(visible=False), *slots]

    def _free_slots(self, pictures: Sequence[Any]) -> list[dict[str, Any]]:
        """One more than are filled, as far as the model takes so many."""
        last = max((i for i, picture in enumerate(pictures) if picture is not None), default=-1)
        shown = min(last + 2, self.pipe.model.config.max_images)
        return [gr.update(visible=i < shown, label=f"image {i + 1}") for i in range(len(pictures))]


def _slots(
    slots: Sequence[Any], blanks: Sequence[Blank], more: Callable[[Blank], dict[str, Any]]
) -> list[Any]:
    """An update for each slot: the first ones stand for `blanks`, the others hide."""
    used = [gr.update(visible=True, label=blank.label, **more(blank)) for blank in blanks]
    return used + [gr.update(visible=False) for _ in slots[len(blanks) :]]


def _icon(filled: Filled) -> dict[str, str] | None:
    """A small copy of the first picture, as gradio describes a file that it need not serve."""
    for picture in filled.pictures.values():
        uri = data_uri(Image(np.asarray(picture.convert("RGB"))), 96)
        return {"path": uri, "url": uri}
    return None
