"""Random checkpoints in the official container, made by the recipe of the golden cases."""

import importlib.util
import json
from pathlib import Path

from unified.conversion.flax_msgpack import flax_order, write

spec = importlib.util.spec_from_file_location("golden_cases", Path(__file__).parents[1] / "model/golden.py")
golden = importlib.util.module_from_spec(spec)
spec.loader.exec_module(golden)
SIZES = ("small", "base", "large", "xl")


def shapes(size):
    manifest = json.loads((golden.ASSETS / f"shapes_{size}.json").read_text())
    return {key: tuple(shape) for key, shape in manifest.items()}


def tiny_arrays():
    """The checkpoint of the golden cases, its codebook calibrated as theirs."""
    flat = golden.recipe.det_params(shapes("tiny_a"), head_dim=8, tag="tiny_a")
    reference = golden.outputs()
    return golden.recipe.with_codebook(flat, reference["codebook_mu"], reference["codebook_sigma"])


def write_arrays(path, flat, order=None):
    write(path, order or flax_order(flat), lambda key: flat[key])
    return path
