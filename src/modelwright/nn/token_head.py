"""The token head: from the state at every position to the scores of all tokens that may come next.

B batch, T time, D width of the state, E width of the table of tokens, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modelwright.core.batch import Features
from modelwright.nn.dropout import Dropout
from modelwright.nn.initialization import Fill


class TokenHead(nn.Module):
    """Drops out, projects to the table's width where it differs, and scores every token.

    Args:
        width: D.
        outputs: V.
        tied_width: E of the table of tokens that is given to `forward` (Press and Wolf 2017); None for a table of its own, E = D.
        dropout: probability in training.
        scale: factor on the states.
        softcap: bound of the scores (Gemma Team 2024, section 2); None for none.
        bias: whether each token has an offset.
    """

    def __init__(
        self,
        width: int,
        outputs: int,
        *,
        tied_width: int | None,
        dropout: float = 0.0,
        scale: float = 1.0,
        softcap: float | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.outputs, self.scale, self.softcap = outputs, scale, softcap
        self.dropout = Dropout(dropout)
        self.projection = nn.Linear(width, tied_width, bias=False) if tied_width not in (None, width) else None
        self.weight = nn.Parameter(torch.zeros(outputs, width)) if tied_width is None else None
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    @property
    def tied(self) -> bool:
        """Whether the table of tokens is the stem's."""
        return self.weight is None

    def initialize(self, fill: Fill) -> None:
        """Draw the table, if it is its own, and set the offsets to 0."""
        if self.weight is not None:
            fill(self.weight, "score", fan_in=self.weight.shape[1], fan_out=self.weight.shape[0])
        if self.bias is not None:
            self.bias.zero_()

    def hidden(self, features: Features) -> Tensor:
        """Sequence (B, T, D) -> what the table is multiplied with, (B, T, E)."""
        x_BTD = self.dropout(features.x)
        x_BTD = x_BTD if self.scale == 1 else x_BTD * self.scale
        return x_BTD if self.projection is None else self.projection(x_BTD)

    def project(self, hidden: Tensor, table: Tensor) -> Tensor:
        """States (..., E) and a table (V, E) -> scores (..., V)."""
        logits = F.linear(hidden, table, self.bias)
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)

    def forward(self, features: Features, table: Tensor) -> Tensor:
        """Sequence (B, T, D) and the table (V, E) -> scores (B, T, V)."""
        return self.project(self.hidden(features), table)
