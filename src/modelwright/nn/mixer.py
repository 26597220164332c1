"""Mixers: what lets the positions of a sequence know of each other, by attention, recurrence or convolution, under one signature.

B batch, T time, D width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from modelwright.nn.attention import Attention
from modelwright.nn.cache import State, ring, state_dtype
from modelwright.nn.dropout import Dropout
from modelwright.nn.initialization import ending_branch, with_role
from modelwright.nn.normalization import SequenceNorm, sequence_norm
from modelwright.nn.recurrent import Cell, RecurrentLayer
from modelwright.nn.sight import Sight
from modelwright.nn.time_convolution import TimeConvolution


class Pass(NamedTuple):
    """What the mixers need to know of a pass, the same for all layers.

    Attributes:
        mask: (B, T), True where a position is real.
        documents: (B, T), equal within a document.
        sight: of attention.
    """

    mask: Tensor | None = None
    documents: Tensor | None = None
    sight: Sight = Sight()


class Mixer(nn.Module):
    """A layer (B, T, D) -> (B, T, D)."""

    def new_state(self, rows: int, capacity: int) -> State:
        """What it keeps in a cache of `rows` sequences of up to `capacity` positions."""
        raise NotImplementedError

    def forward(self, x_BTD: Tensor, view: Pass, state: State | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D); with a `state`, on from there."""
        raise NotImplementedError


class AttentionMixer(Mixer):
    """Multi-head attention."""

    def __init__(self, width: int, num_heads: int, *, causal: bool, dropout: float = 0.0, output_scale: float = 1.0) -> None:
        super().__init__()
        self.attention = Attention(width, num_heads, causal=causal, dropout=dropout, output_scale=output_scale)

    def new_state(self, rows: int, capacity: int) -> State:
        """Keys and values of all positions."""
        dtype, device = state_dtype(self)
        return ring(rows, self.attention.num_kv_heads, capacity, self.attention.head_width, dtype=dtype, device=device)

    def forward(self, x_BTD: Tensor, view: Pass, state: State | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return self.attention(x_BTD, view.sight, state)


class RecurrentMixer(Mixer):
    """A recurrent layer, with half of the width in each direction unless it is causal."""

    def __init__(self, width: int, cell: Cell, *, causal: bool, output_scale: float = 1.0) -> None:
        super().__init__()
        assert causal or width % 2 == 0, width
        self.recurrence = RecurrentLayer(cell, width, width if causal else width // 2, bidirectional=not causal)
        self.output = ending_branch(with_role(nn.Linear(width, width), "linear", scale=output_scale))

    def new_state(self, rows: int, capacity: int) -> State:
        """The state of the recurrence."""
        return self.recurrence.new_state(rows)

    def forward(self, x_BTD: Tensor, view: Pass, state: State | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        return self.output(self.recurrence(x_BTD, view.mask, view.documents, state)[0])


class ConvolutionMixer(Mixer):
    """A short convolution of what one map gives, times what another one lets through (after the gated unit of Dauphin et al. 2017)."""

    def __init__(self, width: int, kernel: int, *, causal: bool, output_scale: float = 1.0) -> None:
        super().__init__()
        self.project = nn.Linear(width, 2 * width)
        self.convolution = TimeConvolution(width, kernel, causal=causal)
        self.output = ending_branch(with_role(nn.Linear(width, width), "linear", scale=output_scale))

    def new_state(self, rows: int, capacity: int) -> State:
        """The last positions before."""
        return self.convolution.new_state(rows)

    def forward(self, x_BTD: Tensor, view: Pass, state: State | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        content_BTD, gate_BTD = self.project(x_BTD).chunk(2, dim=-1)
        return self.output(self.convolution(content_BTD, view.mask, view.documents, state) * F.silu(gate_BTD))


class MixerBlock(nn.Module):
    """A mixer, then a feed-forward layer, each normed before and added to the stream.

    Args:
        width: D.
        mixer: lets positions know of each other.
        feedforward: works on each position by itself.
        norm: `layer` or `rms`.
        dropout: probability in training, of what each branch adds.
    """

    def __init__(self, width: int, mixer: Mixer, feedforward: nn.Module, *, norm: SequenceNorm = "layer", dropout: float = 0.0) -> None:
        super().__init__()
        self.mixer_norm, self.mixer = sequence_norm(norm, width), mixer
        self.feedforward_norm, self.feedforward = sequence_norm(norm, width), feedforward
        self.dropout = Dropout(dropout)

    def forward(self, x_BTD: Tensor, view: Pass, state: State | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        x_BTD = x_BTD + self.dropout(self.mixer(self.mixer_norm(x_BTD), view, state))
        return x_BTD + self.dropout(self.feedforward(self.feedforward_norm(x_BTD)))
