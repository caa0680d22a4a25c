"""Memory of a training step on one GPU: weights, gradients, optimizer state, buffers, activations.

All sizes are bytes. What the rank holds in the host's memory (`engine.offload`) is not counted.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Literal

import torch
from torch import nn

from unified.model.configuration import UnifiedConfig
from unified.model.embeddings import TokenEmbedding
from unified.model.modeling import UnifiedModel
from unified.training.config import EngineConfig, RunConfig
from unified.training.engine import PERSISTENT, bucket_size

ALL_REDUCE = 500_000_000
"""Most elements that DeepSpeed's stage 0 lays side by side to sum them over ranks."""
Attention = Literal["eager", "fused"]
"""Whether attention keeps its probabilities (CPU) or computes them anew going backward (GPU kernels)."""


@dataclass(frozen=True)
class Weights:
    """Elements of all weights; of those in matrix products, within layers and elsewhere; of the largest
    weight; of those that ZeRO-3 leaves whole."""

    total: int
    layers: int
    elsewhere: int
    largest: int
    small: int


@dataclass(frozen=True)
class MicroBatch:
    """rows: of the padded or packed batch; encoder, decoder: positions of a row; cells, codes: how many of
    all positions of the encoder belong to input pictures, and of the decoder to picture answers."""

    rows: int
    encoder: int
    decoder: int
    cells: int = 0
    codes: int = 0


@dataclass(frozen=True)
class Memory:
    weights: int
    gradients: int
    optimizer: int
    mean: int
    """Running mean of the weights (`ema`)."""
    buffers: int
    """Of communication, and the weights that ZeRO-3 has gathered."""
    activations: int

    @property
    def total(self) -> int:
        return sum(asdict(self).values())


@cache
def weights_of(shape: str) -> Weights:
    """Counted on the model itself, without memory. shape: its configuration as JSON."""
    with torch.device("meta"):
        model = UnifiedModel(UnifiedConfig.from_dict(json.loads(shape)))
    sizes = [p.numel() for p in model.parameters()]
    products = {
        name: module.weight.numel()
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d | TokenEmbedding)
    }
    layers = sum(n for name, n in products.items() if ".layers." in name)
    small = sum(n for n in sizes if n <= PERSISTENT)
    return Weights(sum(sizes), layers, sum(products.values()) - layers, max(sizes), small)


def model_states(weights: Weights, engine: EngineConfig, optimizer: str, ema: bool, world: int) -> Memory:
    """What a rank holds of the model itself at the fullest moment of a step.

    Rajbhandari et al. 2020 (ZeRO, arXiv:1910.02054, section 3): 2 bytes of weights, 2 of gradients and K = 12
    of optimizer state (master weight, mean, variance) an element, of which stage 1 splits the last, stage 2
    the gradients too, stage 3 all. Where DeepSpeed differs from the paper, this is DeepSpeed's: stages 1 to
    3 keep a master copy of float32 weights too, gradients are summed in float32 and exist twice when the
    update begins, and they pass through a bucket.
    """
    total, share = weights.total, math.ceil(weights.total / world)
    half = engine.precision in ("bf16", "fp16")
    size, bucket = 2 if half else 4, bucket_size(total)
    moments = 8.0 if optimizer == "adamw" else 0.1  # Adafactor: means of rows and columns
    mean = 4 * (share if engine.zero == 3 else total) if ema else 0
    if engine.zero == 0:
        flat = size * min(total, ALL_REDUCE) if world > 1 else 0
        return Memory(size * total, size * total, int(moments * total), mean, flat, 0)
    state = int((4 + moments) * share)
    if engine.zero == 1:
        # its own share beside the whole; of half-precision weights in both precisions, one of them twice
        gradients = (10 if half else 4) * total + 4 * share
        held, passing = size * total, bucket
    elif engine.zero == 2:
        gradients, held, passing = 8 * share, size * total, bucket + weights.largest
    else:
        gathered = max(bucket, weights.largest) + weights.small
        gradients, held, passing = 8 * share, size * share, bucket + weights.largest + gathered
    if engine.offload is not None:
        state = 0
        gradients = (10 if half else 4) * total if engine.zero == 1 else 0
    if engine.offload == "all":
        held = 0
    return Memory(held, gradients, state, mean, size * passing, 0)


