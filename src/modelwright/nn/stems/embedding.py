"""The embedding stem: a trained vector for each token of a text.

B batch, T time, D width, V vocabulary.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from modelwright.core.batch import Features, FeatureSpec, Kind
from modelwright.core.errors import InputError
from modelwright.core.schema import Feature, Schema
from modelwright.nn.dropout import Dropout, TokenDropout
from modelwright.nn.initialization import Fill
from modelwright.nn.stem import Stem, StemConfig, stems


@stems.register("embedding")
class EmbeddingConfig(StemConfig):
    """A text as the vectors of its tokens, which a head may share (Press and Wolf 2017)."""

    reads: ClassVar = "text"
    kind: ClassVar[Kind] = "sequence"
    name: Literal["embedding"] = "embedding"
    width: int | None = Field(None, gt=0)
    """Width of a vector; None takes the backbone's."""
    size: float | None = Field(None, gt=0)
    """Factor on the initial vectors, whose length is otherwise 1/2; None takes what suits the backbone."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Probability in training."""
    dropout_of: Literal["types", "values"] = "types"
    """What is dropped: a token wherever it stands in the batch, or each number by itself."""

    def sized(self, width: int | None, size: float = 1.0) -> Self:
        """These settings, as wide as the backbone and with vectors of the size that suits it, if they leave that open."""
        return self.replace(width=width if self.width is None else self.width, size=size if self.size is None else self.size)

    def build(self, schema: Schema) -> Stem:
        """The stem for the schema's text.

        Raises:
            InputError: no width is set, neither here nor by the backbone.
        """
        if self.width is None:
            raise InputError("the stem embedding has no width, and the family tells none", remedy="Set the width of the stem")
        return EmbeddingStem(schema.text, self.width, size=self.size or 1.0, dropout=self.dropout, dropout_of=self.dropout_of)


class EmbeddingStem(Stem):
    """Looks tokens up in `table` (V, D).

    Args:
        text: the feature that is read.
        width: D.
        size: factor on the initial vectors.
        dropout: probability in training.
        dropout_of: drop whole `types` of tokens, or `values`.
    """

    def __init__(
        self, text: Feature, width: int, *, size: float = 1.0, dropout: float = 0.0, dropout_of: Literal["types", "values"] = "types"
    ) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(text.vocabulary, width))
        self.types = TokenDropout(text.vocabulary, dropout if dropout_of == "types" else 0.0)
        self.values = Dropout(dropout if dropout_of == "values" else 0.0)
        self.size = size
        self.gives = FeatureSpec("sequence", width, text.shape, embedded=True)

    def initialize(self, fill: Fill) -> None:
        """Draw the table."""
        fill(self.table, "token", fan_in=self.table.shape[0], fan_out=self.table.shape[1], scale=self.size)

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        """`tokens`, and where they are packed `documents`, (B, T) -> sequence (B, T, D)."""
        tokens_BT = inputs["tokens"]
        x_BTD = self.values(self.types(F.embedding(tokens_BT, self.table), tokens_BT))
        return Features(x_BTD, None, inputs.get("documents"))
