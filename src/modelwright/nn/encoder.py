"""The encoder block of a Transformer: attention, then feed-forward, each normed before and added to the stream.

B batch, T time, D width.
"""

from __future__ import annotations

from torch import Tensor, nn

from modelwright.nn.activation import Activation
from modelwright.nn.attention import Attention
from modelwright.nn.feedforward import FeedForward
from modelwright.nn.normalization import SequenceNorm, sequence_norm
from modelwright.nn.positions import RotaryPositions


class EncoderBlock(nn.Module):
    """A pre-norm encoder block (Xiong et al. 2020, figure 1b).

    Args:
        width: D.
        num_heads: number of attention heads, a divisor of `width`.
        hidden: width inside the feed-forward layer.
        norm: `layer` or `rms`.
        activation_name: the nonlinearity inside the feed-forward layer.
        dropout: probability in training, of what each branch adds and of the hidden values.
        attention_dropout: probability in training, of the attention weights.
        rotary: turns queries and keys by their position.
        branch_scale: factor on the initial weights that end a branch, 1/√(number of branches) in a deep stack.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        hidden: int,
        *,
        norm: SequenceNorm = "layer",
        activation_name: Activation = "gelu",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        rotary: RotaryPositions | None = None,
        branch_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.attention_norm = sequence_norm(norm, width)
        self.attention = Attention(width, num_heads, dropout=attention_dropout, rotary=rotary, output_scale=branch_scale)
        self.feedforward_norm = sequence_norm(norm, width)
        self.feedforward = FeedForward(width, hidden, activation_name=activation_name, dropout=dropout, output_scale=branch_scale)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTD: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D); positions where `mask_BT` is False influence no other."""
        x_BTD = x_BTD + self.dropout(self.attention(self.attention_norm(x_BTD), mask_BT))
        return x_BTD + self.dropout(self.feedforward(self.feedforward_norm(x_BTD)))
