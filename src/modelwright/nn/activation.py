"""Activations: the nonlinearity between two linear maps, by name."""

from __future__ import annotations

from typing import Literal

from torch import nn

Activation = Literal["relu", "gelu", "silu", "tanh"]

_MODULES: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}

MONOTONE: frozenset[str] = frozenset({"relu", "tanh"})
"""Activations that never fall, so that they commute with a maximum: pooling before them gives the same numbers for less work."""


def activation(name: Activation) -> nn.Module:
    """The elementwise function called `name`; output and input have the same shape."""
    return _MODULES[name]()
