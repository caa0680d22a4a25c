"""From examples to typed answers: batches, legal ids, ranking, decoding of image codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unified.data.collate import collate
from unified.specs.example import Example
from unified.specs.load import LoadedTask
from unified.tokenization.grammar import GrammarProcessor
from unified.tokenization.pixels import grid_mask, target_pixels
from unified.tokenization.processor import Encoded, Processor
from unified.values.geometry import Geometry
from unified.values.types import DENSE_TYPES, Image, Value

if TYPE_CHECKING:
    from unified.model.modeling import UnifiedModel

ENCODER_INPUTS = ("input_ids", "images", "patch_mask")
CHUNK = 512
"""Options that stand in memory at once for each example of a batch."""


@dataclass(frozen=True)
class Prediction:
    """An answer in the source frame. `ids`: what was generated, without start and end; `malformed`: it was no
    whole answer of its kind. `codes`: of a painted image. `score`: log-probability of a ranked option, or,
    where asked for, of a text or image that was not sampled. `option_scores`: (options,) that of every
    option, where options are ranked."""

    value: Value
    malformed: bool = False
    ids: tuple[int, ...] = ()
    codes: tuple[int, ...] = ()
    score: float | None = None
    option_scores: npt.NDArray[np.float32] | None = field(default=None, compare=False)


class Predictor:
    """Answers examples in batches of one way of decoding and like length, on the model's device."""

    def __init__(self, model: UnifiedModel, processor: Processor, *, batch_size: int = 32) -> None:
        self.model, self.processor, self.batch_size = model, processor, batch_size
        self._shared: tuple[tuple[str, ...], list[list[int]]] = ((), [])

    def predict(
        self,
        task: LoadedTask,
        examples: Sequence[Example],
        *,
        seed: int = 0,
        scores: bool = False,
        on_progress: Callable[[int], None] | None = None,
    ) -> list[Prediction]:
        """`predict_each` for examples of one task."""
        return self.predict_each(
            [task] * len(examples), examples, seed=seed, scores=scores, on_progress=on_progress
        )

    @torch.inference_mode()
    def predict_each(
        self,
        tasks: Sequence[LoadedTask],
        examples: Sequence[Example],
        *,
        seed: int = 0,
        scores: bool = False,
        on_progress: Callable[[int], None] | None = None,
    ) -> list[Prediction]:
        """One prediction an example, in order; `tasks` are those of the examples, of which those that decode
        alike share a batch. The true answers in the examples are not looked at. `seed` is that of sampled
        generation; `scores` asks for those of answers that are generated, too (one more pass of the
        decoder); `on_progress` is told how many are done."""
        torch.manual_seed(seed)
        # The answer is unknown when a model is asked, so it does not reach the encoding either.
        asked = [replace(example, target=()) for example in examples]
        encoded = [self.processor.encode(e, task) for e, task in zip(asked, tasks, strict=True)]
        out: dict[int, Prediction] = {}
        for rows in self._batches(tasks, encoded):
            answers = self._answer(
                [tasks[i] for i in rows], [asked[i] for i in rows], [encoded[i] for i in rows], scores
            )
            out |= dict(zip(rows, answers, strict=True))
            if on_progress is not None:
                on_progress(len(out))
        return [out[i] for i in range(len(examples))]

    def way(self, task: LoadedTask) -> tuple[Any, ...]:
        """How a task's answers are decoded: tasks that are equal in it can be answered in one batch."""
        spec = task.spec
        if spec.modality in DENSE_TYPES:
            return "paint", *_knobs(task).items()
        if spec.options is not None and spec.options.decode == "rank":
            return ("rank",)
        most = self.processor.max_text_tokens(task)
        return "write", spec.generation.constrain, most, *_knobs(task).items()

    def _batches(self, tasks: Sequence[LoadedTask], encoded: Sequence[Encoded]) -> Iterator[list[int]]:
        """Indices of rows of one way, with about the same number of images and ids."""
        ways: dict[tuple[Any, ...], list[int]] = {}
        for i, task in enumerate(tasks):
            ways.setdefault(self.way(task), []).append(i)
        for rows in ways.values():
            rows.sort(key=lambda i: (len(encoded[i].images), len(encoded[i].input_ids)))
            for start in range(0, len(rows), self.batch_size):
                yield rows[start : start + self.batch_size]

    @torch.inference_mode()
    def rank(
        self,
        task: LoadedTask,
        example: Example,
        options: Sequence[str] | Sequence[Image],
        *,
        average: bool = False,
    ) -> list[float]:
        """The log-probability of each of the given answers to an example, all texts or all images; `average`:
        per id or code. The padding of an image that is not square does not count."""
        asked = replace(example, target=())
        memory = self.model.encode(**self._inputs([self.processor.encode(asked, task)]))
        texts = [option for option in options if isinstance(option, str)]
        if len(texts) == len(options):
            ids = self._option_ids(texts)
            total = self._score_texts([ids], memory)[0]
            return (total / torch.tensor([len(row) for row in ids]) if average else total).tolist()
        pixels, masks = [], []
        for image in (option for option in options if isinstance(option, Image)):
            geometry = Geometry.resize_pad(image.size, self.processor.target_size)
            made, known = target_pixels(image, geometry, None)
            pixels.append(made.astype(np.float32))
            masks.append(grid_mask(known, self.processor.tokenizers.code_cell))
        tokenizer = self._image_tokenizer()
        batches = torch.from_numpy(np.stack(pixels)).split(self.batch_size)
        codes = torch.cat([tokenizer.encode(batch.to(self.model.device)) for batch in batches])
        scores = self.model.rank_images(
            codes[None],
            torch.from_numpy(np.stack(masks)).to(codes.device)[None],
            encoder_outputs=memory,
            raw_context=self.processor.quirks.raw_image_context,
        )
        total = scores[0].cpu()
        return (total / torch.tensor([mask.sum() for mask in masks]) if average else total).tolist()

    def _answer(
        self, tasks: Sequence[LoadedTask], examples: Sequence[Example], encoded: Sequence[Encoded],
        scores: bool,
    ) -> list[Prediction]:  # fmt: skip
        """Of tasks that are decoded in the same way."""
        memory = self.model.encode(**self._inputs(encoded))
        way = self.way(tasks[0])[0]
        if way == "paint":
            return self._paint(tasks, examples, memory, scores)
        if way == "rank":
            return self._rank(tasks, examples, memory)
        return self._write(tasks, examples, memory, scores)

    def _inputs(self, encoded: Sequence[Encoded]) -> dict[str, Tensor]:
        inputs = collate(encoded).to(self.model.device).inputs
        inputs = {name: inputs[name] for name in ENCODER_INPUTS if name in inputs}
        if self.model.config.image_input == "codes" and "images" in inputs:
            images = inputs.pop("images")
            codes = self._image_tokenizer().encode(images.flatten(0, 1))
            inputs["image_codes"] = codes.unflatten(0, images.shape[:2])
        return inputs

    def _image_tokenizer(self) -> Any:
        return self.processor.tokenizers.image.to(self.model.device)

    # ------------------------------------------------------------------ text and locations

    def _write(
        self, tasks: Sequence[LoadedTask], examples: Sequence[Example], memory: Any, scores: bool
    ) -> list[Prediction]:
        """Generation of text and locations."""
        first, quirks = tasks[0], self.processor.quirks
        processors = []
        if first.spec.generation.constrain and not quirks.unconstrained:
            grammars = [self.processor.grammar(t, e) for t, e in zip(tasks, examples, strict=True)]
            processors = [GrammarProcessor(grammars)]
        most = self.processor.max_text_tokens(first)
        out = self.model.generate(
            encoder_outputs=memory, max_new_tokens=most, logits_processor=processors, **_knobs(first),
            **({"eos_token_id": None} if quirks.scores_run_on else {}),
        )  # fmt: skip
        told: list[float | None] = [None] * len(examples)
        if scores and not first.spec.generation.do_sample:
            told = list(self._written_scores(out, memory))
        eos = self.processor.tokenizers.vocabulary.eos_id
        predictions = []
        for row, task, example, score in zip(out[:, 1:].tolist(), tasks, examples, told, strict=True):
            ids = row[: row.index(eos)] if eos in row else row
            predictions.append(replace(self._read(task, ids, None, example), score=score))
        return predictions

    def _written_scores(self, sequences: Tensor, memory: Any) -> list[float]:
        """Summed log-probabilities of generated sequences (B, L), up to their end; in strict mode of all of
        their ids, and of the best first code of an image after them."""
        config, targets = self.model.config, sequences[:, 1:]
        inputs = sequences[:, :-1]
        run_on = self.processor.quirks.scores_run_on
        if run_on:
            inputs = torch.nn.functional.pad(inputs, (0, 1), value=config.image_start_id)
        logits = self.model(encoder_outputs=memory, decoder_input_ids=inputs).logits.float().log_softmax(-1)
        picked = logits[:, : targets.shape[1]].gather(2, targets[..., None])[..., 0]
        if run_on:
            return (picked.sum(1) + logits[:, -1].amax(-1)).tolist()
        ended = (targets == config.eos_token_id).cumsum(1)
        before = ended - (targets == config.eos_token_id).long() == 0
        return picked.masked_fill(~before, 0.0).sum(1).tolist()

    def _rank(
        self, tasks: Sequence[LoadedTask], examples: Sequence[Example], memory: Any
    ) -> list[Prediction]:
        """The option of the highest probability. Options that all examples share are tokenised once."""
        first = examples[0].options or ()
        if all(example.options == examples[0].options for example in examples):
            answers = [self._shared_ids(first)] * len(examples)
            scores = self._score_shared(answers[0], memory, len(examples))
        else:
            answers = [self._option_ids(example.options or ()) for example in examples]
            scores = self._score_texts(answers, memory)
        best = scores.argmax(1).tolist()
        ends = self.processor.quirks.option_ends
        return [
            replace(
                self._read(task, row[b][:-ends], None, example),
                score=float(score[b]),
                option_scores=score[: len(row)].float().numpy(),
            )
            for row, b, score, task, example in zip(answers, best, scores, tasks, examples, strict=True)
        ]

    def _shared_ids(self, options: tuple[str, ...]) -> list[list[int]]:
        if self._shared[0] != options:
            self._shared = (options, self._option_ids(options))
        return self._shared[1]

    def _option_ids(self, options: Sequence[str]) -> list[list[int]]:
        ends = [self.processor.tokenizers.vocabulary.eos_id] * self.processor.quirks.option_ends
        return [[*self.processor.encode_text(option), *ends] for option in options]

    def _score_texts(self, answers: Sequence[Sequence[Sequence[int]]], memory: Any) -> Tensor:
        """Log-probabilities (B, most options) of the ids of each example's options; minus infinity where
        there is none."""
        longest = max(len(ids) for row in answers for ids in row)
        options = torch.zeros(len(answers), max(map(len, answers)), longest, dtype=torch.long)
        for i, row in enumerate(answers):
            for j, ids in enumerate(row):
                options[i, j, : len(ids)] = torch.tensor(ids)
        return self.model.rank_options(options.to(self.model.device), encoder_outputs=memory).cpu()

    def _score_shared(self, ids: Sequence[Sequence[int]], memory: Any, batch: int) -> Tensor:
        """Log-probabilities (B, options) of the same options for every example. Different ones are scored
        once, in chunks of about the same length."""
        unique = sorted(set(map(tuple, ids)), key=lambda option: (len(option), option))
        scores = []
        for start in range(0, len(unique), CHUNK):
            part = [torch.tensor(option) for option in unique[start : start + CHUNK]]
            options = torch.nn.utils.rnn.pad_sequence(part, batch_first=True).to(self.model.device)
            options = options.expand(batch, *options.shape)
            scores.append(self.model.rank_options(options, encoder_outputs=memory).cpu())
        places = {option: i for i, option in enumerate(unique)}
        return torch.cat(scores, 1)[:, [places[tuple(option)] for option in ids]]

    # --------------------------------------------------------------------------- images

    def _paint(
        self, tasks: Sequence[LoadedTask], examples: Sequence[Example], memory: Any, scores: bool
    ) -> list[Prediction]:
        """Generation of image codes, and their pixels. After the image's start the model scores image codes
        alone, so a fixed number of steps is all the constraint there is."""
        config = self.model.config
        start = torch.tensor(
            [[config.decoder_start_token_id, config.image_start_id]], device=self.model.device
        )
        out = self.model.generate(
            encoder_outputs=memory, decoder_input_ids=start.repeat(len(examples), 1),
            max_new_tokens=config.target_tokens, **_knobs(tasks[0]),
        )  # fmt: skip
        codes = out[:, 2:] - config.vocab_size
        pixels = self._image_tokenizer().decode(codes).cpu().numpy()
        told: list[float | None] = [None] * len(examples)
        if scores and not tasks[0].spec.generation.do_sample:
            told = list(self._painted_scores(codes, memory))
        return [
            replace(self._read(task, [], image, example), codes=tuple(row), score=score)
            for image, task, example, row, score in zip(
                pixels, tasks, examples, codes.tolist(), told, strict=True
            )
        ]

    def _painted_scores(self, codes: Tensor, memory: Any) -> list[float]:
        """Summed log-probabilities of generated codes (B, n); in strict mode with that of the best id of a
        text before them."""
        scores = self.model.rank_images(codes[:, None], encoder_outputs=memory)[:, 0]
        if self.processor.quirks.scores_run_on:
            start = torch.full_like(codes[:, :1], self.model.config.decoder_start_token_id)
            logits = self.model(encoder_outputs=memory, decoder_input_ids=start).logits[:, -1].float()
            scores = scores + logits.log_softmax(-1).amax(-1)
        return scores.tolist()

    def _read(self, task: LoadedTask, ids: Sequence[int], pixels: Any, example: Example) -> Prediction:
        value, malformed = self.processor.decode(task, ids, pixels, example)
        return Prediction(value, malformed, tuple(ids))


