"""Positions: what tells a Transformer the order of a sequence. Added to it, or turned into queries and keys.

B batch, T time, D width, H heads, K width of a head.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from modelwright.core.errors import InputError
from modelwright.nn.initialization import Fill

Positions = Literal["none", "sinusoidal", "learned", "rotary", "alibi"]

Places = int | Tensor
"""Where the positions of a pass lie: from one place on, the same for all rows, or (B, T) int64."""

Turn = tuple[Tensor, Tensor]
"""Cosines and sines, as `RotaryPositions` gives them."""


def sinusoids(length: int, width: int, *, base: float = 10_000.0) -> Tensor:
    """Sines at even and cosines at odd places, (T, D); Vaswani et al. 2017, section 3.5."""
    position_T1 = torch.arange(length, dtype=torch.float64)[:, None]
    angle = position_T1 * torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(base) / width))
    table = torch.empty(length, width, dtype=torch.float64)
    table[:, 0::2] = angle.sin()
    table[:, 1::2] = angle.cos()[:, : width // 2]
    return table.float()


class SinusoidalPositions(nn.Module):
    """Adds fixed sinusoids to a sequence of up to `length` positions, `scale` times as large as in the paper."""

    table: Tensor

    def __init__(self, length: int, width: int, *, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("table", sinusoids(length, width) * scale, persistent=False)

    def initialize(self, fill: Fill) -> None:
        """Compute the table anew."""
        with torch.device("cpu"):
            self.table.copy_(sinusoids(*self.table.shape) * self.scale)

    def reach(self, length: int) -> None:
        """Make the table last for `length` positions."""
        if length > len(self.table):
            # A table that is made in inference mode could not be trained with afterwards.
            with torch.inference_mode(False), torch.device("cpu"):
                self.table = (sinusoids(length, self.table.shape[1]) * self.scale).to(self.table)

    def forward(self, x_BTD: Tensor, places: Places = 0) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return x_BTD + at(self.table, places, x_BTD.shape[1])


class LearnedPositions(nn.Module):
    """Adds a learned vector for each of up to `length` positions, which starts `scale` times as large as a normed stream."""

    def __init__(self, length: int, width: int, *, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale
        self.table = nn.Parameter(torch.zeros(length, width))

    def initialize(self, fill: Fill) -> None:
        """Draw the table."""
        fill(self.table, "position", fan_in=1, scale=self.scale)

    def reach(self, length: int) -> None:
        """Check that there are `length` positions.

        Raises:
            InputError: there are fewer; what was not learned can't be made up.
        """
        if length > len(self.table):
            raise InputError(f"{length:,} tokens are too many: the positions are learned, and there are {len(self.table):,} of them")

    def forward(self, x_BTD: Tensor, places: Places = 0) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return x_BTD + at(self.table, places, x_BTD.shape[1])


class NoPositions(nn.Module):
    """Adds nothing."""

    def reach(self, length: int) -> None:
        """Any length will do."""

    def forward(self, x_BTD: Tensor, places: Places = 0) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return x_BTD


class RotaryPositions(nn.Module):
    """Angles that grow with the position, by which queries and keys are turned, so that their product depends on the distance alone.

    Su et al. 2021 (RoFormer), section 3.2; the two halves of a head are the two axes of the planes that turn.

    Args:
        length: positions to begin with.
        head_width: K, even.
        base: of the wavelengths, from 2π to 2π times `base`.
    """

    cosine: Tensor
    sine: Tensor

    def __init__(self, length: int, head_width: int, *, base: float = 10_000.0) -> None:
        super().__init__()
        assert head_width % 2 == 0, head_width
        self.head_width, self.base = head_width, base
        cosine, sine = self._tables(length)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)

    def _tables(self, length: int) -> tuple[Tensor, Tensor]:
        """Cosines (T, K), twice the same half, and sines (T, K), the first half negative: so `rotate` needs no more than three operations."""
        frequency = torch.exp(torch.arange(0, self.head_width, 2, dtype=torch.float64) * (-math.log(self.base) / self.head_width))
        angle = torch.arange(length, dtype=torch.float64)[:, None] * frequency
        return angle.cos().repeat(1, 2).float(), torch.cat((-angle.sin(), angle.sin()), dim=1).float()

    def initialize(self, fill: Fill) -> None:
        """Compute the tables anew."""
        with torch.device("cpu"):
            cosine, sine = self._tables(len(self.cosine))
        self.cosine.copy_(cosine)
        self.sine.copy_(sine)

    def reach(self, length: int) -> None:
        """Make the tables last for `length` positions."""
        if length > len(self.cosine):
            # Tables that are made in inference mode could not be trained with afterwards.
            with torch.inference_mode(False), torch.device("cpu"):
                cosine, sine = self._tables(length)
                self.cosine, self.sine = cosine.to(self.cosine), sine.to(self.sine)

    def forward(self, time: int, places: Places, dtype: torch.dtype) -> Turn:
        """The cosines and sines of `time` positions, (T, 1, K), or (B, T, 1, K) if they differ between rows."""
        cosine, sine = at(self.cosine, places, time), at(self.sine, places, time)
        return cosine.unsqueeze(-2).to(dtype), sine.unsqueeze(-2).to(dtype)


def rotate(x_BTHK: Tensor, turn: Turn) -> Tensor:
    """Turn the planes of every head, (B, T, H, K) -> (B, T, H, K), by what `RotaryPositions` gives."""
    cosine, sine = turn
    first, second = x_BTHK.chunk(2, dim=-1)
    return torch.addcmul(x_BTHK * cosine, torch.cat((second, first), dim=-1), sine)


def at(table_PD: Tensor, places: Places, time: int) -> Tensor:
    """The rows of a table for `time` positions: (T, D) from one place on, or (B, T, D) for places (B, T)."""
    if isinstance(places, Tensor):
        return table_PD[places]
    assert places + time <= len(table_PD), f"positions {places}..{places + time} of {len(table_PD)}"
    return table_PD[places : places + time]


def alibi_slopes(num_heads: int) -> list[float]:
    """How much each head minds distance; Press et al. 2022 (Train Short, Test Long), section 3.

    For a power of two 2^(-8/H), 2^(-16/H), ...; for other numbers of heads those of the power below, then every other one of the power above.
    """
    power = 1 << (num_heads.bit_length() - 1)
    slopes = [2 ** (-8 * (head + 1) / power) for head in range(power)]
    return slopes + [2 ** (-8 * (head + 1) / (2 * power)) for head in range(0, 2 * (num_heads - power), 2)]
