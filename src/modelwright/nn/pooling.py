"""Pooling: one vector from a sequence or a grid, blind to padding.

B batch, T time, D width, C channels, H height, W width of a grid.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from modelwright.core.batch import Features, FeatureSpec
from modelwright.core.errors import InputError

Pooling = Literal["mean", "max", "last", "flatten"]


def lengths(mask_BT: Tensor) -> Tensor:
    """The number of real positions of each example, (B,)."""
    return mask_BT.sum(1)


def mean_over_time(x_BTD: Tensor, mask_BT: Tensor | None = None) -> Tensor:
    """The mean of the real positions, (B, D)."""
    if mask_BT is None:
        return x_BTD.mean(1)
    weight_BT1 = (mask_BT / mask_BT.sum(1, keepdim=True)).to(x_BTD.dtype)[:, :, None]
    return (x_BTD.masked_fill(~mask_BT[:, :, None], 0) * weight_BT1).sum(1)


def max_over_time(x_BTD: Tensor, mask_BT: Tensor | None = None) -> Tensor:
    """The greatest value of the real positions, (B, D)."""
    return (x_BTD if mask_BT is None else x_BTD.masked_fill(~mask_BT[:, :, None], -math.inf)).amax(1)


def last_in_time(x_BTD: Tensor, mask_BT: Tensor | None = None) -> Tensor:
    """The last real position, (B, D); the real positions come first."""
    if mask_BT is None:
        return x_BTD[:, -1]
    return x_BTD[torch.arange(len(x_BTD), device=x_BTD.device), lengths(mask_BT) - 1]


class Pool(nn.Module):
    """Makes a vector of any features; a vector stays as it is.

    Args:
        how: `mean`, `max`, `last` (of a sequence), or `flatten`, which keeps everything in one long vector.
        spec: what comes in.

    Raises:
        InputError: `last` is asked of a grid.
    """

    def __init__(self, how: Pooling, spec: FeatureSpec) -> None:
        super().__init__()
        if how == "last" and spec.kind == "grid":
            raise InputError(f"pool: a grid has no last position ({spec})", expected="mean, max or flatten")
        self.how, self.kind = how, spec.kind
        self.gives = FeatureSpec("vector", spec.width * (math.prod(spec.size) if how == "flatten" else 1))

    def forward(self, features: Features) -> Tensor:
        """Features -> (B, D)."""
        x, mask, _ = features
        if self.kind == "vector":
            return x
        if self.how == "flatten":
            return (x if mask is None else x.masked_fill(~mask[:, :, None], 0)).flatten(1)
        if self.kind == "grid":
            return x.mean((2, 3)) if self.how == "mean" else x.amax((2, 3))
        if self.how == "mean":
            return mean_over_time(x, mask)
        return max_over_time(x, mask) if self.how == "max" else last_in_time(x, mask)
