"""A model folder as an official checkpoint (.bin): the way back, and out for what was trained here."""

from __future__ import annotations

import json
import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from unified.conversion.architecture import Architecture
from unified.conversion.flax_msgpack import flax_order, write
from unified.conversion.from_official import CONFIG, INERT_FILE, SHARD_BYTES, WEIGHTS, Progress
from unified.errors import UserError
from unified.evaluation.model_folder import TOKENIZER, find_model_folder, read_config
from unified.model.official import INERT, official_key, official_shape, to_official
from unified.tokenization.tokenizer_set import FILE, TokenizerSet
from unified.tokenization.vqgan import VQConfig, read_weights


def convert_back(
    source: Path, out: Path, *, step_bytes: int = SHARD_BYTES, on_progress: Progress | None = None
) -> list[str]:
    """Writes the model folder (or run) `source` as the file `out`; returns what to tell about it.

    The file is float32, and the same arrays give the same bytes.

    Raises:
        UserError: the model is not one that the reference can compute, or the folder is not whole, or `out`
            is there. Nothing is then written.
    """
    out = out.expanduser().resolve()
    if out.exists():
        raise UserError(f"{out}: is there already, and is left as it is; choose another file")
    if not out.parent.is_dir():
        raise UserError(f"{out}: the folder {out.parent} is not there; make it first")
    folder = find_model_folder(source)
    config = read_config(folder)
    if (config.image_input, config.patch_embed) != ("patches", "linear"):
        kind = f"image_input '{config.image_input}' and patch_embed '{config.patch_embed}'"
        raise UserError(f"{folder}: has {kind}; the official model has 'patches' and 'linear' only")
    vqgan_config, vqgan_weights = _image_tokenizer(folder / TOKENIZER)
    of = Architecture(config, VQConfig.load(vqgan_config))
    with ExitStack() as stack:
        arrays = _model_arrays(folder, stack) | _vqgan_arrays(of, vqgan_weights)
        inert, order = _inert_arrays(folder, of, stack)
        notes = (
            [] if inert else [f"note: {folder} has no {INERT_FILE}: the two weights without effect are zeros"]
        )
        arrays |= inert or {key: torch.zeros(of.manifest[key]) for key in INERT}
        shapes = {
            key: official_shape(key, _shape(array)) for key, array in arrays.items() if key not in INERT
        }
        shapes |= {key: _shape(arrays[key]) for key in INERT}
        of.check(shapes, folder)
        if order is None or set(order) != set(shapes):
            order = flax_order(shapes)

        total, done = sum(4 * math.prod(shape) for shape in shapes.values()), 0

        def official(key: str) -> np.ndarray:
            nonlocal done
            array = arrays[key]
            array = (array if isinstance(array, torch.Tensor) else array[:]).float().numpy()
            before, done = done, done + array.nbytes
            if on_progress is not None and before // step_bytes < done // step_bytes:
                on_progress(done, total)
            return array if key in INERT else to_official(key, array)

        work = out.with_name(f".{out.name}.new")
        work.unlink(missing_ok=True)
        try:
            write(work, order, official)
            work.rename(out)
        except BaseException:
            work.unlink(missing_ok=True)
            raise
    return [*notes, f"wrote {out}: {out.stat().st_size:,} bytes, {len(order)} arrays"]


def _image_tokenizer(folder: Path) -> tuple[Path, Path]:
    """Config and weights of the VQGAN that a model folder carries."""
    if (folder / FILE).is_file():
        image = TokenizerSet.load(folder, image_weights=False).config.image
        return folder / image.config, folder / image.weights
    if (folder / CONFIG).is_file():
        return folder / CONFIG, folder / WEIGHTS
    raise UserError(f"{folder}: holds no image tokenizer, which is a part of an official checkpoint")


def _model_arrays(folder: Path, stack: ExitStack) -> dict[str, Any]:
    """Official key -> slice of the file that holds it, in our layout, for the model's weights."""
    index = folder / "model.safetensors.index.json"
    files = ["model.safetensors"]
    if index.is_file():
        try:
            files = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{index}: cannot be read ({error}); copy the folder again") from None
    arrays = {}
    for path in (folder / name for name in files):
        file = _open(path, stack)
        for name in file.keys():  # noqa: SIM118 (not a dict)
            try:
                key = official_key(name)
            except KeyError:
                raise UserError(f"{path}: the weight {name} has no place in an official checkpoint") from None
            if key is not None:
                arrays[key] = file.get_slice(name)
            elif file.get_tensor(name).any():
                raise UserError(
                    f"{path}: {name} is not zero: this model was trained on examples of several images, "
                    "which the official one cannot tell apart"
                )
    return arrays


def _vqgan_arrays(of: Architecture, path: Path) -> dict[str, torch.Tensor]:
    weights = read_weights(path)
    unknown = sorted(weights.keys() - of.vqgan_weights.keys())
    if unknown:
        raise UserError(f"{path}: does not fit its config: {len(unknown)} unexpected, e.g. {unknown[0]}")
    return {of.vqgan_key(name): weight for name, weight in weights.items()}


def _inert_arrays(
    folder: Path, of: Architecture, stack: ExitStack
) -> tuple[dict[str, torch.Tensor], list[str] | None]:
    """The weights without effect, and the order of the keys of the file that the folder was made from;
    nothing for a folder that was not."""
    path = folder / INERT_FILE
    if not path.is_file():
        return {}, None
    file = _open(path, stack)
    try:
        return {key: file.get_tensor(key) for key in INERT}, json.loads(file.metadata()["order"])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); copy the folder again") from None


def _open(path: Path, stack: ExitStack) -> Any:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; it holds weights of the model")
    try:
        return stack.enter_context(safe_open(path, framework="pt"))
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file ({error}); copy it again") from None


def _shape(array: Any) -> tuple[int, ...]:
    return tuple(array.shape if isinstance(array, torch.Tensor) else array.get_shape())
