"""The model behind DeepSpeed: precision, ZeRO, gradient clipping, running mean of the weights."""

from __future__ import annotations

import contextlib
import io
import math
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from unified.errors import UserError
from unified.training.config import RunConfig
from unified.training.launch import Ranks
from unified.training.optimizers import build_optimizer, set_learning_rate

BUCKET = 50_000_000
"""Most elements of a communication bucket; DeepSpeed allocates buckets whole, however small the model."""
PERSISTENT = 100_000
"""ZeRO-3 splits no weight of fewer elements: gathering it would cost more than it saves."""


def deepspeed_config(
    config: RunConfig, *, world: int, micro_batch: int, parameters: int, universal: bool = False
) -> dict[str, Any]:
    """DeepSpeed's configuration of a run. `parameters`: number of weights, which bounds the buckets;
    `universal`: the checkpoint to be loaded is in the universal form."""
    engine, bucket = config.engine, bucket_size(parameters)
    out: dict[str, Any] = {
        "train_batch_size": config.data.batch_size,
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_accumulation_steps": config.data.batch_size // (micro_batch * world),
        "steps_per_print": 2**31,
        "gradient_clipping": config.optim.clip or 0.0 if engine.zero else 0.0,
        "zero_optimization": {"stage": engine.zero},
        "checkpoint": {"load_universal": universal},
    }
    if engine.zero:
        out["zero_optimization"] |= {
            "reduce_bucket_size": bucket,
            "allgather_bucket_size": bucket,
            "overlap_comm": torch.cuda.is_available(),
        }
    if engine.offload:
        # torch's fused AdamW on the CPU is as fast as DeepSpeed's own, which has to be compiled first
        out["zero_force_ds_cpu_optimizer"] = False
        host = {"device": "cpu", "pin_memory": torch.cuda.is_available()}
        out["zero_optimization"]["offload_optimizer"] = host
        if engine.offload == "all":
            out["zero_optimization"]["offload_param"] = host
    if engine.zero == 3:
        out["zero_optimization"] |= {
            "stage3_prefetch_bucket_size": bucket,
            "stage3_param_persistence_threshold": PERSISTENT,
            # by default a billion weights stay whole once gathered: those of most models, for the whole step
            "stage3_max_live_parameters": bucket,
            "stage3_max_reuse_distance": bucket,
        }
    if engine.precision == "autocast_bf16":
        # no module is declared safe to reduce in bf16: gradients are summed in float32
        out["torch_autocast"] = {"enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": []}
    elif engine.precision != "fp32":
        out[engine.precision] = {"enabled": True}
        out["data_types"] = {"grad_accum_dtype": "fp32"}
    return out


def bucket_size(parameters: int) -> int:
    """Elements of a communication bucket, an even number, as DeepSpeed demands."""
    return min(BUCKET, max(parameters + parameters % 2, 2))