def _knobs(task: LoadedTask) -> dict[str, Any]:
    """The task's way of decoding, as keywords of `generate`."""
    spec = task.spec.generation
    knobs: dict[str, Any] = {"num_beams": spec.num_beams, "do_sample": spec.do_sample}
    if spec.do_sample:
        knobs |= {"temperature": spec.temperature, "top_p": spec.top_p, "top_k": spec.top_k}
    if spec.guidance_scale > 1:
        knobs["guidance_scale"] = spec.guidance_scale
    return knobs


def through_tokenizers(
    processor: Processor, task: LoadedTask, examples: Sequence[Example], *, device: Any, batch_size: int = 32
) -> list[Value]:
    """The true answers, tokenised, cut to the length that fits and read back: what a perfect model would be
    scored for."""
    values: list[Value] = []
    for start in range(0, len(examples), batch_size):
        part = examples[start : start + batch_size]
        targets = [example.target for example in part]
        if task.spec.modality in DENSE_TYPES:
            spec = task.spec.target
            images = [
                target_pixels(t, e.target_geometry, spec.value_range, spec.palette)[0]  # type: ignore[arg-type]
                for t, e in zip(targets, part, strict=True)
            ]
            tokenizer = processor.tokenizers.image.to(device)
            with torch.inference_mode():
                codes = tokenizer.encode(torch.from_numpy(np.stack(images)).to(device))
                pixels = tokenizer.decode(codes).cpu().numpy()
            values += [processor.decode(task, [], p, e)[0] for p, e in zip(pixels, part, strict=True)]
        else:
            room = processor.max_text_tokens(task) - 1
            rows = [
                processor.text_ids(t, next(iter(e.geometries), None))[:room]  # type: ignore[arg-type]
                for t, e in zip(targets, part, strict=True)
            ]
            values += [processor.decode(task, row, None, e)[0] for row, e in zip(rows, part, strict=True)]
    return values
