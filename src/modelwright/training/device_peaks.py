"""Device peaks: the most FLOPs a second that a device can do, from the table of devices; of a CPU, measured."""

from __future__ import annotations

import functools
import time

import torch
from torch import Tensor

from modelwright.planning.devices import device_of
from modelwright.training.rule import Precision

PROBE_SIZES = {"cpu": (192, 384, 768, 1536), "cuda": (1536, 3072, 6144)}
"""Rows of the square matrices whose products are timed."""
PROBE_SECONDS = 0.1
PROBED = 3
"""Times at least, of which the shortest counts."""


def peak_flops(device: torch.device, precision: Precision) -> float | None:
    """FLOPs a second at most; of a CPU as probed here, with the threads that it has now. None for a device that is in no row."""
    if device.type == "cpu":
        return probe_cpu(precision, torch.get_num_threads())
    if device.type != "cuda":
        return None
    found = device_of(torch.cuda.get_device_name(device))
    value = None if found is None else found.bfloat16 if precision == "bfloat16" else found.float32
    return None if value is None else 1e12 * value


@functools.cache
def probe_cpu(precision: Precision, threads: int) -> float:
    """FLOPs a second of a large product of matrices on this CPU, measured once a process.

    Args:
        precision: of the factors.
        threads: that PyTorch uses now; a probe with another number is another probe.
    """
    return product_flops(precision, torch.device("cpu"))


@torch.inference_mode()
def product_flops(precision: Precision, device: torch.device) -> float:
    """FLOPs a second of a product of matrices, the best of several: of the largest one that takes no longer than the probe should."""
    best = 0.0
    for size in PROBE_SIZES[device.type]:
        if best and 8 * best > PROBE_SECONDS:
            break
        a, b = torch.randn(2, size, size, device=device).to(getattr(torch, precision))
        _seconds(a, b)
        best, work = min(_seconds(a, b) for _ in range(PROBED)), 2 * size**3
    end = time.perf_counter() + PROBE_SECONDS
    while time.perf_counter() < end:
        best = min(best, _seconds(a, b))
    return work / best


def _seconds(a: Tensor, b: Tensor) -> float:
    began = time.perf_counter()
    torch.mm(a, b)
    if a.device.type == "cuda":
        torch.cuda.synchronize(a.device)
    return time.perf_counter() - began
