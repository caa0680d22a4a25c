"""The golden cases of the official code as models and inputs (see tests/assets/unified_io/ORIGIN.md)."""

import importlib.util
import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from unified.model import UnifiedConfig, UnifiedModel
from unified.model.official import state_dict_from_official

ASSETS = Path(__file__).parent.parent / "assets" / "unified_io"
VOCAB, CODES = 320, 96
spec = importlib.util.spec_from_file_location("golden_recipe", ASSETS / "golden_recipe.py")
recipe = importlib.util.module_from_spec(spec)
spec.loader.exec_module(recipe)


@lru_cache
def outputs():
    return dict(np.load(ASSETS / "tiny_a.npz"))


@lru_cache
def inputs():
    return recipe.tiny_inputs(VOCAB, CODES)


def config(**changes):
    official = json.loads((ASSETS / "config_tiny_a.json").read_text())["unified_io_config"]
    # the recipe's images are already normalised: mean 0, std 1/255 makes our own step the identity
    return UnifiedConfig(
        **{
            "vocab_size": official["vocab_size"],
            "image_vocab_size": official["image_vocab_size"],
            "d_model": official["emb_dim"],
            "num_heads": official["num_heads"],
            "head_dim": official["head_dim"],
            "d_ff": official["mlp_dim"],
            "encoder_layers": official["num_encoder_layers"],
            "decoder_layers": official["num_decoder_layers"],
            "image_mean": (0, 0, 0),
            "image_std": (1 / 255,) * 3,
        }
        | changes
    )


@lru_cache
def model(**changes):
    torch.manual_seed(0)
    ours = UnifiedModel(config(**changes)).eval()
    shapes = json.loads((ASSETS / "shapes_tiny_a.json").read_text())
    flat = recipe.det_params(shapes, head_dim=8, tag="tiny_a")
    result = ours.load_state_dict(state_dict_from_official(flat, ours.state_dict()), strict=False)
    assert set(result.missing_keys) <= {"encoder.image_index.weight"} and not result.unexpected_keys
    return ours


def encoder_inputs(case):
    """The reference's inputs as ours; images whose mask is empty in every row are not given at all."""
    given = inputs()[case]
    out = {"input_ids": torch.from_numpy(given["text_encoder_inputs"]).long()}
    mask = torch.from_numpy(given["image_input_masks"]).bool()[:, None]
    if mask.any():
        out.update(images=torch.from_numpy(given["image_encoder_inputs"])[:, None], patch_mask=mask)
    return out


def targets(case):
    given = inputs()[case]
    out = {"target_ids": torch.from_numpy(given["text_decoder_targets"]).long()}
    if f"{case}/image_decoder_tokens" in outputs():
        codes = torch.from_numpy(outputs()[f"{case}/image_decoder_tokens"]).long()
        out.update(
            target_codes=(codes - VOCAB)[:, None],
            target_code_mask=torch.from_numpy(given["image_target_masks"]).bool()[:, None],
        )
    return out
