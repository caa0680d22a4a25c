"""Next-token prediction over text and image codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unified.data.collate import Batch
from unified.objectives.base import Outputs, empty_sums

ROWS = 128
"""Logits are made float32 this many at a time: the memory of one part serves the next."""


class Seq2Seq:
    """Weighted cross-entropy of every target token, in float32 whatever the precision of the logits.

    tasks: names whose sums are kept apart, in the order of the metrics' columns.
    z_loss: weight of log(Z)^2, which keeps the logits' normaliser near 1 (PaLM, section 5); not part of
        the reported loss.
    """

    def __init__(self, tasks: Sequence[str], z_loss: float = 0.0) -> None:
        self.column = {name: i for i, name in enumerate(tasks)}
        self.z_loss = z_loss

    def __call__(self, outputs: Outputs, batch: Batch, state: Any = None) -> tuple[Tensor, Tensor, Any]:
        device = outputs.text_logits.device
        task_of_row = torch.tensor([self.column[name] for name in batch.tasks], device=device)
        metrics = empty_sums(len(self.column), device)

        ids = batch.inputs["target_ids"]
        mask = ids != 0
        total = self._add(
            outputs.text_logits, ids[mask], batch.text_weights[mask], _rows(mask, task_of_row), metrics
        )
        if outputs.image_logits is not None:
            # also where this batch has no image: its empty sum keeps the image side in the graph
            codes, weights, tasks = _codes(batch, task_of_row)
            total = total + self._add(outputs.image_logits, codes, weights, tasks, metrics)
        return total, metrics, state

    def _add(self, logits: Tensor, ids: Tensor, weights: Tensor, tasks: Tensor, metrics: Tensor) -> Tensor:
        """logits (n, V), ids, weights, tasks (n,) -> the weighted sum of losses; adds to `metrics`."""
        losses, right, normalisers = [], [], []
        for part, wanted in zip(logits.split(ROWS), ids.split(ROWS), strict=True):
            scores = part.float()
            losses.append(F.cross_entropy(scores, wanted, reduction="none"))
            if self.z_loss:
                normalisers.append(scores.logsumexp(-1))
            with torch.no_grad():
                right.append((scores.argmax(-1) == wanted).float() if len(wanted) else wanted.float())
        weighted = torch.cat(losses) * weights
        with torch.no_grad():
            sums = torch.stack([weighted.detach(), weights, torch.cat(right), torch.ones_like(weights)])
            metrics.index_add_(1, tasks, sums)
        total = weighted.sum()
        if self.z_loss:
            total = total + self.z_loss * (torch.cat(normalisers).square() * weights).sum()
        return total


def _rows(mask: Tensor, task_of_row: Tensor) -> Tensor:
    """mask (B, ...) or, of packed pictures, (K, ...) -> the task of every True, row-major."""
    return task_of_row[mask.nonzero()[:, 0]]


def _codes(batch: Batch, task_of_row: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Codes, weights and tasks of the image side, (n,) each."""
    if batch.code_weights is None:
        return task_of_row[:0], batch.text_weights.flatten()[:0], task_of_row[:0]
    mask, owners = batch.inputs["target_code_mask"], batch.inputs.get("code_example")
    if owners is not None:
        task_of_row = task_of_row[owners]
    return batch.inputs["target_codes"][mask], batch.code_weights[mask], _rows(mask, task_of_row)
