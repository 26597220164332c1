"""The family `rnn`: simple recurrent layers; and what it shares with `gru` and `lstm`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from modelwright.core.batch import FeatureSpec, Kind
from modelwright.core.errors import InputError
from modelwright.core.schema import Schema
from modelwright.core.space import Between
from modelwright.models.family import FamilyConfig, families, scaled_depth, scaled_width
from modelwright.nn.recurrent import Cell, Recurrent, RecurrentPooling
from modelwright.nn.stem import StemConfig


class RecurrentConfig(FamilyConfig):
    """Settings of every recurrent family; the first layer's input weights are the projection from the stem's width."""

    consumes: ClassVar[tuple[Kind, ...]] = ("sequence",)
    stems: ClassVar[tuple[str, ...]] = ("rows", "tokens", "embedding")
    text_learning_rate: ClassVar[float] = 0.01
    cell: ClassVar[Cell]
    """The kind of layer."""
    width: int = Field(128, gt=0)
    """Width of each direction's state."""
    depth: int = Field(2, gt=0)
    """Number of layers."""
    bidirectional: bool = False
    """Whether a second stack reads from the end."""
    dropout: Annotated[float, Between(0.0, 0.5)] = Field(0.1, ge=0, lt=1)
    """Probability in training, between layers."""
    input_dropout: float = Field(0.0, ge=0, lt=1)
    """Probability in training, of what the stem gives."""
    output_dropout: float = Field(0.0, ge=0, lt=1)
    """Probability in training, of what the last layer gives."""
    weight_dropout: float = Field(0.0, ge=0, lt=1)
    """Probability in training that a recurrent weight is dropped for a whole batch."""
    locked: Literal["auto"] | bool = "auto"
    """Whether a dropped channel is dropped at every moment (variational dropout); `auto` does so where the next token is told."""
    shortcuts_from: int | None = Field(None, gt=0)
    """Layer, counted from 0, from which on a layer adds to what it reads, in place of replacing it (Wu et al. 2016, GNMT, section 3.1);
    None for none. Layers that are put in when a trained network grows have such shortcuts."""
    pool: Literal["auto"] | RecurrentPooling = "auto"
    """`last`: the final state of each direction. `mean`, `max`: over time. `none`: the whole sequence. `auto` is `last`, or `none` where the
    next token is told."""

    def on(self, stem: StemConfig, schema: Schema) -> Self:
        """These settings, causal where the next token is told.

        Raises:
            InputError: there the settings pool, or read from the end.
        """
        if not schema.causal:
            return self
        if self.bidirectional:
            raise InputError(
                f"the family {self.family} reads from the end too, and would see the tokens it shall tell", expected="bidirectional: false"
            )
        if self.pool not in ("auto", "none"):
            raise InputError(
                f"the family {self.family} pools ({self.pool}), and the next token is told at every position", expected="pool: auto"
            )
        return self.replace(pool="none", locked=self.locked is not False)

    def build(self, spec: FeatureSpec) -> Recurrent:
        """The backbone for sequences like `spec`."""
        return Recurrent(
            self.cell,
            spec,
            self.width,
            self.depth,
            bidirectional=self.bidirectional,
            dropout=self.dropout,
            input_dropout=self.input_dropout,
            output_dropout=self.output_dropout,
            weight_dropout=self.weight_dropout,
            locked=self.locked is True,
            shortcuts_from=self.shortcuts_from,
            pool="last" if self.pool == "auto" else self.pool,
        )

    def scaled(self, *, width: float = 1, depth: float = 1) -> Self:
        """The same family, `width` times as wide and `depth` times as deep."""
        return self.replace(width=scaled_width(self.width, width), depth=scaled_depth(self.depth, depth))


@families.register("rnn")
class RNNConfig(RecurrentConfig):
    """Simple recurrent layers with tanh (Elman 1990)."""

    embedding_size: ClassVar[float] = 2.0
    cell: ClassVar[Cell] = "rnn"
    family: Literal["rnn"] = "rnn"
