"""Learning rate as a pure function of where the run stands: nothing to save, nothing to resume."""

from __future__ import annotations

import math

from unified.training.config import OptimConfig


def progress(optim: OptimConfig, step: int, seconds: float) -> float:
    """How much of the run is done, 0..1: the further of steps and wall-clock time."""
    by_step = step / optim.steps if optim.steps else 0.0
    by_time = seconds / (60 * optim.minutes) if optim.minutes else 0.0
    return min(1.0, max(by_step, by_time))


def learning_rate(optim: OptimConfig, step: int, seconds: float = 0.0) -> float:
    """The rate of step `step` (from 0), `seconds` of training after the start.

    All schedules rise linearly over `warmup_steps`. Then `constant` stays; `cosine` falls to `final_lr` x lr
    at the end of the run; `inverse_sqrt` falls with 1/sqrt(step), equal to lr at the end of the warm-up (T5).
    """
    warm = max(1, optim.warmup_steps)
    if step < optim.warmup_steps:
        return optim.lr * (step + 1) / warm
    if optim.schedule == "inverse_sqrt":
        return optim.lr * math.sqrt(warm / max(step + 1, warm))
    if optim.schedule == "cosine":
        done = progress(optim, step, seconds)
        floor = optim.final_lr
        return optim.lr * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))
    return optim.lr
