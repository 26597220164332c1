"""The one-hot stem: the columns of a table in one vector, as a linear model wants them, without a parameter.

B batch, N number columns, M category columns.
"""

from __future__ import annotations

from itertools import accumulate
from typing import ClassVar, Literal

import torch
from torch import Tensor

from modelwright.core.batch import Features, FeatureSpec, Kind
from modelwright.core.schema import Schema
from modelwright.nn.columns import NumberCode
from modelwright.nn.initialization import Fill
from modelwright.nn.stem import Stem, StemConfig, stems


@stems.register("one_hot")
class OneHotStemConfig(StemConfig):
    """A table as standardized numbers, flags of missing ones, and one-hot categories."""

    reads: ClassVar = "table"
    kind: ClassVar[Kind] = "vector"
    name: Literal["one_hot"] = "one_hot"

    def build(self, schema: Schema) -> Stem:
        """The stem for the schema's columns."""
        return OneHotStem(schema)


class OneHotStem(Stem):
    """Joins the columns of a table."""

    starts: Tensor

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        self.code = NumberCode(schema.numbers, piecewise=False) if schema.numbers else None
        self.counts = [len(feature.values) + 1 for feature in schema.categories]
        self.register_buffer("starts", self._starts(), persistent=False)
        self.gives = FeatureSpec("vector", (len(self.code.real) if self.code else 0) + sum(self.counts))

    def _starts(self) -> Tensor:
        return torch.tensor([0, *accumulate(self.counts[:-1])] if self.counts else [], dtype=torch.int64)

    def initialize(self, fill: Fill) -> None:
        """Compute the columns' first places anew."""
        with torch.device("cpu"):
            self.starts.copy_(self._starts())

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        """`numbers`, `missing` (B, N), `categories` (B, M) -> vector (B, D)."""
        parts = []
        if self.code is not None:
            parts.append(self.code(inputs).flatten(1)[:, self.code.real])
        if self.counts:
            categories_BM = inputs["categories"]
            hot = torch.zeros(categories_BM.shape[0], sum(self.counts), device=categories_BM.device)
            parts.append(hot.scatter_(1, categories_BM + self.starts, 1.0))
        return Features(torch.cat(parts, dim=1))
