"""One call from an image and words to a typed answer.

pipe = unified.pipeline("runs/demo")
pipe("refer", image="room.png", phrase="the red cube").value      # Boxes in pixels of room.png
pipe("What is the depth map of the image ?", image="room.png").save("depth.png")
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

from pydantic import ValidationError

from unified.errors import UserError
from unified.evaluation.model_folder import ModelFolder, load_model_folder
from unified.evaluation.predictor import Predictor
from unified.evaluation.samples import words_of
from unified.serving.asking import Asker, Question, to_image
from unified.serving.result import Result
from unified.specs.load import LoadedTask
from unified.specs.schema import FieldType, GenerationSpec
from unified.tokenization.processor import Processor

logger = logging.getLogger(__name__)


def pipeline(
    folder_or_name: str | Path,
    device: str | None = None,
    *,
    dtype: str = "fp32",
    device_map: Any = None,
    strict: bool = False,
    **loading: Any,
) -> Pipeline:
    """Loads the model of a run, a model folder or a shipped model (`toy`) for prompting.

    device: e.g. `cpu`, `cuda:1`; default: an accelerator if there is one.
    dtype: `fp32`, `bf16` or `fp16`, of the weights and the computation.
    device_map: instead of `device`, how accelerate spreads a big model over devices, memory and disk: `auto`,
        or as `from_pretrained` takes it; so are `max_memory`, `offload_folder` beside it.
    strict: answer as the official Unified-IO code does, its quirks included
        (`unified.tokenization.quirks`); for models of its tokenizer set only.

    Raises UserError where there is no such model, or it cannot be read, or has no strict mode.
    """
    return Pipeline(
        load_model_folder(
            folder_or_name, device, dtype=dtype, device_map=device_map, strict=strict, **loading
        )
    )


class Pipeline:
    """Answers prompts, and questions of the tasks that the model was trained on."""

    def __init__(self, loaded: ModelFolder) -> None:
        processor = loaded.processor
        self.folder, self.model, self.trained = loaded.path, loaded.model, loaded.trained
        self._predictor = Predictor(loaded.model, processor)
        self._asker = Asker(loaded.tasks, image_size=processor.image_size, target_size=processor.target_size)

    @property
    def tasks(self) -> dict[str, LoadedTask]:
        """The tasks that the model carries, by name."""
        return self._asker.tasks

    @property
    def processor(self) -> Processor:
        return self._predictor.processor

    def find(self, name: str) -> LoadedTask | None:
        """The task of that name, or whose name ends in it; None where there is none, or several."""
        return self._asker.find(name)

    @overload
    def __call__(
        self, prompt: str, image: Any = None, target: FieldType | None = None,
        generation: Mapping[str, Any] | None = None, **fields: Any,
    ) -> Result: ...  # fmt: skip
    @overload
    def __call__(
        self, prompt: list[str], image: Any = None, target: FieldType | None = None,
        generation: Mapping[str, Any] | None = None, **fields: Any,
    ) -> list[Result]: ...  # fmt: skip
    def __call__(
        self, prompt: str | list[str], image: Any = None, target: FieldType | None = None,
        generation: Mapping[str, Any] | None = None, **fields: Any,
    ) -> Result | list[Result]:  # fmt: skip
        """Answers a prompt in free words, or a task's question where `prompt` is the name of a task.

        A prompt in the words of a known task's prompt follows that task's rules (kind of answer, options,
        ranges); any other is answered with text, or with a `target` if one is named (`boxes`, `depth`, ...).
        `image`: a path, PIL image or array, or a list of them. A list of prompts is answered in batches: then
        `image` is None or a list with what belongs to each prompt, and fields hold for all of them.
        `generation`: keys of a task's section of that name (`num_beams`, `do_sample`, ...) that hold instead
        of the task's. Raises UserError for bad input.
        """
        if isinstance(prompt, list):
            images = [None] * len(prompt) if image is None else image
            if not isinstance(images, list) or len(images) != len(prompt):
                raise UserError(f"{len(prompt)} prompts: give `image` as a list with one entry for each")
            asked = [
                self.question(p, i, target, generation, **fields) for p, i in zip(prompt, images, strict=True)
            ]
            return self.answer(asked)
        return self.answer([self.question(prompt, image, target, generation, **fields)])[0]

    def rank(
        self, prompt: str, answers: Sequence[Any], /, image: Any = None, *, average: bool = False,
        **fields: Any,
    ) -> list[float]:  # fmt: skip
        """The log-probability of each of the given answers: texts, or images (PIL images or arrays);
        `average`: per id or code of the answer. `prompt`, `image` and `fields` as when asked. The likeliest
        answer is the one with the highest."""
        texts = sum(isinstance(answer, str) for answer in answers)
        if not answers or 0 < texts < len(answers):
            raise UserError("answers to rank: give a list of texts, or one of images (PIL images or arrays)")
        question = self.question(prompt, image, **fields)
        options = list(answers) if texts else [to_image(answer) for answer in answers]
        return self._predictor.rank(question.task, question.example, options, average=average)

    def question(
        self, prompt: str, image: Any = None, target: FieldType | None = None,
        generation: Mapping[str, Any] | None = None, **fields: Any,
    ) -> Question:  # fmt: skip
        """What would be asked with these arguments, for `answer`. Raises UserError for bad input."""
        if self.find(prompt) is not None:
            if target is not None:
                raise UserError(f"'{prompt}' is a task, which knows its kind of answer; leave `target` out")
            return self.task_question(prompt, _listed(image), fields, generation)
        if fields:
            raise UserError(
                f"'{prompt}' is no task of this model, so there are no fields to fill ({', '.join(fields)}); "
                f"tasks: {', '.join(self.tasks) or 'none'}"
            )
        return self.free_question(prompt, _listed(image), target, generation)

    def free_question(
        self, prompt: str, images: Sequence[Any] = (), target: FieldType | None = None,
        generation: Mapping[str, Any] | None = None,
    ) -> Question:  # fmt: skip
        """A question in free words, even where they are the name of a task, for `answer`."""
        return self._checked(self._asker.freely(prompt, images, target), generation)

    def task_question(
        self, task: str, images: Sequence[Any], fields: Mapping[str, Any],
        generation: Mapping[str, Any] | None = None,
    ) -> Question:  # fmt: skip
        """The question of a task, for `answer`; fields may have any name."""
        return self._checked(self._asker.task(task, images, fields), generation)

    def task(self, name: str, image: Any = None, **fields: Any) -> Result:
        """Answers the question of a task, given what its prompt and its options need, by field name.

        `name` may be the end of a task's name (`refer` for `toybox_refer`). Places are given as pixels,
        e.g. `box=[[12, 8, 40, 31]]` or `box="12 8 40 31"`. Raises UserError for unknown tasks and missing or
        unreadable fields.
        """
        return self.ask(name, _listed(image), fields)

    def ask(self, task: str, images: Sequence[Any], fields: Mapping[str, Any]) -> Result:
        """As `task`, for fields of any name; an image may be given as the field that it fills, too."""
        return self.answer([self.task_question(task, images, fields)])[0]

    def answer(self, questions: Sequence[Question]) -> list[Result]:
        """The answers, in order; questions that are decoded alike (`way`) share batches, whatever their task
        and words."""
        if questions and not self.trained:
            logger.warning("this model is RANDOMLY INITIALISED: the answer means nothing")
        predictions = self._predictor.predict_each(
            [question.task for question in questions], [q.example for q in questions], scores=True
        )
        return [
            Result(
                prediction.value, words_of(question.example), question.example.images, question.known_as,
                prediction.malformed, prediction.ids, prediction.score, prediction.codes,
            )
            for question, prediction in zip(questions, predictions, strict=True)
        ]  # fmt: skip

    def way(self, question: Question) -> tuple[Any, ...]:
        """What must be equal of questions that are to share a batch."""
        return self._predictor.way(question.task)

    def _checked(self, question: Question, generation: Mapping[str, Any] | None) -> Question:
        count, most = len(question.example.images), self.model.config.max_images
        if count > most:
            raise UserError(f"{count} images given; this model takes at most {most}")
        return _decoded_by(question, generation)

    def __repr__(self) -> str:
        return f"Pipeline({str(self.folder)!r}, {len(self.tasks)} tasks, on {self.model.device})"


def _decoded_by(question: Question, generation: Mapping[str, Any] | None) -> Question:
    if not generation:
        return question
    spec = question.task.spec
    try:
        chosen = GenerationSpec.model_validate({**spec.generation.model_dump(), **generation})
    except ValidationError as error:
        first = error.errors()[0]
        known = ", ".join(GenerationSpec.model_fields)
        raise UserError(
            f"generation: {first['loc'][0]}: {first['msg'].lower()}; its keys are {known}"
        ) from None
    task = LoadedTask.of(spec.model_copy(update={"generation": chosen}), question.task.path)
    return replace(question, task=task)


def _listed(image: Any) -> Sequence[Any]:
    if image is None:
        return ()
    return image if isinstance(image, list | tuple) else (image,)
