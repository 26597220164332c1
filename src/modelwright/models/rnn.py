"""The family `rnn`: simple recurrent layers; and what it shares with `gru` and `lstm`."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field

from modelwright.core.batch import FeatureSpec, Kind
from modelwright.models.family import FamilyConfig, families, scaled_depth, scaled_width
from modelwright.nn.recurrent import Cell, Recurrent, RecurrentPooling


class RecurrentConfig(FamilyConfig):
    """Settings of every recurrent family; the first layer's input weights are the projection from the stem's width."""

    consumes: ClassVar[tuple[Kind, ...]] = ("sequence",)
    stems: ClassVar[tuple[str, ...]] = ("rows", "tokens")
    cell: ClassVar[Cell]
    """The kind of layer."""
    width: int = Field(128, gt=0)
    """Width of each direction's state."""
    depth: int = Field(2, gt=0)
    """Number of layers."""
    bidirectional: bool = False
    """Whether a second stack reads from the end."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Probability in training, between layers."""
    pool: RecurrentPooling = "last"
    """`last`: the final state of each direction. `mean`, `max`: over time. `none`: the whole sequence."""

    def build(self, spec: FeatureSpec) -> Recurrent:
        """The backbone for sequences like `spec`."""
        return Recurrent(self.cell, spec, self.width, self.depth, bidirectional=self.bidirectional, dropout=self.dropout, pool=self.pool)

    def scaled(self, *, width: float = 1, depth: float = 1) -> Self:
        """The same family, `width` times as wide and `depth` times as deep."""
        return self.replace(width=scaled_width(self.width, width), depth=scaled_depth(self.depth, depth))


@families.register("rnn")
class RNNConfig(RecurrentConfig):
    """Simple recurrent layers with tanh (Elman 1990)."""

    cell: ClassVar[Cell] = "rnn"
    family: Literal["rnn"] = "rnn"
