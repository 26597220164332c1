"""Memory: what this process, or its accelerator, holds now and has held at most."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import torch


def used_bytes() -> int:
    """Resident memory of this process, or memory allocated on the GPU where there is one; 0 where the system doesn't tell."""
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated()
    return _resident_bytes()


def _resident_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    import resource

    return pages * resource.getpagesize()


def held_bytes() -> int:
    """Resident memory of this process once everything is imported that a training comes to import: optimizers load PyTorch's compiler at their first step."""
    importlib.import_module("torch._dynamo")
    return _resident_bytes()


def reset_peak() -> bool:
    """Let `peak_bytes` count from now on; False where the system can't."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return True
    try:
        # Linux, proc(5): 5 resets the mark of resident memory.
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_bytes() -> int:
    """The most memory that was resident, or allocated on the GPU, since the process began; 0 where the system doesn't tell."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
