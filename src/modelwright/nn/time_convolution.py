"""Convolution over time, of each channel by itself: a look at the nearest neighbors, onward only or both ways.

B batch, T time, D width, N neighbors.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modelwright.nn.cache import State, state_dtype
from modelwright.nn.initialization import Fill


class TimeConvolution(nn.Module):
    """A depthwise convolution, computed as a sum of shifted copies: on a CPU as fast as PyTorch's in float32, and twice in bfloat16 (2.13).

    Args:
        width: D.
        kernel: N, positions that one is made of, itself included.
        causal: they are the last ones, else those around.
    """

    def __init__(self, width: int, kernel: int, *, causal: bool) -> None:
        super().__init__()
        self.kernel, self.causal = kernel, causal
        self.weight = nn.Parameter(torch.zeros(kernel, width))

    def initialize(self, fill: Fill) -> None:
        """Draw the weights."""
        fill(self.weight, "linear", fan_in=self.kernel)

    def new_state(self, rows: int) -> State:
        """The N-1 positions before the first one, (rows, N-1, D): zeros, as padding is."""
        dtype, device = state_dtype(self)
        return (torch.zeros(rows, self.kernel - 1, self.weight.shape[1], dtype=dtype, device=device),)

    def forward(
        self, x_BTD: Tensor, mask_BT: Tensor | None = None, documents_BT: Tensor | None = None, state: State | None = None
    ) -> Tensor:
        """(B, T, D) -> (B, T, D).

        Args:
            x_BTD: the sequence.
            mask_BT: True where a position is real; the others count as zeros.
            documents_BT: positions of another document count as zeros.
            state: the positions before, which are replaced by the last ones.
        """
        time, before = x_BTD.shape[1], self.kernel - 1 if self.causal else (self.kernel - 1) // 2
        if mask_BT is not None:
            x_BTD = x_BTD.masked_fill(~mask_BT[:, :, None], 0)
        if state is None:
            padded = F.pad(x_BTD, (0, 0, before, self.kernel - 1 - before))
        else:
            assert self.causal, "only a causal layer goes on from what it has read"
            assert documents_BT is None, "what is read onward is all one document"
            padded = torch.cat((state[0].to(x_BTD.dtype), x_BTD), dim=1)
            state[0].copy_(padded[:, time:])
        weight = self.weight.to(x_BTD.dtype)
        out_BTD = x_BTD * weight[before]
        if documents_BT is not None:
            documents_BT = F.pad(documents_BT, (before, self.kernel - 1 - before), value=-1)
        for place in range(self.kernel):
            if place == before:
                continue
            shifted_BTD = padded[:, place : place + time]
            if documents_BT is not None:
                same_BT = documents_BT[:, place : place + time] == documents_BT[:, before : before + time]
                shifted_BTD = shifted_BTD.masked_fill(~same_BT[:, :, None], 0)
            out_BTD = torch.addcmul(out_BTD, shifted_BTD, weight[place])
        return out_BTD
