"""Feed-forward layers: two linear maps with an activation between, at each position by itself.

B batch, T time, D width.
"""

from __future__ import annotations

from torch import Tensor, nn

from modelwright.nn.activation import Activation, activation
from modelwright.nn.initialization import with_role


class FeedForward(nn.Module):
    """Linear, activation, dropout, linear (Vaswani et al. 2017, section 3.3).

    Args:
        width: D of input and output.
        hidden: width between.
        activation_name: the nonlinearity.
        dropout: probability that a hidden value is dropped in training.
        output_scale: factor on the initial weights of the second map.
    """

    def __init__(
        self, width: int, hidden: int, *, activation_name: Activation = "gelu", dropout: float = 0.0, output_scale: float = 1.0
    ) -> None:
        super().__init__()
        self.expand = with_role(nn.Linear(width, hidden), activation_name)
        self.activation = activation(activation_name)
        self.dropout = nn.Dropout(dropout)
        self.output = with_role(nn.Linear(hidden, width), "linear", scale=output_scale)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.output(self.dropout(self.activation(self.expand(x))))
