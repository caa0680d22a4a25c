"""A model folder: weights, tokenizer set and tasks, as a run exports them to `<run>/model/`."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from unified.errors import UserError, did_you_mean
from unified.specs.load import LoadedTask, to_yaml
from unified.specs.paths import resource

if TYPE_CHECKING:
    from unified.model.configuration import UnifiedConfig
    from unified.model.modeling import UnifiedModel
    from unified.tokenization.processor import Processor
    from unified.tokenization.tokenizer_set import TokenizerSet

logger = logging.getLogger(__name__)

TOKENIZER = "tokenizer"
"""Folder of a model folder: its tokenizer set."""
HISTORY = "history.json"
"""File of a model folder: the runs that made the weights, the first one first, each with its `command`."""


DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""Names of the types that a model runs in -> torch's."""


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
            "its run has not exported a model yet; let it finish, or end it now with optim.steps=1"
            if unfinished
            else "it holds no config.json, nor a model/ with one"
        )
        raise UserError(f"{path}: is no model folder: {why}")
    hint = did_you_mean(str(name_or_path), known)
    raise UserError(
        f"{name_or_path}: there is no such model{hint}; give the folder of a run or of a model, or the name "
        f"of a shipped one ({', '.join(known) or 'none'})"
    )


def _room_for_a_copy(model: UnifiedModel) -> bool:
    """Whether a second decoder takes less than half of the free memory."""
    import psutil

    weights = [*model.decoder.parameters(), *model.token_embedder.parameters()]
    return 2 * sum(w.nbytes for w in weights) < psutil.virtual_memory().available


def load_model_folder(
    name_or_path: str | Path,
    device: str | None = None,
    *,
    dtype: str = "fp32",
    device_map: Any = None,
    strict: bool = False,
    **loading: Any,
) -> ModelFolder:
    """Everything that a model folder holds, the model in evaluation mode on `device` (default: an
    accelerator if there is one).

    dtype: of the weights and the computation, one of `DTYPES`.
    device_map: instead of `device`, how accelerate spreads a big model over devices, memory and disk (`auto`,
        or as `from_pretrained` takes it, like the further keywords `max_memory` and `offload_folder`).
    strict: the processor has the quirks of the official code.
    """
    import torch

    from unified.model.modeling import UnifiedModel

    folder = find_model_folder(name_or_path)
    if dtype not in DTYPES:
        raise UserError(
            f"dtype '{dtype}': no such type{did_you_mean(dtype, list(DTYPES))}; there are {', '.join(DTYPES)}"
        )
    if device_map is not None and device is not None:
        raise UserError(f"device '{device}' and device_map '{device_map}' are both given; leave one out")
    if loading and device_map is None:
        raise UserError(f"{', '.join(loading)}: only together with device_map")
    where = None if device_map is not None else _device(device)
    config = read_config(folder)
    tokenizers = read_tokenizers(folder)
    trained = any(folder.glob("*.safetensors"))
    if trained:
        model: Any = read_weights(folder, config, dtype=dtype, device_map=device_map, **loading)
    else:
        logger.warning(
            "%s: NO WEIGHTS. The model is RANDOMLY INITIALISED and its answers mean nothing.", folder
        )
        model = UnifiedModel(config).to(getattr(torch, DTYPES[dtype]))
    processor = build_processor(config, tokenizers, strict=strict)
    if where is not None:
        model = model.to(where)
        if _room_for_a_copy(model):
            model.prepare_for_decoding()
    return ModelFolder(folder, model.eval(), processor, read_tasks(folder), trained)


def read_config(folder: Path) -> UnifiedConfig:
    """The configuration of a model folder. Raises UserError where it cannot be read or is another model's."""
    from unified.model.configuration import UnifiedConfig

    path = folder / "config.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        kind = data.get("model_type", UnifiedConfig.model_type)
        if kind != UnifiedConfig.model_type:
            raise UserError(f"{path}: is a '{kind}' model, not one of unified")
        return UnifiedConfig.from_pretrained(folder)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None


