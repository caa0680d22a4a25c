"""The parts of a run, built from its config."""

from __future__ import annotations

import inspect
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from unified.data.code_cache import CachedCodes, open_codes, why_not
from unified.data.dataset import TaskData
from unified.devices import computes_bf16
from unified.errors import UserError, did_you_mean, file_error
from unified.evaluation.model_folder import find_model_folder, read_config, read_weights
from unified.model import initialisation
from unified.model.configuration import UnifiedConfig
from unified.model.modeling import UnifiedModel
from unified.sources.open import open_source
from unified.specs.load import LoadedMixture, LoadedTask, MixtureTask, list_tasks, load_mixture, load_task
from unified.specs.schema import MixtureEntry, MixtureSpec
from unified.tokenization.tokenizer_set import TokenizerSet, require_same
from unified.training.config import EngineConfig, RunConfig
from unified.training.launch import Ranks
from unified.values.types import DENSE_TYPES

TOKENIZER = "tokenizer"
"""Folder of the tokenizer set within a model folder."""


def load_tasks(config: RunConfig) -> LoadedMixture:
    """The mixture of a run. A list of tasks becomes one in which all are sampled equally often."""
    if config.mixture is not None:
        return load_mixture(config.mixture)
    tasks: dict[str, LoadedTask] = {}
    for wanted in config.tasks:
        kind, _, tag = wanted.partition(":")
        found = _tagged(tag) if kind == "tag" and tag else [load_task(wanted)]
        tasks |= {task.name: task for task in found}
    spec = MixtureSpec(mixture="tasks", tasks=[MixtureEntry(task=name) for name in tasks])
    return LoadedMixture(spec, config.folder, [MixtureTask(task) for task in tasks.values()])


def _tagged(tag: str) -> list[LoadedTask]:
    tasks = [task for path in list_tasks() if (task := load_task(path)).spec.source is not None]
    known = sorted({t for task in tasks for t in task.spec.tags})
    if tag not in known:
        raise UserError(f"tasks: no task has the tag '{tag}'{did_you_mean(tag, known)}")
    return [task for task in tasks if tag in task.spec.tags]


def make_folder(config: RunConfig) -> None:
    """The run's folder, made if it is not there. Raises UserError where nothing can be written into it: now,
    not when there is something to lose."""
    try:
        config.folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=config.folder).close()
    except OSError as error:
        error.filename = str(config.folder)
        raise UserError(f"run: {file_error(error)}") from None


def check_evaluation(config: RunConfig, tasks: list[LoadedTask]) -> None:
    """Raises UserError where the evaluation that the config asks for has nothing to read."""
    split = config.eval.split
    if not config.eval.at_end and not config.eval.every_steps:
        return
    chosen = [task for task in tasks if task.spec.source and split in task.spec.source.splits]
    if not chosen:
        known = sorted({name for task in tasks if task.spec.source for name in task.spec.source.splits})
        hint = did_you_mean(split, known) or f"; there are {', '.join(known)}"
        raise UserError(f"eval.split: no task has a split '{split}'{hint}")
    for task in chosen:
        open_source(task, split)


def rows_to_learn(data: TaskData, overfit: int | None) -> int:
    """How many rows of a task the run draws from: all, or the first `overfit`."""
    if overfit is None:
        return len(data.source)
    if data.streamed:
        raise UserError(f"data.overfit: the rows of {data.task.name} are a stream, which has no first rows")
    return min(len(data.source), overfit)


def load_tokenizers(config: RunConfig) -> TokenizerSet:
    """The set that the config names, which must be that of `init`; by default that of `init`."""
    carried = None
    if config.init is not None:
        folder = find_model_folder(config.init) / TOKENIZER
        if folder.is_dir():
            carried = TokenizerSet.load(folder)
    if config.tokenizer is None:
        if carried is None:
            raise UserError(
                f"tokenizer: the weights '{config.init}' carry no tokenizer set; name the one they belong to"
            )
        return carried
    named = TokenizerSet.load(config.tokenizer)
    if carried is not None:
        require_same(carried.hash, named.hash, f"init '{config.init}'")
    return named


def model_shape(config: RunConfig, tokenizers: TokenizerSet) -> UnifiedConfig:
    """The configuration of a run's model, without its weights. Raises UserError for overrides that it does
    not take, and where it and the tokenizer set do not belong together."""
    vocabulary = tokenizers.vocabulary
    sizes = {"vocab_size": vocabulary.text_size, "image_vocab_size": vocabulary.image_size}
    changes = _known_fields(config.model.overrides)
    for name, value in sizes.items():
        if changes.get(name, value) != value:
            raise UserError(
                f"model.overrides.{name}: is {value} with the tokenizer set '{tokenizers.name}'; leave it out"
            )
    if config.init is None:
        assert config.model.size is not None
        return UnifiedConfig.of_size(config.model.size, **(changes | sizes))
    folder = find_model_folder(config.init)
    shape = read_config(folder)
    for name, value in sizes.items():
        if getattr(shape, name) != value:
            raise UserError(
                f"{folder}: its model has {name} {getattr(shape, name)}, but the tokenizer set "
                f"'{tokenizers.name}' has {value}"
            )
    return UnifiedConfig(**(shape.to_dict() | changes))


def build_model(config: RunConfig, tokenizers: TokenizerSet) -> UnifiedModel:
    """The model with the weights of `init`, or random ones from the run's seed; float32, on the CPU."""
    torch.manual_seed(config.seed)
    shape = model_shape(config, tokenizers)
    if config.init is None:
        try:
            return UnifiedModel(shape)
        except RuntimeError as error:
            if "memory" not in str(error):
                raise
            raise UserError(
                "model: the memory of this machine does not hold it; choose a smaller one"
            ) from error
    try:
        return read_weights(find_model_folder(config.init), shape)
    except UserError as error:
        if not config.model.overrides:
            raise
        raise UserError(
            f"{error}. Perhaps they do not fit model.overrides {config.model.overrides}; keep to changes "
            "like dropout, or train from random weights (init=null model.size=...)"
        ) from error


