"""The block of a Transformer: attention, then feed-forward, each normed before and added to the stream.

B batch, T time, D width.
"""

from __future__ import annotations

from torch import Tensor, nn

from modelwright.nn.attention import Attention
from modelwright.nn.cache import State
from modelwright.nn.dropout import Dropout
from modelwright.nn.normalization import SequenceNorm, sequence_norm
from modelwright.nn.sight import EVERYTHING, Sight


class Block(nn.Module):
    """A pre-norm block (Xiong et al. 2020, figure 1b) of an encoder, or of a decoder if its attention is causal.

    Args:
        width: D.
        attention: looks at other positions.
        feedforward: works on each position by itself, (..., D) -> (..., D).
        norm: `layer` or `rms`.
        epsilon: of the norms.
        bias: whether a layer norm has one.
        dropout: probability in training, of what each branch adds.
    """

    def __init__(
        self,
        width: int,
        attention: Attention,
        feedforward: nn.Module,
        *,
        norm: SequenceNorm = "layer",
        epsilon: float = 1e-5,
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.attention_norm = sequence_norm(norm, width, epsilon=epsilon, bias=bias)
        self.attention = attention
        self.feedforward_norm = sequence_norm(norm, width, epsilon=epsilon, bias=bias)
        self.feedforward = feedforward
        self.dropout = Dropout(dropout)

    def forward(self, x_BTD: Tensor, sight: Sight = EVERYTHING, state: State | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D); `sight` and `state` as in `Attention`."""
        x_BTD = x_BTD + self.dropout(self.attention(self.attention_norm(x_BTD), sight, state))
        return x_BTD + self.dropout(self.feedforward(self.feedforward_norm(x_BTD)))
