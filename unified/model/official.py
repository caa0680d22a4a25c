"""The names of official Unified-IO parameters and ours, for conversion either way.

An official checkpoint is a tree of flax parameters. Joined by '/', its keys are those of
network.py; a 2-D `kernel` is [in, out] where torch keeps [out, in], that of a convolution [height, width,
in, out] where torch keeps [out, in, height, width].
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


def image_tokenizer_key(name: str, levels: int) -> str:
    """The official key of the VQGAN parameter that taming-transformers calls `name`, in a network of `levels`
    resolutions. taming counts the decoder's from the highest, the reference from the lowest."""
    *modules, leaf = name.split(".")
    if modules[:2] == ["decoder", "up"]:
        modules[2] = str(levels - 1 - int(modules[2]))
    if leaf == "weight":
        leaf = "scale" if modules[-1].startswith("norm") else "kernel"
    path = "/".join(modules)
    if path == "quantize/embedding":
        return f"{IMAGE_TOKENIZER}{path}"
    path = re.sub(r"(down|up)/(\d+)/(block|attn)/(\d+)", r"\1_\2_\3_\4", path)
    path = re.sub(r"(down|up)/(\d+)/(\w+sample)", r"\1_\2_\3", path)
    return f"{IMAGE_TOKENIZER}{path.replace('/mid/', '/mid_')}/{leaf}"


def to_ours(key: str, array: np.ndarray) -> np.ndarray:
    """The official array at `key` in torch's layout, contiguous: kernels copied, others as they are."""
    if not key.endswith("/kernel"):
        return array
    return np.ascontiguousarray(array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T)


def to_official(key: str, array: np.ndarray) -> np.ndarray:
    """The inverse of `to_ours`."""
    if not key.endswith("/kernel"):
        return array
    return np.ascontiguousarray(array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T)


def official_shape(key: str, shape: Iterable[int]) -> tuple[int, ...]:
    """The shape that our parameter of `shape` has in an official checkpoint."""
    shape = tuple(shape)
    if not key.endswith("/kernel"):
        return shape
    return (*shape[2:], *shape[1::-1])


def state_dict_from_official(flat: Mapping[str, np.ndarray], names: Iterable[str]) -> dict[str, Tensor]:
    """Official parameters, flat, as a state dict for the parameters `names` of a UnifiedModel.

    The VQGAN and the inert weights are left out; an index embedding of images is not in `flat`, and
    its zeros are for the caller to keep.

    Raises:
        KeyError: a parameter is not in `flat`.
    """
    keys = {name: official_key(name) for name in names}
    return {name: torch.from_numpy(to_ours(key, flat[key])) for name, key in keys.items() if key is not None}
