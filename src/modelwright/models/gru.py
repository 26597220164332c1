"""The family `gru`: gated recurrent units."""

from __future__ import annotations

from typing import ClassVar, Literal

from modelwright.models.family import families
from modelwright.models.rnn import RecurrentConfig
from modelwright.nn.recurrent import Cell


@families.register("gru")
class GRUConfig(RecurrentConfig):
    """Gated recurrent units (Cho et al. 2014)."""

    suits: ClassVar[tuple[str, ...]] = ("text",)
    learning_rate: ClassVar[float] = 2e-3
    embedding_size: ClassVar[float] = 4.0
    cell: ClassVar[Cell] = "gru"
    family: Literal["gru"] = "gru"
