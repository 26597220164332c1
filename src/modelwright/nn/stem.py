"""The stem: from an encoded batch to the features that a backbone consumes. Chosen by the data, without a parameter where it can be.

B batch, D width of a vector.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from torch import Tensor, nn

from modelwright.core.batch import Features, FeatureSpec, Kind
from modelwright.core.config import Config
from modelwright.core.registry import Registry
from modelwright.core.schema import Schema


class Stem(nn.Module):
    """Turns inputs into features; `gives` says which."""

    gives: FeatureSpec

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        """The inputs of a batch, by name -> features of B examples."""
        raise NotImplementedError


class StemConfig(Config):
    """Settings of a stem. A subclass has a field `name` whose default is its registered name."""

    reads: ClassVar[Literal["image", "table", "text"]]
    """The schema kind that it can read."""
    kind: ClassVar[Kind]
    """The kind of features that it gives."""

    ordered: ClassVar[bool] = True
    """Whether the order of its sequence means something; that of a table's columns doesn't."""

    name: str

    def sized(self, width: int | None, size: float = 1.0) -> Self:
        """These settings, with what they leave open decided for a backbone.

        Args:
            width: of its stream; None where it has no one width.
            size: factor on initial vectors that suits it.
        """
        return self

    def build(self, schema: Schema) -> Stem:
        """The stem for data like `schema`, whose kind is `reads`.

        Raises:
            InputError: the settings don't fit the data.
        """
        raise NotImplementedError


stems: Registry[type[StemConfig]] = Registry("stem", "modelwright.nn.stems")
