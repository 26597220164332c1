"""Normalization: batch, layer, group and root-mean-square norms by name, for vectors, sequences and grids.

B batch, T time, D width, C channels, H height, W width of a grid.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

GridNorm = Literal["none", "batch", "layer", "group"]
VectorNorm = Literal["none", "batch", "layer"]
SequenceNorm = Literal["layer", "rms"]

_MOST_GROUPS = 8


def num_groups(channels: int) -> int:
    """The groups that group norm makes of C channels: the greatest divisor of C up to 8."""
    return next(groups for groups in range(_MOST_GROUPS, 0, -1) if channels % groups == 0)


def grid_norm(name: GridNorm, channels: int) -> nn.Module:
    """The norm called `name` for (B, C, H, W); layer norm takes all of C, H and W together, with a scale for each channel."""
    if name == "batch":
        return nn.BatchNorm2d(channels)
    if name == "none":
        return nn.Identity()
    return nn.GroupNorm(1 if name == "layer" else num_groups(channels), channels)


def vector_norm(name: VectorNorm, width: int) -> nn.Module:
    """The norm called `name` for (B, D)."""
    if name == "none":
        return nn.Identity()
    return nn.BatchNorm1d(width) if name == "batch" else nn.LayerNorm(width)


class RMSNorm(nn.RMSNorm):
    """Root-mean-square norm (Zhang and Sennrich 2019, equation 4), in the type of what comes in."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


def sequence_norm(name: SequenceNorm, width: int, *, epsilon: float = 1e-5, bias: bool = True) -> nn.Module:
    """The norm called `name` for (B, T, D), over D at each position; `bias` is that of a layer norm."""
    return nn.LayerNorm(width, eps=epsilon, bias=bias) if name == "layer" else RMSNorm(width, eps=epsilon)
