"""The device whose kernels compute on a tensor: its own, or in planning the one that it stands for; and whether it has values at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor
from torch._subclasses.fake_tensor import is_fake

_planned: str | None = None


def device_kind(tensor: Tensor) -> str:
    """`cpu`, `cuda`, ...: what a layer that has several ways to compute chooses by."""
    return _planned or tensor.device.type


@contextmanager
def standing_for(kind: str) -> Iterator[None]:
    """Within, every tensor stands for one on a device of that kind, which this machine need not have."""
    global _planned
    before, _planned = _planned, kind
    try:
        yield
    finally:
        _planned = before


def has_values(tensor: Tensor) -> bool:
    """False on the meta device and for fake tensors, which have shapes only."""
    return not (tensor.is_meta or is_fake(tensor))
