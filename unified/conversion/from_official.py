"""An official checkpoint (.bin) as a model folder.

The file is read by a memory map and its weights are written shard by shard, so that a model larger than the
memory converts; no model is built. The folder appears when it is whole.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.numpy import save_file
from transformers import GenerationConfig

from unified.conversion.architecture import Architecture, Shape, from_shapes, of_size
from unified.conversion.card import model_card
from unified.conversion.flax_msgpack import Leaf, dtype_name, read
from unified.errors import UserError
from unified.evaluation.model_folder import TOKENIZER, share_weights, write_tasks
from unified.model.modeling import UnifiedModel
from unified.model.official import INERT, official_key, to_ours
from unified.specs.load import LoadedTask, list_tasks, load_task, to_yaml
from unified.specs.paths import resource
from unified.tokenization.tokenizer_set import FILE, TokenizerSet

SHARD_BYTES = 2 * 10**9
INERT_FILE = "unified_io_inert.safetensors"
"""What an official checkpoint holds and our model does not: weights without effect, and as its metadata's
`order` the order of the keys. With it the way back gives the same bytes."""
SET, WEIGHTS, CONFIG = "unified_io", "vqgan.safetensors", "vqgan.yaml"
Progress = Callable[[int, int], None]
"""Is told about every `SHARD_BYTES` how many bytes are written, and of how many; never for less than that."""


def convert(
    source: Path,
    out: Path,
    *,
    size: str = "auto",
    command: str = "",
    shard_bytes: int = SHARD_BYTES,
    on_progress: Progress | None = None,
) -> list[str]:
    """Writes the checkpoint `source` as the model folder `out`; returns what to tell about it, line by line.

    Raises:
        UserError: `source` is no Unified-IO checkpoint (of `size`), or `out` is there and not empty. Nothing
            is then written.
    """
    out = out.expanduser().resolve()
    leaves = read(source)
    shapes = {key: leaf.shape for key, leaf in leaves.items()}
    architecture = from_shapes(shapes, source) if size == "auto" else of_size(size)
    architecture.check(shapes, source)
    for key, leaf in leaves.items():
        if leaf.dtype != np.float32:
            found = dtype_name(leaf.dtype)
            raise UserError(f"{source}: {key} {leaf.shape}: is {found}; official checkpoints are float32")
    _check_out(out, source)
    work = out.with_name(f".{out.name}.new")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        notes = _write(work, source, architecture, leaves, command, shard_bytes, on_progress)
        if out.exists():
            out.rmdir()  # it is empty
        work.rename(out)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return [*notes, f"wrote {out}"]


def _check_out(out: Path, source: Path) -> None:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out}: is there already, and is left as it is; choose another folder")
    there = next(folder for folder in out.parents if folder.exists())
    wanted, free = source.stat().st_size, shutil.disk_usage(there).free
    if free < wanted:
        raise UserError(
            f"{out}: {wanted:,} bytes are wanted, the disk has {free:,} left; choose another place"
        )


def _write(
    folder: Path,
    source: Path,
    of: Architecture,
    leaves: dict[str, Leaf],
    command: str,
    shard_bytes: int,
    on_progress: Progress | None,
) -> list[str]:
    def weight(name: str) -> np.ndarray:
        key = official_key(name)
        if key is None:  # the index of images, which the official model has not: it starts at zero
            return np.zeros(of.model_weights[name], np.float32)
        return to_ours(key, leaves[key].array())

    def vqgan_weight(name: str) -> np.ndarray:
        key = of.vqgan_key(name)
        return to_ours(key, leaves[key].array())

    config = copy.deepcopy(of.model)
    config.architectures, config.dtype = [UnifiedModel.__name__], "float32"
    config.save_pretrained(folder)
    GenerationConfig.from_model_config(config).save_pretrained(folder)
    order = {"order": json.dumps(list(leaves))}
    save_file({key: leaves[key].array() for key in INERT}, folder / INERT_FILE, metadata=order)
    tokenizers = _write_tokenizer(folder / TOKENIZER, of, vqgan_weight)
    tasks = unified_io_tasks() if tokenizers else []
    write_tasks(folder / "tasks", tasks)
    _write_weights(folder, of, weight, shard_bytes, on_progress)
    share_weights(folder)
    digest = _sha256(source)
    card = model_card(of, source, digest, command, tokenizers, tasks, _numbers(of.manifest))
    (folder / "README.md").write_text(card, encoding="utf-8")
    name = f"official size '{of.size}'" if of.size else "a size of its own"
    notes = [f"{source}: {name}, a model of {_numbers(of.model_weights):,} parameters, sha256 {digest}"]
    if tokenizers is None:
        notes.append(
            f"note: its vocabulary ({config.vocab_size} + {config.image_vocab_size}) is not the official one,"
            " so there is no text tokenizer for it: tokenizer/ holds the VQGAN alone, tasks/ none"
        )
    return notes


def _write_weights(
    folder: Path,
    of: Architecture,
    weight: Callable[[str], np.ndarray],
    shard_bytes: int,
    on_progress: Progress | None,
) -> None:
    """model.safetensors, or its shards and their index, as `save_pretrained` names them."""
    shapes = {name: torch.empty(shape, device="meta") for name, shape in of.model_weights.items()}
    split = split_torch_state_dict_into_shards(shapes, max_shard_size=shard_bytes)
    done = 0
    for file, names in split.filename_to_tensors.items():
        save_file({name: weight(name) for name in names}, folder / file, metadata={"format": "pt"})
        done += sum(shapes[name].nbytes for name in names)
        if split.is_sharded and on_progress is not None:
            on_progress(done, split.metadata["total_size"])
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (folder / "model.safetensors.index.json").write_text(
            json.dumps(index, indent=2, sort_keys=True) + "\n"
        )


def _write_tokenizer(
    folder: Path, of: Architecture, weight: Callable[[str], np.ndarray]
) -> TokenizerSet | None:
    """The checkpoint's VQGAN, and around it the official set where the vocabulary is that one; else None."""
    folder.mkdir()
    params = of.vqgan.model_dump(mode="json")
    taming = {"model": {"target": "taming.models.vqgan.VQModel", "params": params}}
    (folder / CONFIG).write_text(to_yaml(taming))
    save_file({name: weight(name) for name in of.vqgan_weights}, folder / WEIGHTS, metadata={"format": "pt"})
    official = TokenizerSet.load(SET, image_weights=False)
    vocabulary, config = official.vocabulary, of.model
    if (config.vocab_size, config.image_vocab_size) != (vocabulary.text_size, vocabulary.image_size):
        return None
    image = official.config.image.model_copy(
        update={
            "config": CONFIG,
            "weights": WEIGHTS,
            "how_to_get": None,  # they are here, and belong to the set's hash
            "size": config.target_grid * of.vqgan.factor,
            "input_size": config.image_size,
        }
    )
    ours = official.config.model_copy(update={"image": image})
    (folder / FILE).write_text(to_yaml(ours.model_dump(mode="json", exclude_none=True)))
    text = official.config.text.model
    shutil.copyfile(official.folder / text, folder / text)
    (folder / text).chmod(0o644)
    return TokenizerSet.load(folder)


def unified_io_tasks() -> list[LoadedTask]:
    """The shipped tasks of the official model."""
    folder = resource("task_specs") / "tasks" / SET
    tasks = [load_task(path) for path in list_tasks() if folder in path.parents]
    return [task for task in tasks if SET in task.spec.tags]


def _numbers(shapes: Mapping[str, Shape]) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
