"""The contract of a training objective, and the objectives by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from unified.data.collate import Batch
from unified.errors import UserError, did_you_mean

SUMS = ("loss", "weight", "correct", "tokens")
"""Rows of an objective's metrics: weighted loss, loss weights, right tokens and tokens, of each task."""


class Outputs(Protocol):
    """The part of the model's output that is trained on."""

    text_logits: Tensor
    """(n_text, text ids): a row for every target_ids != 0, row-major."""
    image_logits: Tensor | None
    """(n_image, codes): a row for every True of target_code_mask; None or empty without dense targets."""


class Objective(Protocol):
    """`loss_sum, metrics, state = objective(outputs, batch, state)`.

    loss_sum: scalar, the weighted SUM over the micro-batch; the loop divides by the weight of the whole step,
        so that gradients do not depend on how a step is split over ranks and micro-batches.
    metrics: (len(SUMS), T) float32 without gradient, sums by task.
    state: what the objective carries from call to call (queues, teachers); None where there is nothing.
    """

    def __call__(self, outputs: Outputs, batch: Batch, state: Any) -> tuple[Tensor, Tensor, Any]: ...


def build_objective(name: str, tasks: Sequence[str], **options: Any) -> Objective:
    """The objective called `name` for the tasks in this order. Raises UserError for an unknown name."""
    from unified.objectives.seq2seq import Seq2Seq

    known: dict[str, Callable[..., Objective]] = {"seq2seq": Seq2Seq}
    if name not in known:
        raise UserError(
            f"unknown objective '{name}'{did_you_mean(name, list(known))}; there are {', '.join(known)}"
        )
    return known[name](tasks, **options)


def empty_sums(tasks: int, device: torch.device | str = "cpu") -> Tensor:
    """(len(SUMS), tasks) zeros."""
    return torch.zeros(len(SUMS), tasks, device=device)
