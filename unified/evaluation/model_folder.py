"""A model folder: weights, tokenizer set and tasks, as a run exports them to `<run>/model/`."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from unified.errors import UserError, did_you_mean
from unified.specs.load import LoadedTask
from unified.specs.paths import resource

if TYPE_CHECKING:
    from unified.model.configuration import UnifiedConfig
    from unified.model.modeling import UnifiedModel
    from unified.tokenization.processor import Processor
    from unified.tokenization.tokenizer_set import TokenizerSet

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelFolder:
    """What a model folder holds. `trained`: False where it has a configuration but no weights."""

    path: Path
    model: UnifiedModel
    processor: Processor
    tasks: dict[str, LoadedTask] = field(default_factory=dict)
    trained: bool = True


def find_model_folder(name_or_path: str | Path) -> Path:
    """The model folder that is meant: of a run (its `model/`), the folder itself, or a shipped one by name.

    Raises UserError where there is none, saying what is there instead.
    """
    path = Path(name_or_path).expanduser()
    shipped = resource("weights")
    for folder in (path / "model", path, shipped / path):
        if (folder / "config.json").is_file():
            return folder
    known = sorted(p.parent.name for p in shipped.glob("*/config.json"))
    if path.is_dir():
        unfinished = (path / "checkpoints").is_dir()
        why = (
            "its run has not exported a model yet"
            if unfinished
            else "it holds no config.json, nor a model/ with one"
        )
        raise UserError(f"{path}: is no model folder: {why}")
    hint = did_you_mean(str(name_or_path), known)
    raise UserError(
        f"{name_or_path}: there is no such model{hint}; give the folder of a run or of a model, or the name "
        f"of a shipped one ({', '.join(known) or 'none'})"
    )


def load_model_folder(name_or_path: str | Path, device: str | None = None) -> ModelFolder:
    """Everything that a model folder holds, the model in evaluation mode on `device` (default: an
    accelerator if there is one)."""
    import torch
    import transformers
    from safetensors import SafetensorError

    from unified.model.configuration import UnifiedConfig
    from unified.model.modeling import UnifiedModel
    from unified.tokenization.tokenizer_set import TokenizerSet

    folder = find_model_folder(name_or_path)
    where = _device(device)
    try:
        config = UnifiedConfig.from_pretrained(folder)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{folder / 'config.json'}: cannot be read ({str(error).splitlines()[0]})") from None
    if config.model_type != UnifiedConfig.model_type:
        raise UserError(f"{folder}: is a '{config.model_type}' model, not one of unified")
    tokenizers = TokenizerSet.load(folder / "tokenizer") if (folder / "tokenizer").is_dir() else None
    if tokenizers is None:
        raise UserError(f"{folder}: carries no tokenizer set (a folder tokenizer/); export the run again")
    trained = any(folder.glob("*.safetensors"))
    if trained:
        transformers.utils.logging.disable_progress_bar()
        try:
            model = UnifiedModel.from_pretrained(folder, config=config, dtype=torch.float32)
        except (SafetensorError, RuntimeError, OSError, ValueError) as error:
            why = f"cannot be loaded ({str(error).splitlines()[0]}); copy them again"
            if "ignore_mismatched_sizes" in str(error):  # transformers has logged which shapes differ
                why = "have other shapes than its config.json says; copy both from one place"
            raise UserError(f"{folder}: its weights {why}, or export the run again") from error
    else:
        logger.warning(
            "%s: NO WEIGHTS. The model is RANDOMLY INITIALISED and its answers mean nothing.", folder
        )
        model = UnifiedModel(config)
    processor = build_processor(config, tokenizers)
    return ModelFolder(folder, model.to(where).eval(), processor, read_tasks(folder), trained)


def build_processor(config: UnifiedConfig, tokenizers: TokenizerSet) -> Processor:
    """The processor of a model: its image sizes and text lengths, and the vocabulary of a tokenizer set.

    Raises UserError where the set is not the model's.
    """
    from unified.tokenization.processor import Processor

    vocabulary = tokenizers.vocabulary
    sizes = (config.vocab_size, config.image_vocab_size)
    if sizes != (vocabulary.text_size, vocabulary.image_size):
        raise UserError(
            f"tokenizer set '{tokenizers.name}' has {vocabulary.text_size} ids and {vocabulary.image_size} "
            f"image codes, the model {sizes[0]} and {sizes[1]}: they do not belong together"
        )
    return Processor(
        tokenizers,
        image_size=config.image_size,
        patch_size=config.patch_size,
        target_size=config.target_grid * tokenizers.code_cell,
        max_input_length=config.encoder_max_text_length,
        max_target_length=config.decoder_max_text_length,
    )


def read_tasks(folder: Path) -> dict[str, LoadedTask]:
    """The tasks that a model folder carries, by name; none where it has no `tasks/index.json`.

    Paths in them start at the folder where the spec stood, as the index says.
    """
    index = folder / "tasks" / "index.json"
    if not index.is_file():
        return {}
    yaml = YAML(typ="safe", pure=True)
    tasks = {}
    try:
        for name, entry in dict(json.loads(index.read_text())).items():
            resolved = yaml.load((index.parent / entry["file"]).read_text())
            tasks[name] = LoadedTask.from_resolved(resolved, index.parent / entry["folder"])
            if tasks[name].identity != entry["identity"]:
                file, was = index.parent / entry["file"], entry["identity"]
                logger.warning("%s: is %s, but the model was trained on %s", file, tasks[name].identity, was)
    except (OSError, ValueError, KeyError, TypeError, YAMLError) as error:
        why = " ".join(str(error).split("\n")[:3])
        raise UserError(f"{index.parent}: its tasks cannot be read ({why}); export the run again") from None
    return tasks


def _device(wanted: str | None) -> str:
    import torch

    if wanted is None:
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device '{wanted}' cannot be used: {str(error).splitlines()[0]}") from None
    return wanted
