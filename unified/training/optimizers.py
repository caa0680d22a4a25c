"""AdamW and Adafactor, with the usual exceptions from weight decay."""

from __future__ import annotations

import torch
from torch import nn

from unified.training.config import OptimConfig


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """The optimizer over all trainable parameters; its learning rate is set by the loop at every step."""
    groups = parameter_groups(model, config.weight_decay)
    if config.name == "adafactor":
        # factored second moments, updates scaled by each matrix's own size (Shazeer & Stern 2018); torch
        # bounds the rate by 1/sqrt(step) besides
        return torch.optim.Adafactor(groups, lr=config.lr)
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """The matrices of linear and convolution layers decay; norms, embeddings, position tables and biases
    do not."""
    matrices = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    decay: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            (decay if id(parameter) in matrices else rest).append(parameter)
    groups = ((decay, weight_decay), (rest, 0.0))
    return [{"params": params, "weight_decay": rate} for params, rate in groups if params]