def settle_precision(config: RunConfig, ranks: Ranks) -> RunConfig:
    """The config with `engine.precision: auto` replaced by what all ranks compute fast."""
    if config.engine.precision != "auto":
        return config
    able = ranks.sum(torch.tensor([float(computes_bf16(ranks.device))])).item()
    return with_precision(config, "autocast_bf16" if able == ranks.world else "fp32")


def with_precision(config: RunConfig, precision: str) -> RunConfig:
    """The config with another `engine.precision`, the rest unchanged."""
    engine = config.engine.model_copy(update={"precision": precision})
    return config.model_copy(update={"engine": engine})


def device_text(config: RunConfig, ranks: Ranks) -> str:
    """Where a run computes, and a warning where it asks for a precision that this device has to emulate."""
    text = f"device {ranks.device}, {torch.get_num_threads()} thread(s) a rank"
    if "bf16" in config.engine.precision and not computes_bf16(ranks.device):
        text += (
            f"\nwarning: engine.precision {config.engine.precision}: this device has no bfloat16 in hardware "
            "and is many times slower with it; set `auto` or `fp32`"
        )
    return text


def choose_kernels(model: UnifiedModel, engine: EngineConfig) -> None:
    """Attention and compilation as the config says. Raises UserError for what this machine cannot do."""
    if engine.attention == "flex":
        if not torch.cuda.is_available():
            raise UserError("engine.attention: flex needs a GPU, and there is none; set sdpa")
        model.set_attn_implementation("flex_attention")
    if engine.compile:
        if not torch.cuda.is_available() and shutil.which(os.environ.get("CXX", "g++")) is None:
            raise UserError(
                "engine.compile: needs a C++ compiler (g++), and there is none; install it or set false"
            )
        for layer in (*model.encoder.layers, *model.decoder.layers):
            layer.compile(dynamic=True)  # rows and their lengths differ from batch to batch


def _known_fields(overrides: dict[str, Any]) -> dict[str, Any]:
    """Hugging Face's configurations take any keyword, so a misspelt one would do nothing."""
    known = [p for p in inspect.signature(UnifiedConfig.__init__).parameters if p not in ("self", "kwargs")]
    for name in overrides:
        if name not in known:
            raise UserError(f"model.overrides: unknown field '{name}'{did_you_mean(name, known)}")
    return dict(overrides)


def image_tokenizer(mixture: LoadedMixture, model: UnifiedConfig, tokenizers: TokenizerSet) -> Any:
    """The VQModel where a task's answer is a picture or the model reads codes, else None: its weights need
    not be there then.

    Raises UserError where the codes of an input picture are not the model's patches.
    """
    reads = model.image_input == "codes"
    if reads and model.patch_size != tokenizers.code_cell:
        raise UserError(
            f"model.overrides.image_input: a code of the tokenizer set '{tokenizers.name}' stands for "
            f"{tokenizers.code_cell} pixels a side, so patch_size must be that, not {model.patch_size}"
        )
    if not reads and not any(entry.task.spec.modality in DENSE_TYPES for entry in mixture.entries):
        return None
    return tokenizers.image


def cached_codes(
    config: RunConfig, tasks: list[TaskData], tokenizers: TokenizerSet, side: int
) -> dict[str, CachedCodes]:
    """The codes that `data.cache` names, by task name; none without it. `side`: pixels of the pictures that
    the model makes. Raises UserError where a task that could have them has none there."""
    if config.data.cache is None:
        return {}
    given = f"--tokenizer {config.tokenizer}" if config.tokenizer else f"--model {config.init}"
    return open_codes(Path(config.data.cache).expanduser(), tasks, "train", tokenizers, side, given)


def where_codes_come_from(config: RunConfig, tasks: list[TaskData], codes: dict[str, CachedCodes]) -> str:
    """Which picture answers have cached codes, and why others have none."""
    if config.data.cache is None:
        return "image codes: made as they are needed (data.cache: null)"
    lines = [f"image codes: of {len(codes)} task(s) from {config.data.cache}"]
    for data in tasks:
        if data.task.name not in codes and data.task.spec.modality in DENSE_TYPES:
            lines.append(f"  made as they are needed: {data.task.name} ({why_not(data)})")
    return "\n".join(lines)


def relate_embeddings(model: UnifiedModel, tokenizers: TokenizerSet, image_tokenizer: Any) -> None:
    """Gives a new model's embeddings the geometry of the tokenizers' ids."""
    location = tokenizers.vocabulary.location
    codebook = None if image_tokenizer is None else image_tokenizer.codebook
    initialisation.relate_embeddings(model, range(location.start, location.stop), codebook)


def batch_arithmetic(config: RunConfig, world: int, micro_batch: int, tasks: list[TaskData]) -> str:
    """How a step's examples are divided, and how many the run consumes."""
    size = config.data.batch_size
    line = (
        f"{size} examples a step = {world} rank(s) x {size // (micro_batch * world)} micro-batch(es) x "
        f"{micro_batch} examples"
    )
    if config.optim.steps:
        line += f"; {config.optim.steps:,} steps = {config.optim.steps * size:,} examples"
    if config.optim.minutes:
        line += f"; at most {config.optim.minutes:g} minutes"
    return f"{line}; {len(tasks)} task(s)"