class TrainEngine:
    """Forward, backward and update of one model on all ranks.

    A step is, for each micro-batch, `forward` and `backward`, then one `step`. The gradient is the mean over
    ranks of the sum over micro-batches: a loss that is to be a sum over the whole step must be multiplied by
    the number of ranks.

    Raises UserError when the device cannot compute in the precision asked for.
    """

    def __init__(
        self, model: nn.Module, config: RunConfig, ranks: Ranks, micro_batch: int, universal: bool = False
    ) -> None:
        """universal: the checkpoint to be loaded was written by other ranks, and `load` gets it converted."""
        import deepspeed

        if config.engine.precision == "fp16" and ranks.device.type == "cpu":
            raise UserError("engine.precision: fp16 needs a GPU; set bf16, autocast_bf16 or fp32")
        if config.engine.activation_checkpointing:
            model.gradient_checkpointing_enable()  # type: ignore[operator]
        model.train()
        parameters = sum(p.numel() for p in model.parameters())
        self.config, self.ranks, self.universal = config, ranks, universal
        # DeepSpeed's stage 0 clips parameter by parameter and reports no norm, so it is done here
        self.plain = config.engine.zero == 0
        settings = deepspeed_config(
            config, world=ranks.world, micro_batch=micro_batch, parameters=parameters, universal=universal
        )
        with contextlib.redirect_stdout(io.StringIO()):  # it prints its memory use
            self.deepspeed, *_ = deepspeed.initialize(
                model=model, optimizer=build_optimizer(model, config.optim), config=settings
            )
        self._apply, self._norm = True, math.nan
        self._guard_update()
        if ranks.world == 1 and self.plain:
            self.deepspeed.enable_backward_allreduce = False  # would copy all gradients there and back
        self.ema = self._copies() if config.ema else None
        self.updates = 0

    @property
    def module(self) -> nn.Module:
        return self.deepspeed.module

    def forward(self, inputs: dict[str, Tensor]) -> Any:
        return self.deepspeed(**inputs)

    def backward(self, loss: Tensor) -> None:
        """Adds the gradient of a micro-batch."""
        last = self._last_micro_batch()
        self.deepspeed.backward(loss, scale_wrt_gas=False)
        if not last:
            self.deepspeed.step()  # only counts

    def step(self, lr: float, apply: bool = True) -> float:
        """Updates the weights after the last micro-batch; returns the gradient's norm before clipping, nan
        where nothing was updated: because it is no number, or too large for fp16, or by `apply=False`."""
        assert self._last_micro_batch(), "step() before all micro-batches went through backward()"
        set_learning_rate(self.deepspeed.optimizer, lr)
        self._apply = apply
        if self.plain:
            clip = self.config.optim.clip or math.inf
            self._norm = float(nn.utils.clip_grad_norm_(self.module.parameters(), clip, foreach=True))
        self.deepspeed.step()
        norm = self._norm if self.plain else self.deepspeed.get_global_grad_norm()
        applied = apply and self.deepspeed.was_step_applied() and norm is not None and math.isfinite(norm)
        if applied and self.ema is not None:
            self._update_ema()
        return float(norm) if applied else math.nan

    def _guard_update(self) -> None:
        """Lets DeepSpeed update nothing from a gradient that is not a number, or in a step not to be applied.
        All ranks know the same norm, so they do the same."""
        outer = self.deepspeed.optimizer
        inner = getattr(outer, "optimizer", outer)
        update = inner.step

        def step(*args: Any, **kwargs: Any) -> Any:
            norm = self._norm if self.plain else outer._global_grad_norm
            return update(*args, **kwargs) if self._apply and math.isfinite(norm) else None

        inner.step = step

    def _last_micro_batch(self) -> bool:
        return bool(self.deepspeed.is_gradient_accumulation_boundary())

    # ------------------------------------------------------------------------ weights

    def _shards(self) -> dict[str, Tensor]:
        """What this rank holds of each weight: under ZeRO-3 its flat share, else the whole."""
        return {
            name: (p.ds_tensor if hasattr(p, "ds_tensor") else p).detach()
            for name, p in self.module.named_parameters()
        }

    def _copies(self) -> dict[str, Tensor]:
        return {name: shard.float().clone() for name, shard in self._shards().items()}

    def _update_ema(self) -> None:
        """mean += (1 - decay) * (weights - mean); young means follow faster, so the start is forgotten."""
        assert self.ema is not None and self.config.ema is not None
        self.updates += 1
        decay = min(self.config.ema, (1 + self.updates) / (10 + self.updates))
        shards = [shard.float() for shard in self._shards().values()]
        torch._foreach_lerp_(list(self.ema.values()), shards, 1 - decay)

    def weights(self) -> dict[str, Tensor]:
        """The whole weights, or their running mean, on the CPU of rank 0. All ranks call it."""
        dtype = next(self.module.parameters()).dtype
        shards = self._shards() if self.ema is None else self.ema
        out = {}
        for name, parameter in self.module.named_parameters():
            whole = self._gather(parameter, shards[name].to(dtype))
            if self.ranks.main:
                out[name] = whole.to("cpu", copy=True).contiguous()
        if self.ranks.main:
            kept = set(self.module.state_dict())  # without the buffers that are computed anew
            out |= {name: b.detach().cpu() for name, b in self.module.named_buffers() if name in kept}
        return out

    def _gather(self, parameter: Any, shard: Tensor) -> Tensor:
        if not hasattr(parameter, "ds_tensor"):
            return shard
        parts = [torch.empty_like(shard) for _ in range(self.ranks.world)]
        dist.all_gather(parts, shard.contiguous())
        return torch.cat(parts)[: parameter.ds_numel].view(parameter.ds_shape)

    # -------------------------------------------------------------------- checkpoints

    def save(self, folder: Path, tag: str) -> None:
        """Writes the state of all ranks into folder / tag. All ranks call it."""
        self.deepspeed.save_checkpoint(str(folder), tag=tag, save_latest=False)
        if self.ema is not None and (self.ranks.main or self.config.engine.zero == 3):
            torch.save(
                {"updates": self.updates, "mean": self.ema},
                folder / tag / ema_file(self.ranks.rank, self.config.engine.zero),
            )

    def load(self, folder: Path, tag: str) -> None:
        """Reads what `save` wrote with as many ranks, the same ZeRO stage and precision, or its universal
        form."""
        groups = self.deepspeed.optimizer.param_groups
        own = [{key: group[key] for key in ("weight_decay", "lr_scale")} for group in groups]
        path, _ = self.deepspeed.load_checkpoint(str(folder), tag=tag)
        if path is None:
            raise UserError(f"{folder / tag}: DeepSpeed finds no state there; choose another checkpoint")
        for group, settings in zip(groups, own, strict=True):
            group.update(settings)  # the config's; from a universal checkpoint all get those of the first
        inner = getattr(self.deepspeed.optimizer, "optimizer", self.deepspeed.optimizer)
        for state in inner.state.values():
            if isinstance(state.get("step"), Tensor):  # one for all, which every parameter would count up
                state["step"] = state["step"].clone()

    def load_ema(self, checkpoint: Path, world: int, zero: int) -> None:
        """Reads the running mean that `world` ranks wrote at stage `zero`. Where there is none, `ema` was
        switched on since: it starts at the weights."""
        if self.ema is None:
            return
        files = [checkpoint / ema_file(rank, zero) for rank in range(world if zero == 3 else 1)]
        if not files[0].exists():
            self.ema, self.updates = self._copies(), 0
            return
        parts = [torch.load(file, map_location="cpu", weights_only=True) for file in files]
        self.updates = parts[0]["updates"]
        for name, parameter in self.module.named_parameters():
            mean = torch.cat([part["mean"][name].flatten() for part in parts])
            self.ema[name] = self._own(parameter, mean).to(self.ranks.device)

    def _own(self, parameter: Any, whole: Tensor) -> Tensor:
        """What this rank holds of a flat tensor, which may be padded: under ZeRO-3 its share, else all."""
        if not hasattr(parameter, "ds_tensor"):
            return whole[: parameter.numel()].view(parameter.shape).clone()
        size, whole = parameter.ds_tensor.numel(), whole[: parameter.ds_numel]
        padded = nn.functional.pad(whole, (0, size * self.ranks.world - len(whole)))
        return padded[size * self.ranks.rank : size * (self.ranks.rank + 1)].clone()


def ema_file(rank: int, zero: int) -> str:
    """Name of the file with the running mean: under ZeRO-3 each rank writes its share."""
    return f"ema_rank_{rank}.pt" if zero == 3 else "ema.pt"
