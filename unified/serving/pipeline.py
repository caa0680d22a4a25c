"""One call from an image and words to a typed answer.

pipe = unified.pipeline("runs/demo")
pipe("refer", image="room.png", phrase="the red cube").value      # Boxes in pixels of room.png
pipe("What is the depth map of the image ?", image="room.png").save("depth.png")
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unified.errors import UserError
from unified.evaluation.model_folder import ModelFolder, load_model_folder
from unified.evaluation.predictor import Predictor
from unified.evaluation.samples import words_of
from unified.serving.asking import Asker, Question
from unified.serving.result import Result
from unified.specs.load import LoadedTask
from unified.specs.schema import FieldType

logger = logging.getLogger(__name__)


def pipeline(folder_or_name: str | Path, device: str | None = None) -> Pipeline:
    """Loads the model of a run, a model folder or a shipped model (`toy`) for prompting.

    `device`: e.g. `cpu`, `cuda:1`; default: an accelerator if there is one. Raises UserError where there is
    no such model, or it cannot be read.
    """
    return Pipeline(load_model_folder(folder_or_name, device))


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

    def __call__(
        self, prompt: str, image: Any = None, target: FieldType | None = None, **fields: Any
    ) -> Result:
        """Answers a prompt in free words, or a task's question where `prompt` is the name of a task.

        A prompt in the words of a known task's prompt follows that task's rules (kind of answer, options,
        ranges); any other is answered with text, or with a `target` if one is named (`boxes`, `depth`, ...).
        `image`: a path, PIL image or array, or a list of them. Raises UserError for bad input.
        """
        if self._asker.find(prompt) is not None:
            if target is not None:
                raise UserError(f"'{prompt}' is a task, which knows its kind of answer; leave `target` out")
            return self.task(prompt, image, **fields)
        if fields:
            raise UserError(
                f"'{prompt}' is no task of this model, so there are no fields to fill ({', '.join(fields)}); "
                f"tasks: {', '.join(self.tasks) or 'none'}"
            )
        return self._answer(self._asker.freely(prompt, _listed(image), target))

    def task(self, name: str, image: Any = None, **fields: Any) -> Result:
        """Answers the question of a task, given what its prompt and its options need, by field name.

        `name` may be the end of a task's name (`refer` for `toybox_refer`). Places are given as pixels,
        e.g. `box=[[12, 8, 40, 31]]` or `box="12 8 40 31"`. Raises UserError for unknown tasks and missing or
        unreadable fields.
        """
        return self.ask(name, _listed(image), fields)

    def ask(self, task: str, images: Sequence[Any], fields: Mapping[str, Any]) -> Result:
        """As `task`, for fields of any name; an image may be given as the field that it fills, too."""
        return self._answer(self._asker.task(task, images, fields))

    def _answer(self, question: Question) -> Result:
        example = question.example
        most = self.model.config.max_images
        if len(example.images) > most:
            raise UserError(f"{len(example.images)} images given; this model takes at most {most}")
        if not self.trained:
            logger.warning("this model is RANDOMLY INITIALISED: the answer means nothing")
        prediction = self._predictor.predict(question.task, [example])[0]
        return Result(
            prediction.value,
            words_of(example),
            example.images,
            question.known_as,
            prediction.malformed,
        )

    def __repr__(self) -> str:
        return f"Pipeline({str(self.folder)!r}, {len(self.tasks)} tasks, on {self.model.device})"


def _listed(image: Any) -> Sequence[Any]:
    if image is None:
        return ()
    return image if isinstance(image, list | tuple) else (image,)
