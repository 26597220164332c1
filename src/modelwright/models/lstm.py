"""The family `lstm`: long short-term memory."""

from __future__ import annotations

from typing import ClassVar, Literal

from modelwright.models.family import families
from modelwright.models.rnn import RecurrentConfig
from modelwright.nn.recurrent import Cell


@families.register("lstm")
class LSTMConfig(RecurrentConfig):
    """Long short-term memory (Hochreiter and Schmidhuber 1997; with forget gates, Gers et al. 2000)."""

    suits: ClassVar[tuple[str, ...]] = ("image", "text")
    learning_rate: ClassVar[float] = 2e-3
    embedding_size: ClassVar[float] = 8.0
    cell: ClassVar[Cell] = "lstm"
    family: Literal["lstm"] = "lstm"
