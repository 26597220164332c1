"""Dropout: of single values, or with a mask that several values share: all moments of a sequence, or all places where a token stands.

B batch, T time, D width, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modelwright.core.device import device_kind

_LEVELS = 1 << 16
"""How finely a probability is told apart on a CPU."""


def drop(x: Tensor, p: float) -> Tensor:
    """Set each value to zero with probability `p` and divide the others by 1 - p (Srivastava et al. 2014, section 10).

    On a CPU PyTorch draws a mask value by value, which takes longer than the layer before it; here one draw of 64 bits decides on four values, with `p`
    rounded to a multiple of 2^-16.
    """
    if device_kind(x) != "cpu" or torch.compiler.is_compiling():
        return F.dropout(x, p)
    draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
    bound = min(round(p * _LEVELS), _LEVELS - 1) - _LEVELS // 2
    keep = draws.view(torch.int16)[: x.numel()].view(x.shape) >= bound
    return x * keep.to(x.dtype).mul_(1 / (1 - p))


class Dropout(nn.Module):
    """Drops single values.

    Args:
        p: probability in training.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape -> the same shape."""
        return drop(x, self.p) if self.training and self.p else x


class LockedDropout(Dropout):
    """Drops a channel of a sequence at every moment or at none (variational dropout; Gal and Ghahramani 2016, section 4)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return x * drop(x.new_ones(len(x), 1, x.shape[2]), self.p) if self.training and self.p else x


class TokenDropout(nn.Module):
    """Drops all places of a token, drawn anew for each batch (Merity et al. 2018, section 4.3, after Gal and Ghahramani 2016).

    Args:
        vocabulary: V.
        p: probability in training.
    """

    def __init__(self, vocabulary: int, p: float) -> None:
        super().__init__()
        self.vocabulary, self.p = vocabulary, p

    def forward(self, x_BTD: Tensor, tokens_BT: Tensor) -> Tensor:
        """Vectors (B, T, D) of the tokens (B, T) -> (B, T, D)."""
        if not self.training or not self.p:
            return x_BTD
        keep_V = drop(torch.ones(self.vocabulary, dtype=x_BTD.dtype, device=x_BTD.device), self.p)
        return x_BTD * keep_V[tokens_BT][:, :, None]
