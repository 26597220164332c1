"""Device peaks: the most FLOPs a second that a device can do, from the table of devices; of a CPU, measured."""

from __future__ import annotations

import functools
import time

import torch

from modelwright.planning.devices import device_of
from modelwright.training.rule import Precision

PROBE_SIZE = 1536
"""Rows of the square matrices whose product is timed."""
PROBE_SECONDS = 0.1


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
    """FLOPs a second of a large product of matrices on this CPU, the best of several, once a process.

    Args:
        precision: of the factors.
        threads: that PyTorch uses now; a probe with another number is another probe.
    """
    size = PROBE_SIZE
    a, b = torch.randn(2, size, size).to(getattr(torch, precision))
    best, end = float("inf"), time.perf_counter() + PROBE_SECONDS
    with torch.inference_mode():
        torch.mm(a, b)
        while best == float("inf") or time.perf_counter() < end:
            began = time.perf_counter()
            torch.mm(a, b)
            best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best
