"""What a device computes in hardware."""

from __future__ import annotations

import platform

import torch


def computes_bf16(device: torch.device | str) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware: GPUs since Ampere, x86 processors with
    AVX512-BF16 or AMX, ARM processors with BF16.

    Others compute it all the same, by conversion: 100 times slower than float32 on a processor that has
    AVX2 and no more.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if platform.machine() in ("x86_64", "AMD64"):
        return torch.cpu._is_avx512_bf16_supported()  # processors with AMX have it too
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def uses_bf16(precision: str, device: torch.device | str) -> bool:
    """Whether the device's matrix products are of bfloat16 in `precision`: auto, fp32 or a name with bf16."""
    return computes_bf16(device) if precision == "auto" else "bf16" in precision
