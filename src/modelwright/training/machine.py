"""The machine: process-wide settings under which training is fast on a CPU."""

from __future__ import annotations

import ctypes
import functools
import math
from pathlib import Path

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # glibc's malloc.h
LARGE = 1 << 20
"""Bytes of a block that `map_blocks` has mapped by itself."""
MOST_MAPPED = 1 << 16
"""Blocks that are mapped at most, as glibc has it."""


@functools.cache
def prepare_machine() -> None:
    """Set this process up for training; does nothing on the second call.

    Large blocks stay in the heap rather than being mapped and unmapped, page by page, in every step (measured: 1.5-1.8x on steps of a
    small convolutional network at batch 512); denormal numbers count as zero, as some of them slow a whole step down; and there are no
    more threads than processors, where a container has a share of a large machine.
    """
    keep_heap()
    torch.set_flush_denormal(True)
    allowed = processor_quota()
    if allowed is not None and allowed < torch.get_num_threads():
        torch.set_num_threads(allowed)


def keep_heap() -> bool:
    """Tell glibc to serve large blocks from the heap and never to give it back; False where there is no such setting."""
    return _tell_glibc({_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: 2**31 - 1})


def map_blocks() -> bool:
    """Tell glibc to map each large block by itself and to give it back when it is freed; False where there is no such setting.

    A heap comes to hold as much in gaps as in blocks, or more; so there are none, but every step takes its memory afresh, page by page.
    """
    return _tell_glibc({_M_MMAP_MAX: MOST_MAPPED, _M_MMAP_THRESHOLD: LARGE, _M_TRIM_THRESHOLD: LARGE}) and give_back()


def give_back() -> bool:
    """Have glibc give back what it holds and nothing uses; False where there is no such call."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        return False
    return True


def _tell_glibc(settings: dict[int, int]) -> bool:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return all(mallopt(name, value) for name, value in settings.items())


def processor_quota(file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int | None:
    """The processors that this process's container may use, rounded up; None without a limit."""
    try:
        quota, period = file.read_text().split()
        return None if quota == "max" else max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        return None
