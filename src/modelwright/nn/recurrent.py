"""Recurrent layers: stacked and bidirectional RNN, GRU and LSTM over sequences of uneven lengths.

B batch, T time, D width of a layer's output: twice the width of a direction if there are two.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from modelwright.core.batch import Features, FeatureSpec
from modelwright.nn.pooling import last_in_time, lengths, max_over_time, mean_over_time

Cell = Literal["rnn", "gru", "lstm"]
RecurrentPooling = Literal["last", "mean", "max", "none"]

_LAYERS: dict[Cell, type[nn.RNN] | type[nn.GRU] | type[nn.LSTM]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class Recurrent(nn.Module):
    """A stack of recurrent layers, as a backbone.

    Args:
        cell: `rnn` (tanh), `gru` or `lstm`.
        spec: the sequence that comes in.
        width: of each direction's state.
        depth: number of layers.
        bidirectional: a second stack reads from the end.
        dropout: probability in training, between layers.
        pool: `last` gives the last layer's final state of each direction, `mean` and `max` go over time, `none` gives the sequence.
    """

    def __init__(
        self,
        cell: Cell,
        spec: FeatureSpec,
        width: int,
        depth: int = 1,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        pool: RecurrentPooling = "last",
    ) -> None:
        super().__init__()
        assert spec.kind == "sequence", spec
        between = dropout if depth > 1 else 0.0
        self.layers = _LAYERS[cell](spec.width, width, depth, batch_first=True, dropout=between, bidirectional=bidirectional)
        self.bidirectional, self.pool = bidirectional, pool
        width_out = width * (2 if bidirectional else 1)
        self.gives = FeatureSpec("sequence", width_out, spec.size) if pool == "none" else FeatureSpec("vector", width_out)

    def forward(self, features: Features) -> Features:
        """A sequence (B, T, D'), whose real positions come first -> a vector (B, D), or a sequence (B, T, D) if nothing is pooled."""
        x_BTD, last_BD = self._read(*features)
        mask_BT = features.mask
        if self.pool == "none":
            return Features(x_BTD, mask_BT)
        if self.pool == "last":
            return Features(last_BD)
        return Features((mean_over_time if self.pool == "mean" else max_over_time)(x_BTD, mask_BT))

    def _read(self, x_BTD: Tensor, mask_BT: Tensor | None) -> tuple[Tensor, Tensor]:
        """All outputs, and the last layer's final state."""
        if mask_BT is None:
            out_BTD, state = self.layers(x_BTD)
        elif not self.bidirectional:
            # What follows the last real position can't reach it, so nothing needs to be packed, which is slow.
            out_BTD, _ = self.layers(x_BTD)
            return out_BTD, last_in_time(out_BTD, mask_BT)
        else:
            packed = pack_padded_sequence(x_BTD, lengths(mask_BT).cpu(), batch_first=True, enforce_sorted=False)
            packed_out, state = self.layers(packed)
            out_BTD, _ = pad_packed_sequence(packed_out, batch_first=True, total_length=x_BTD.shape[1])
        hidden = state[0] if isinstance(state, tuple) else state
        return out_BTD, torch.cat((hidden[-2], hidden[-1]), dim=-1) if self.bidirectional else hidden[-1]
