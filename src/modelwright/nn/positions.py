"""Positions: what tells a Transformer the order of a sequence. Added to it, or turned into queries and keys.

B batch, T time, D width, H heads, K width of a head.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from modelwright.nn.initialization import Fill

Positions = Literal["none", "sinusoidal", "learned", "rotary"]


def sinusoids(length: int, width: int, *, base: float = 10_000.0) -> Tensor:
    """Sines at even and cosines at odd places, (T, D); Vaswani et al. 2017, section 3.5."""
    position_T1 = torch.arange(length, dtype=torch.float64)[:, None]
    angle = position_T1 * torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(base) / width))
    table = torch.empty(length, width, dtype=torch.float64)
    table[:, 0::2] = angle.sin()
    table[:, 1::2] = angle.cos()[:, : width // 2]
    return table.float()


class SinusoidalPositions(nn.Module):
    """Adds fixed sinusoids to a sequence of up to `length` positions."""

    table: Tensor

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.register_buffer("table", sinusoids(length, width), persistent=False)

    def initialize(self, fill: Fill) -> None:
        """Compute the table anew."""
        with torch.device("cpu"):
            self.table.copy_(sinusoids(*self.table.shape))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return x_BTD + self.table[: x_BTD.shape[1]]


class LearnedPositions(nn.Module):
    """Adds a learned vector for each of up to `length` positions."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(length, width))

    def initialize(self, fill: Fill) -> None:
        """Draw the table."""
        fill(self.table, "position", fan_in=1)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return x_BTD + self.table[: x_BTD.shape[1]]


class RotaryPositions(nn.Module):
    """Turns queries and keys by angles that grow with the position, so that their product depends on the distance alone.

    Su et al. 2021 (RoFormer), section 3.2; the two halves of a head are the two axes of the planes that turn.
    """

    cosine: Tensor
    sine: Tensor

    def __init__(self, length: int, head_width: int, *, base: float = 10_000.0) -> None:
        super().__init__()
        assert head_width % 2 == 0, head_width
        self.length, self.head_width, self.base = length, head_width, base
        cosine, sine = self._tables()
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)

    def _tables(self) -> tuple[Tensor, Tensor]:
        frequency = torch.exp(torch.arange(0, self.head_width, 2, dtype=torch.float64) * (-math.log(self.base) / self.head_width))
        angle = torch.arange(self.length, dtype=torch.float64)[:, None] * frequency
        return angle.cos().float(), angle.sin().float()

    def initialize(self, fill: Fill) -> None:
        """Compute the tables anew."""
        with torch.device("cpu"):
            cosine, sine = self._tables()
        self.cosine.copy_(cosine)
        self.sine.copy_(sine)

    def forward(self, x_BHTK: Tensor, *, start: int = 0) -> Tensor:
        """(B, H, T, K) -> (B, H, T, K), the first position being `start`."""
        stop = start + x_BHTK.shape[2]
        cosine, sine = self.cosine[start:stop].to(x_BHTK.dtype), self.sine[start:stop].to(x_BHTK.dtype)
        first, second = x_BHTK.chunk(2, dim=-1)
        return torch.cat((first * cosine - second * sine, first * sine + second * cosine), dim=-1)
