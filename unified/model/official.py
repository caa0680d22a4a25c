"""The names of official Unified-IO parameters and ours, for conversion either way.

An official checkpoint is a tree of flax parameters. Joined by '/', its keys are those of
network.py; a 2-D `kernel` is [in, out] where torch keeps [out, in].
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

# Computed by the reference and then dropped (cross-attention has no bias); they exist in every checkpoint.
INERT = ("decoder/cross_position_q_linear/kernel", "decoder/cross_position_k_linear/kernel")
IMAGE_TOKENIZER = "discrete_vae/"  # its VQGAN, which belongs to the tokenizer set

_LAYER_NAMES = {
    "encoder": {
        "attention_norm": "pre_attention_layer_norm",
        "mlp_norm": "pre_mlp_layer_norm",
    },
    "decoder": {
        "self_norm": "pre_self_attention_layer_norm",
        "cross_norm": "pre_cross_attention_layer_norm",
        "cross_attention": "encoder_decoder_attention",
        "mlp_norm": "pre_mlp_layer_norm",
    },
}
_NAMES = {
    "token_embedder.weight": "token_embedder/embedding",
    "encoder.patch_embedding.projection.weight": "encoder/image_projection/kernel",
    "encoder.segment_embedding.weight": "encoder/segment_embedding/embedding",
    "encoder.text_norm.weight": "encoder/txt_emb_pre_ln/scale",
    "encoder.image_norm.weight": "encoder/img_emb_pre_ln/scale",
    "encoder.final_norm.weight": "encoder/encoder_norm/scale",
    "encoder.positions.query.weight": "encoder/position_q_linear/kernel",
    "encoder.positions.key.weight": "encoder/position_k_linear/kernel",
    "decoder.segment_embedding.weight": "decoder/segments_embedding/embedding",
    "decoder.input_norm.weight": "decoder/pre_ln/scale",
    "decoder.final_norm.weight": "decoder/decoder_norm/scale",
    "decoder.positions.query.weight": "decoder/self_position_q_linear/kernel",
    "decoder.positions.key.weight": "decoder/self_position_k_linear/kernel",
} | {
    f"{stack}.positions.{ours}": f"{stack}/{theirs}"
    for stack in ("encoder", "decoder")
    for ours, theirs in {
        "embedding.weight": "position_embedding/embedding",
        "norm.weight": "pe_pre_ln/scale",
        "text_relative": "relpos_bias/rel_embedding",
        "image_relative": "relpos_bias/image_rel_embedding",
    }.items()
}
_LAYER = re.compile(r"(encoder|decoder)\.layers\.(\d+)\.(\w+)\.(?:(\w+)\.)?weight")


def official_key(name: str) -> str | None:
    """The official key of our parameter `name`; None for what only we have (the images' index)."""
    if name == "encoder.image_index.weight":
        return None
    if name in _NAMES:
        return _NAMES[name]
    match = _LAYER.fullmatch(name)
    if match is None:
        raise KeyError(name)
    stack, layer, module, linear = match.groups()
    module = _LAYER_NAMES[stack].get(module, module)
    return f"{stack}/layers_{layer}/{module}/" + (f"{linear}/kernel" if linear else "scale")


def to_ours(key: str, array: np.ndarray) -> Tensor:
    """The official array at `key` in torch's layout."""
    return torch.from_numpy(np.ascontiguousarray(array.T) if key.endswith("/kernel") else array)


def official_shape(key: str, shape: Iterable[int]) -> tuple[int, ...]:
    """The shape that our parameter of `shape` has in an official checkpoint."""
    shape = tuple(shape)
    return shape[::-1] if key.endswith("/kernel") else shape


def state_dict_from_official(flat: Mapping[str, np.ndarray], names: Iterable[str]) -> dict[str, Tensor]:
    """Official parameters, flat, as a state dict for the parameters `names` of a UnifiedModel.

    The VQGAN and the inert weights are left out; an index embedding of images is not in `flat`, and
    its zeros are for the caller to keep.

    Raises:
        KeyError: a parameter is not in `flat`.
    """
    keys = {name: official_key(name) for name in names}
    return {name: to_ours(key, flat[key]) for name, key in keys.items() if key is not None}
