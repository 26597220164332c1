"""The columns stem: the columns of a table in one vector, encoded so that an MLP can use them.

B batch, N number columns, M category columns, E width of a number's embedding.
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


@stems.register("columns")
class ColumnsStemConfig(StemConfig):
    """A table as one vector: numbers as `numbers` says, and a learned vector for each category."""

    reads: ClassVar = "table"
    kind: ClassVar[Kind] = "vector"
    name: Literal["columns"] = "columns"
    numbers: Literal["plain", "piecewise", "embedded"] = "embedded"
    """`plain`: standardized, with flags of missing ones. `piecewise`: these and their piecewise-linear codes. `embedded`: for each column, a
    linear map of all these and a ReLU (the quantile PLE-LR of Gorishniy et al. 2022, On Embeddings for Numerical Features, section 3)."""
    width: int = Field(32, gt=0)
    """Width of an embedded number."""
    category_width: int | None = Field(None, gt=0)
    """Width of a category's vector; None makes it grow with the number of categories."""

    def build(self, schema: Schema) -> Stem:
        """The stem for the schema's columns."""
        return ColumnsStem(schema, self)


class ColumnsStem(Stem):
    """Joins the encoded columns of a table."""

    def __init__(self, schema: Schema, config: ColumnsStemConfig) -> None:
        super().__init__()
        width = 0
        self.code = self.embed = None
        if schema.numbers:
            self.code = NumberCode(schema.numbers, piecewise=config.numbers != "plain")
            width = len(self.code.real)
            if config.numbers == "embedded":
                self.embed = ColumnLinear(len(schema.numbers), self.code.parts, config.width, role="relu")
                width = len(schema.numbers) * config.width
        self.categories = CategoryEmbedding(schema.categories, config.category_width)
        self.gives = FeatureSpec("vector", width + sum(self.categories.widths))

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        """`numbers`, `missing` (B, N), `categories` (B, M) -> vector (B, D)."""
        parts = []
        if self.code is not None:
            code_BNF = self.code(inputs)
            parts.append(self.embed(code_BNF).relu().flatten(1) if self.embed is not None else code_BNF.flatten(1)[:, self.code.real])
        if self.categories.widths:
            parts.extend(self.categories(inputs["categories"]))
        return Features(torch.cat(parts, dim=1))
