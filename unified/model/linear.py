"""Matrix products of one input with one or several weights; on a CPU, if asked for, with repacked ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def project(x: Tensor, *linears: nn.Linear) -> tuple[Tensor, ...]:
    """x (..., d) through each of `linears` (no biases); at once where they were repacked together."""
    packed: Repacked | None = getattr(linears[0], "repacked", None)
    if packed is not None and packed.modules == linears and packed.usable(x):
        return packed(x)
    return tuple(linear(x) for linear in linears)


def repack(*linears: nn.Linear) -> None:
    """From now on `project` may use one repacked copy of these weights."""
    if all(Repacked.possible(linear.weight) for linear in linears):
        linears[0].repacked = Repacked(*linears)  # type: ignore[assignment]


class Repacked:
    """The float32 weights (n_i, d) of some modules, one below the other, in oneDNN's blocked layout.

    What a step of decoding does on a CPU is to multiply a few rows with each weight, and the usual product
    reads them at a fifth of the memory's speed; in the blocked layout at half of it. This is a copy, so the
    weights are watched: once one was written to, moved or replaced, `usable` is False.

    Args:
        modules: with a `weight` each.
        rows: of the weight, where only they count.
    """

    def __init__(self, *modules: nn.Linear | nn.Embedding, rows: slice = slice(None)) -> None:
        self.modules = modules
        weights = [module.weight.detach()[rows] for module in modules]
        self.widths = [len(weight) for weight in weights]
        self.blocks = torch.ops.mkldnn._reorder_linear_weight(torch.cat(weights))
        self.state = self._state()

    @staticmethod
    def possible(weight: Tensor) -> bool:
        """Only where this torch has oneDNN, and for weights whose changes can be noticed."""
        return (
            weight.device.type == "cpu"
            and weight.dtype == torch.float32
            and not weight.is_inference()
            and torch.backends.mkldnn.is_available()
            and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        )

    def usable(self, x: Tensor) -> bool:
        """Whether `x` may be multiplied here: no gradient, no autocast, weights as they were."""
        return (
            x.dtype == torch.float32
            and x.device.type == "cpu"
            and not torch.is_grad_enabled()
            and not torch.is_autocast_enabled("cpu")
            and self.state == self._state()
        )

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """(..., d) -> (..., n_i) for each weight."""
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.blocks, None, "none", [], "")
        return y.split(self.widths, -1) if len(self.widths) > 1 else (y,)

    def _state(self) -> list[tuple[int, int]]:
        return [(module.weight.data_ptr(), module.weight._version) for module in self.modules]
