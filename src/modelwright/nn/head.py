"""The head: from whatever a backbone gives to the numbers that a task asks for.

B batch, D width.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from modelwright.core.batch import Features, FeatureSpec
from modelwright.core.config import Config
from modelwright.core.errors import InputError
from modelwright.nn.dropout import Dropout
from modelwright.nn.initialization import with_role
from modelwright.nn.pooling import Pool, Pooling
from modelwright.nn.token_head import TokenHead


class HeadConfig(Config):
    """How features become outputs."""

    pool: Literal["auto"] | Pooling = "auto"
    """Makes a vector of a sequence or a grid; `auto` takes the mean. A vector passes as it is, and next tokens are told without pooling."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Probability that a value is dropped in training, after the pooling if there is one."""
    tied: Literal["auto"] | bool = "auto"
    """Next tokens: whether they are scored by the table in which the stem looks tokens up; `auto` does so where there is one."""
    softcap: float | None = Field(None, gt=0)
    """Next tokens: bound of the scores, approached smoothly."""
    scale: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto"
    """Next tokens: factor on the states that are scored; `auto` is 1, or what holds the scores in place when the settings were tuned on a
    smaller model and the table is tied."""
    bias: bool = False
    """Next tokens: whether each token has an offset. Other outputs always have."""

    def build(self, spec: FeatureSpec, outputs: int) -> Head:
        """The head from features like `spec` to `outputs` numbers.

        Raises:
            InputError: the pooling doesn't fit the features, or a setting is one of next tokens.
        """
        for name, found in (
            ("tied", self.tied is True),
            ("softcap", self.softcap is not None),
            ("scale", self.scale != "auto"),
            ("bias", self.bias),
        ):
            if found:
                raise InputError(f"the head's setting {name} is for telling the next token of a text")
        return Head(Pool("mean" if self.pool == "auto" else self.pool, spec), outputs, dropout=self.dropout)

    def build_token_head(self, spec: FeatureSpec, outputs: int, table_width: int | None) -> TokenHead:
        """The head that scores `outputs` tokens at every position.

        Args:
            spec: what the backbone gives.
            outputs: V.
            table_width: of the stem's table of tokens; None where it has none.

        Raises:
            InputError: the backbone gives no sequence, something is to be pooled, or there is no table to tie to.
        """
        if spec.kind != "sequence":
            raise InputError(f"the next token is asked for at every position, and the backbone gives a {spec}", remedy="Set its pool: none")
        if self.pool != "auto":
            raise InputError(f"the head pools ({self.pool}), and the next token is asked for at every position", expected="pool: auto")
        if self.tied is True and table_width is None:
            raise InputError("the head is tied, and the stem has no table of tokens", expected="tied: auto or false")
        return TokenHead(
            spec.width,
            outputs,
            tied_width=table_width if self.tied else None,
            dropout=self.dropout,
            scale=1.0 if self.scale == "auto" else self.scale,
            softcap=self.softcap,
            bias=self.bias,
        )


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
        self.dropout = Dropout(dropout)
        self.linear = with_role(nn.Linear(pool.gives.width, outputs), "output")

    def forward(self, features: Features) -> Tensor:
        """Features -> (B, outputs)."""
        return self.linear(self.dropout(self.pool(features)))
