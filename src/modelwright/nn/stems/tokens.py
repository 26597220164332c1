"""The tokens stem: a table as a sequence with one token for each column.

B batch, N number columns, M category columns, D width of a token.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from modelwright.core.batch import Features, FeatureSpec, Kind
from modelwright.core.schema import Schema
from modelwright.nn.columns import CategoryEmbedding, ColumnLinear, NumberCode
from modelwright.nn.stem import Stem, StemConfig, stems


@stems.register("tokens")
class TokensStemConfig(StemConfig):
    """A table as tokens (the feature tokenizer of Gorishniy et al. 2021, Revisiting Deep Learning Models for Tabular Data, section 3.3)."""

    reads: ClassVar = "table"
    kind: ClassVar[Kind] = "sequence"
    ordered: ClassVar[bool] = False
    name: Literal["tokens"] = "tokens"
    width: int = Field(64, gt=0)
    """Width of a token."""
    piecewise: bool = True
    """Whether a number's token also knows its piecewise-linear code."""

    def build(self, schema: Schema) -> Stem:
        """The stem for the schema's columns."""
        return TokensStem(schema, self)


class TokensStem(Stem):
    """Makes a token of each column: numbers first, then categories."""

    def __init__(self, schema: Schema, config: TokensStemConfig) -> None:
        super().__init__()
        self.code = self.embed = None
        if schema.numbers:
            self.code = NumberCode(schema.numbers, piecewise=config.piecewise)
            self.embed = ColumnLinear(len(schema.numbers), self.code.parts, config.width, role="linear")
        self.categories = CategoryEmbedding(schema.categories, config.width)
        self.gives = FeatureSpec("sequence", config.width, (len(schema.inputs),))

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        """`numbers`, `missing` (B, N), `categories` (B, M) -> sequence (B, N+M, D)."""
        parts = []
        if self.code is not None and self.embed is not None:
            parts.append(self.embed(self.code(inputs)))
        if self.categories.widths:
            parts.append(torch.stack(self.categories(inputs["categories"]), dim=1))
        return Features(torch.cat(parts, dim=1))
