"""Dropout with a mask that several values share: all moments of a sequence, or all places where a token stands.

B batch, T time, D width, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LockedDropout(nn.Module):
    """Drops a channel of a sequence at every moment or at none (variational dropout; Gal and Ghahramani 2016, section 4).

    Args:
        p: probability in training.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        if not self.training or not self.p:
            return x_BTD
        return x_BTD * F.dropout(x_BTD.new_ones(len(x_BTD), 1, x_BTD.shape[2]), self.p)


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
        keep_V = F.dropout(torch.ones(self.vocabulary, dtype=x_BTD.dtype, device=x_BTD.device), self.p)
        return x_BTD * keep_V[tokens_BT][:, :, None]
