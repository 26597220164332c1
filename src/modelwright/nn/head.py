"""The head: from whatever a backbone gives to the numbers that a task asks for.

B batch, D width.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from modelwright.core.batch import Features, FeatureSpec
from modelwright.core.config import Config
from modelwright.nn.initialization import with_role
from modelwright.nn.pooling import Pool, Pooling


class HeadConfig(Config):
    """How features become outputs."""

    pool: Literal["auto"] | Pooling = "auto"
    """Makes a vector of a sequence or a grid; `auto` takes the mean. A vector passes as it is."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Probability that a pooled value is dropped in training."""

    def build(self, spec: FeatureSpec, outputs: int) -> Head:
        """The head from features like `spec` to `outputs` numbers.

        Raises:
            InputError: the pooling doesn't fit the features.
        """
        return Head(Pool("mean" if self.pool == "auto" else self.pool, spec), outputs, dropout=self.dropout)


class Head(nn.Module):
    """Pools, drops out, and maps linearly.

    Args:
        pool: makes the vector.
        outputs: how many numbers the task asks for.
        dropout: probability in training.
    """

    def __init__(self, pool: Pool, outputs: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.pool, self.outputs = pool, outputs
        self.dropout = nn.Dropout(dropout)
        self.linear = with_role(nn.Linear(pool.gives.width, outputs), "output")

    def forward(self, features: Features) -> Tensor:
        """Features -> (B, outputs)."""
        return self.linear(self.dropout(self.pool(features)))