def read_tokenizers(folder: Path) -> TokenizerSet:
    """The tokenizer set that a model folder carries. Raises UserError where there is none."""
    from unified.tokenization.tokenizer_set import FILE, TokenizerSet

    own = folder / TOKENIZER
    if not own.is_dir():
        raise UserError(f"{folder}: carries no tokenizer set (a folder {TOKENIZER}/); export the run again")
    if not (own / FILE).is_file():
        raise UserError(
            f"{own}: is no whole tokenizer set, it holds no {FILE}. Either the folder is damaged: copy it "
            "again, or export the run again. Or it is a converted checkpoint of a vocabulary that is not the "
            "official one, which has only its image tokenizer there: it takes no prompts, but "
            "UnifiedModel.from_pretrained and VQModel.load read it"
        )
    return TokenizerSet.load(own)


def read_weights(
    folder: Path, config: UnifiedConfig, *, dtype: str = "fp32", device_map: Any = None, **loading: Any
) -> UnifiedModel:
    """The model of a folder, on the CPU unless there is a `device_map`. Raises UserError where its weights
    are damaged or not those of `config`."""
    import torch
    import transformers
    from safetensors import SafetensorError

    from unified.model.modeling import UnifiedModel

    log = transformers.utils.logging
    log.disable_progress_bar()
    verbosity = log.get_verbosity()
    log.set_verbosity_error()  # what is amiss is one error here, not a table beside it
    try:
        return UnifiedModel.from_pretrained(
            folder,
            config=config,
            dtype=getattr(torch, DTYPES[dtype]),
            device_map=device_map,
            ignore_mismatched_sizes=True,
            **loading,
        )
    except (SafetensorError, RuntimeError, OSError, ValueError) as error:
        why = f"cannot be loaded ({str(error).splitlines()[0]}); copy them again, or export the run again"
        raise UserError(f"{folder}: its weights {why}") from error
    finally:
        log.set_verbosity(verbosity)


def build_processor(config: UnifiedConfig, tokenizers: TokenizerSet, *, strict: bool = False) -> Processor:
    """The processor of a model: its image sizes and text lengths, and the vocabulary of a tokenizer set.

    strict: with the quirks of the official code (see `unified.tokenization.quirks`). Raises UserError where
    the set is not the model's or has no strict mode, or padded texts would outgrow its positions.
    """
    from unified.data.collate import LENGTH_MULTIPLE
    from unified.tokenization.processor import Processor
    from unified.tokenization.quirks import quirks_of

    for name in ("encoder_max_text_length", "decoder_max_text_length"):
        if getattr(config, name) % LENGTH_MULTIPLE:
            raise UserError(
                f"model configuration: {name} is {getattr(config, name)}, must be a multiple of "
                f"{LENGTH_MULTIPLE}, to which texts are padded"
            )
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
        quirks=quirks_of(tokenizers, strict),
    )


def check_images(config: UnifiedConfig, tasks: Iterable[LoadedTask]) -> None:
    """Raises UserError for a task with more images than the model takes."""
    for task in tasks:
        count = len(task.spec.input.images)
        if count > config.max_images:
            raise UserError(
                f"{task.path}: input.images: '{task.name}' has {count} images, but the model takes at most "
                f"{config.max_images} (max_images)"
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


def share_weights(folder: Path) -> None:
    """Makes the weights in `folder` as readable as its `config.json`; safetensors writes them for their owner
    alone."""
    for file in folder.rglob("*.safetensors"):
        file.chmod((folder / "config.json").stat().st_mode)


def write_tasks(folder: Path, tasks: Iterable[LoadedTask]) -> None:
    """Writes the `tasks/` of a model folder: each task as resolved, and the index that `read_tasks` reads."""
    index = {}
    folder.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        file = folder / f"{task.name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(to_yaml(task.resolved))
        index[task.name] = {
            "file": str(file.relative_to(folder)),
            "identity": task.identity,
            "folder": str(task.path.parent),
        }
    (folder / "index.json").write_text(json.dumps(index, indent=1) + "\n")


def _device(wanted: str | None) -> str:
    import torch

    if wanted is None:
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device '{wanted}' cannot be used: {str(error).splitlines()[0]}") from None
    return wanted
