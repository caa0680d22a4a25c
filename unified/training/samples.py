"""What the model in training answers to the same few examples: `<run>/samples/<step>/<task>.png`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor

from unified.errors import UserError, did_you_mean
from unified.evaluation.cases import Case, read_cases
from unified.evaluation.plain import describe
from unified.evaluation.predictor import Predictor
from unified.evaluation.report_training import GRIDS
from unified.evaluation.samples import file_name, inputs_of, words_of
from unified.model.configuration import UnifiedConfig
from unified.model.modeling import UnifiedModel
from unified.specs.load import LoadedTask
from unified.training.checkpoints import tag_of
from unified.training.config import RunConfig
from unified.training.launch import Ranks
from unified.values.draw import draw, grid
from unified.values.text_strip import PAPER, Colour, Run, text_strip
from unified.values.types import Image, Label, Number, Text, Texts, Value

if TYPE_CHECKING:
    from unified.tokenization.processor import Processor


WORDS: Colour = (219, 230, 250)
"""Ground of answers in words."""


def sampled_tasks(config: RunConfig, tasks: Sequence[LoadedTask]) -> list[LoadedTask]:
    """The tasks of a run of which samples are drawn: those that the config names, by default all that have
    the split of the evaluation; none where samples are off. Raises UserError where that cannot be."""
    samples, split = config.samples, config.eval.split
    if samples.every_steps is None:
        return []
    known = {task.name: task for task in tasks}
    for name in samples.tasks:
        if name not in known:
            raise UserError(
                f"samples.tasks: the run has no task '{name}'{did_you_mean(name, list(known))}; it has "
                f"{', '.join(known)}"
            )
    chosen = [known[name] for name in samples.tasks] or list(tasks)
    able = [task for task in chosen if task.spec.source and split in task.spec.source.splits]
    absent = [task.name for task in chosen if task not in able]
    if absent and (samples.tasks or not able):
        raise UserError(
            f"samples: no split '{split}' (eval.split) in {', '.join(absent)}; leave them out of "
            "samples.tasks"
        )
    return able


class SampleGrids:
    """Draws on rank 0; the examples are read once. Raises UserError where they cannot be."""

    def __init__(
        self, config: RunConfig, tasks: Sequence[LoadedTask], processor: Processor, shape: UnifiedConfig,
        ranks: Ranks, start_step: int,
    ) -> None:  # fmt: skip
        self.config, self.processor, self.shape, self.ranks = config, processor, shape, ranks
        self.folder = config.folder / GRIDS
        self.cases: dict[str, tuple[LoadedTask, list[Case]]] = {}
        if not ranks.main:
            return
        for old in self.folder.glob("step_*"):  # of a longer run before, which this one does not continue
            if int(old.name.removeprefix("step_")) > start_step:
                shutil.rmtree(old)
        for task in tasks:
            read = read_cases(
                task, config.eval.split, limit=config.samples.per_task, seed=config.seed,
                image_size=processor.image_size, target_size=processor.target_size,
            )  # fmt: skip
            self.cases[task.name] = task, read.cases

    def draw(self, weights: Mapping[str, Tensor], step: int) -> dict[str, Image]:
        """Answers the examples with `weights` and writes a picture a task; returns them by task. Only rank 0
        calls it. Of what training uses, nothing is touched: the weights are a copy, and the random numbers
        that it would have drawn are those it draws."""
        devices = [self.ranks.device] if self.ranks.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            model = UnifiedModel(UnifiedConfig(**self.shape.to_dict()))
            model.load_state_dict(weights)
            model.to(self.ranks.device).eval()
            predictor = Predictor(model, self.processor, batch_size=self.config.samples.per_task)
            found = {}
            for name, (task, cases) in self.cases.items():
                answers = predictor.predict(task, [case.example for case in cases], seed=self.config.seed)
                found[name] = task_grid(task, cases, [answer.value for answer in answers], step)
        folder = self.folder / tag_of(step)
        folder.mkdir(parents=True, exist_ok=True)
        for name, image in found.items():
            Pillow.fromarray(image.pixels).save(folder / f"{file_name(name)}.png")
        return found


def task_grid(task: LoadedTask, cases: Sequence[Case], answers: Sequence[Value], step: int) -> Image:
    """A row an example: its input with the prompt, the target, the prediction; above them the task."""
    metres = task.spec.target.value_range if task.spec.modality == "depth" else None
    cells: list[Image] = []
    for case, answer in zip(cases, answers, strict=True):
        images = inputs_of(case.example)
        first = images[0] if images else Image(np.full((64, 64, 3), PAPER, np.uint8))
        cells.append(_with_prompt(images, words_of(case.example)))
        for name, value in (("target", case.target), ("prediction", answer)):
            if isinstance(value, Text | Texts | Label | Number):
                cells.append(_strip(Run(f"{name}: "), Run(describe(value) or "(no text)", WORDS), width=200))
            else:
                cells.append(draw(value, first, name, value_range=metres))
    sheet = grid(cells, columns=3)
    head = _strip(Run(f"{task.name}, step {step:,}"), width=sheet.size.width)
    return Image(np.concatenate([head.pixels, sheet.pixels]))


def _strip(*runs: Run, width: int = 320) -> Image:
    return Image(np.asarray(text_strip(runs, width)))


def _with_prompt(images: Sequence[Image], prompt: str) -> Image:
    """The input images beside one another, and the prompt below."""
    if len(images) < 2:
        return draw(images[0], images[0], prompt) if images else _strip(Run(prompt))
    beside = grid(images, columns=len(images))
    return draw(beside, beside, prompt)