@dataclass(frozen=True)
class Activations:
    """kept: what the forward pass keeps for the backward pass; passing: what comes on top for a moment."""

    kept: int
    passing: int


def activations(
    shape: UnifiedConfig, batch: MicroBatch, precision: str, recompute: bool, attention: Attention
) -> Activations:
    """Tensors of one micro-batch, counted as Korthikanti et al. 2022 (Reducing activation recomputation in
    large transformer models, arXiv:2205.05198, section 4) count those of a GPT layer, for the layers here.

    A layer keeps for each position, with c bytes a number: of a norm its input, its normalised input and its
    output; of attention queries, keys, values, its output and, if `eager`, H * L probabilities; of the gated
    MLP 4 * d_ff. Cross-attention keeps keys and values of the encoder's positions. With recomputation
    (`activation_checkpointing`) a layer keeps its input, and one layer at a time all of it. Logits are kept
    as float32 log-probabilities; they and their gradient exist in c bytes besides. Autocast keeps a bfloat16
    copy of every matrix.
    """
    c = 4 if precision == "fp32" else 2
    d, heads, inner = shape.d_model, shape.num_heads, shape.num_heads * shape.head_dim
    encoder, decoder = batch.rows * batch.encoder, batch.rows * batch.decoder
    norm = (12 if precision == "fp32" else 8) * d
    residual = (2 if precision in ("bf16", "fp16") else 4) * d
    eager = attention == "eager"

    def attended(keys: int) -> int:
        """Of a query: its probabilities and its output, or the output before and after a transposition."""
        return c * (inner + heads * keys) if eager else 2 * c * inner

    mlp = norm + 4 * c * shape.d_ff
    encoder_layer = encoder * (norm + 3 * c * inner + attended(batch.encoder) + mlp)
    decoder_layer = encoder * 2 * c * inner + decoder * (
        norm + 3 * c * inner + attended(batch.decoder) + norm + c * inner + attended(batch.encoder) + mlp
    )
    bias = c * heads * (encoder * batch.encoder + decoder * batch.decoder)
    text = decoder - batch.codes
    logits = text * shape.vocab_size + batch.codes * shape.image_vocab_size
    ends = (2 * norm + c * d) * (encoder + decoder) + c * d * decoder  # first and last norms, results
    ends += 3 * shape.patch_size**2 * c * batch.cells
    kept, passing = ends + 4 * logits, 2 * c * logits
    casts = 0
    if precision == "autocast_bf16":
        weights = weights_of(shape.to_json_string())
        casts, kept = 2 * weights.layers, kept + 2 * weights.elsewhere
    if not recompute:
        kept += shape.encoder_layers * encoder_layer + shape.decoder_layers * decoder_layer + casts
        passing += bias
    else:
        kept += shape.encoder_layers * encoder * residual + shape.decoder_layers * decoder * residual + bias
        passing += max(encoder_layer, decoder_layer) + casts
    return Activations(kept, passing)


def estimate(
    shape: UnifiedConfig,
    batch: MicroBatch,
    engine: EngineConfig,
    *,
    optimizer: str,
    ema: bool,
    world: int,
    attention: Attention,
) -> Memory:
    """Of one rank of `world` at the fullest moment of a step. CUDA's context and what torch's allocator
    wastes come on top, about 1 GB."""
    states = model_states(weights_of(shape.to_json_string()), engine, optimizer, ema, world)
    made = activations(shape, batch, engine.precision, engine.activation_checkpointing, attention)
    return replace(states, activations=made.kept + made.passing)


def states_text(model: UnifiedModel, config: RunConfig, world: int) -> str:
    """What a rank of a run holds of its model, in words."""
    weights = weights_of(model.config.to_json_string())
    states = model_states(weights, config.engine, config.optim.name, config.ema is not None, world)
    parts = ", ".join(f"{name} {size_text(size)}" for name, size in asdict(states).items() if size)
    return f"{weights.total:,} parameters; {size_text(states.total)} a rank before activations ({parts})"


def size_text(count: float) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
