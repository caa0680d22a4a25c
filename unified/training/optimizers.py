"""AdamW and Adafactor, with the usual exceptions from weight decay."""

from __future__ import annotations

import torch
from torch import nn

from unified.training.config import OptimConfig


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """The optimizer over all trainable parameters; its learning rate is set by the loop at every step."""
    groups = parameter_groups(model, config)
    if config.name == "adafactor":
        # factored second moments, updates scaled by each matrix's own size (Shazeer & Stern 2018); torch
        # bounds the rate by 1/sqrt(step) besides
        return torch.optim.Adafactor(groups, lr=config.lr)
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Gives every group its multiple of `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def parameter_groups(model: nn.Module, config: OptimConfig) -> list[dict[str, object]]:
    """The matrices of linear and convolution layers decay; norms, embeddings, position tables and biases
    do not. Embeddings have a learning rate of their own."""
    matrices = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, object]] = [
        {
            "params": [p for p in parameters if id(p) in matrices],
            "weight_decay": config.weight_decay,
            "lr_scale": 1.0,
        },
        {
            "params": [p for p in parameters if id(p) in tables],
            "weight_decay": 0.0,
            "lr_scale": config.embedding_lr,
        },
        {
            "params": [p for p in parameters if id(p) not in matrices | tables],
            "weight_decay": 0.0,
            "lr_scale": 1.0,
        },
    ]
    return [group for group in groups if group["params"]]
