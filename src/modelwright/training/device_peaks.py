"""Device peaks: the most FLOPs a second that a device can do, from the makers' tables; of a CPU, measured."""

from __future__ import annotations

import functools
import re
import time
from typing import NamedTuple

import torch

from modelwright.training.rule import Precision

PROBE_SIZE = 1536
"""Rows of the square matrices whose product is timed."""
PROBE_SECONDS = 0.1


class Peak(NamedTuple):
    """Dense peaks of one device, in TFLOP/s.

    Attributes:
        bfloat16: with bfloat16 factors and sums in float32, without structured sparsity; None where the device has no such units.
        float32: in IEEE single precision, as PyTorch computes by default (no TF32).
        source: where the numbers come from.
    """

    bfloat16: float | None
    float32: float
    source: str


PEAKS: dict[str, Peak] = {
    "V100": Peak(None, 15.7, "NVIDIA V100 datasheet, SXM2"),
    "V100 PCIe": Peak(None, 14.0, "NVIDIA V100 datasheet, PCIe"),
    "T4": Peak(None, 8.1, "NVIDIA T4 datasheet"),
    "A10": Peak(125.0, 31.2, "NVIDIA A10 datasheet"),
    "A30": Peak(165.0, 10.3, "NVIDIA A30 datasheet"),
    "A40": Peak(149.7, 37.4, "NVIDIA A40 datasheet"),
    "A100": Peak(312.0, 19.5, "NVIDIA A100 datasheet"),
    "L4": Peak(121.0, 30.3, "NVIDIA L4 datasheet, half of the number with sparsity"),
    "L40": Peak(181.05, 90.5, "NVIDIA L40 datasheet"),
    "L40S": Peak(362.05, 91.6, "NVIDIA L40S datasheet"),
    "RTX 3090": Peak(71.0, 35.6, "NVIDIA GA102 whitepaper, appendix A"),
    "RTX 4090": Peak(165.2, 82.6, "NVIDIA Ada whitepaper, appendix A"),
    "RTX 5090": Peak(209.5, 104.8, "NVIDIA RTX Blackwell whitepaper, appendix A"),
    "H20": Peak(148.0, 44.0, "NVIDIA H20 datasheet"),
    "H100": Peak(989.4, 66.9, "NVIDIA H100 whitepaper, SXM5"),
    "H100 PCIe": Peak(756.0, 51.2, "NVIDIA H100 whitepaper, PCIe"),
    "H100 NVL": Peak(835.0, 60.0, "NVIDIA H100 NVL datasheet, half of the number with sparsity"),
    "H200": Peak(989.4, 66.9, "NVIDIA H200 datasheet, half of the number with sparsity"),
    "H200 NVL": Peak(835.0, 60.0, "NVIDIA H200 datasheet, NVL, half of the number with sparsity"),
    "GH200": Peak(989.4, 66.9, "NVIDIA GH200 datasheet, half of the number with sparsity"),
    "B200": Peak(2250.0, 75.0, "NVIDIA HGX B200 datasheet, an eighth of eight GPUs"),
    "GB200": Peak(2500.0, 80.0, "NVIDIA GB200 NVL72 datasheet, one of 72 GPUs"),
    "MI210": Peak(181.0, 45.3, "AMD Instinct MI210 datasheet, float32 of matrices"),
    "MI300X": Peak(1307.4, 163.4, "AMD Instinct MI300X datasheet"),
    "MI325X": Peak(1307.4, 163.4, "AMD Instinct MI325X datasheet"),
    "MI355X": Peak(2516.6, 157.3, "AMD Instinct MI355X datasheet"),
}
"""By the words that a device's name holds; where several rows fit, the longest is meant."""
VARIANTS = ("Ti", "D", "SUPER", "Laptop", "Max-Q", "NVL", "MIG")
"""Words after which a device is another one than that of a row without them: slower or faster, or a part of it."""


def peak_flops(device: torch.device, precision: Precision) -> float | None:
    """FLOPs a second at most; of a CPU as probed here, with the threads that it has now. None for a device that is in no row."""
    if device.type == "cpu":
        return probe_cpu(precision, torch.get_num_threads())
    if device.type != "cuda":
        return None
    peak = find_peak(torch.cuda.get_device_name(device))
    value = None if peak is None else peak.bfloat16 if precision == "bfloat16" else peak.float32
    return None if value is None else 1e12 * value


def find_peak(name: str) -> Peak | None:
    """The row of the device of that name, such as `NVIDIA A100-SXM4-80GB`; None where the name tells of a variant that no row is of."""
    fitting = [row for row in PEAKS if _holds(name, row)]
    variants = [word for word in VARIANTS if _holds(name, word)]
    row = max(fitting, key=len, default="")
    return PEAKS[row] if row and all(_holds(row, word) for word in variants) else None


def _holds(name: str, words: str) -> bool:
    """Whether these words stand in a name, with blanks or hyphens between them."""
    return bool(re.search(rf"(?<![A-Za-z0-9]){re.sub('[ -]', '[ -]', words)}(?![A-Za-z0-9])", name, re.IGNORECASE))


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
