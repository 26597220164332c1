"""Columns of a table as numbers that a network can use: piecewise-linear codes, linear maps for each column, category embeddings.

B batch, N number columns, M category columns, K bins of the widest code, F numbers that describe one value, E width of an embedding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from modelwright.core.schema import Feature
from modelwright.nn.initialization import Fill


class PiecewiseLinear(nn.Module):
    """Piecewise-linear encoding: how far a number has come through each bin between its column's edges.

    Gorishniy et al. 2022, On Embeddings for Numerical Features in Tabular Deep Learning, equation 1. The first bin goes on below and the last
    one above. A column of fewer bins than K has zeros at the end.

    Args:
        edges: increasing edges of each column; a column of fewer than two has no bins.
    """

    low: Tensor
    slope: Tensor
    least: Tensor
    most: Tensor

    def __init__(self, edges: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.edges = [sorted(set(column)) for column in edges]
        self.bins = [max(len(column) - 1, 0) for column in self.edges]
        for name, table in self._tables().items():
            self.register_buffer(name, table, persistent=False)

    def _tables(self) -> dict[str, Tensor]:
        shape = len(self.edges), max(self.bins, default=0)
        low, slope, least, most = torch.zeros(4, *shape).unbind()
        for column, (edges, bins) in enumerate(zip(self.edges, self.bins, strict=True)):
            if bins:
                low[column, :bins] = torch.tensor(edges[:-1])
                slope[column, :bins] = torch.tensor([1 / (b - a) for a, b in pairwise(edges)])
                most[column, :bins] = 1
                least[column, 0], most[column, bins - 1] = -math.inf, math.inf
        return {"low": low, "slope": slope, "least": least, "most": most}

    def initialize(self, fill: Fill) -> None:
        """Compute the tables anew."""
        with torch.device("cpu"):
            tables = self._tables()
        for name, table in tables.items():
            self.get_buffer(name).copy_(table)

    def forward(self, x_BN: Tensor) -> Tensor:
        """(B, N) -> (B, N, K)."""
        return ((x_BN[:, :, None] - self.low) * self.slope).clamp(self.least, self.most)


class NumberCode(nn.Module):
    """Describes each number by itself, a flag if it was missing, and its piecewise-linear code.

    Args:
        columns: the number columns of a schema.
        piecewise: whether the code takes part.
    """

    flagged: Tensor

    def __init__(self, columns: Sequence[Feature], *, piecewise: bool) -> None:
        super().__init__()
        self.has_missing = [column.has_missing for column in columns]
        self.register_buffer("flagged", torch.tensor(self.has_missing, dtype=torch.float32), persistent=False)
        self.piecewise = PiecewiseLinear([column.edges for column in columns]) if piecewise else None
        bins = self.piecewise.bins if self.piecewise else [0] * len(columns)
        self.parts = 1 + any(self.has_missing) + max(bins, default=0)
        self.real = [
            column * self.parts + place
            for column, (flagged, count) in enumerate(zip(self.has_missing, bins, strict=True))
            for place in range(self.parts)
            if place == 0 or (place == 1 and flagged) or 0 <= place - (1 + any(self.has_missing)) < count
        ]

    def initialize(self, fill: Fill) -> None:
        """Set the flags anew."""
        self.flagged.copy_(torch.tensor(self.has_missing, dtype=torch.float32, device="cpu"))

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """`numbers` and `missing` (B, N) -> (B, N, F); only a column with missing values in training has a flag that isn't always 0."""
        numbers_BN = inputs["numbers"]
        parts = [numbers_BN[:, :, None]]
        if any(self.has_missing):
            parts.append((inputs["missing"] * self.flagged)[:, :, None])
        if self.piecewise is not None:
            parts.append(self.piecewise(numbers_BN))
        return torch.cat(parts, dim=-1)


class ColumnLinear(nn.Module):
    """A linear map of its own for each of N columns, from F numbers to E.

    Args:
        num_columns: N.
        parts: F.
        width: E.
        role: row of the initialization table.
    """

    def __init__(self, num_columns: int, parts: int, width: int, *, role: str) -> None:
        super().__init__()
        self.role = role
        self.weight = nn.Parameter(torch.zeros(num_columns, parts, width))
        self.bias = nn.Parameter(torch.zeros(num_columns, 1, width))

    def initialize(self, fill: Fill) -> None:
        """Draw the weights."""
        _, parts, width = self.weight.shape
        fill(self.weight, self.role, fan_in=parts, fan_out=width)
        self.bias.zero_()

    def forward(self, code_BNF: Tensor) -> Tensor:
        """(B, N, F) -> (B, N, E)."""
        return torch.baddbmm(self.bias, code_BNF.transpose(0, 1), self.weight).transpose(0, 1)


class CategoryTable(nn.Embedding):
    """The learned vectors of one column's categories; that of missing and unseen ones starts at 0, the middle of the others."""

    def initialize(self, fill: Fill) -> None:
        """Draw the vectors."""
        fill(self.weight, "embedding", fan_in=self.num_embeddings, fan_out=self.embedding_dim)
        self.weight[0].zero_()


def embedding_width(values: int) -> int:
    """The width for a column of that many categories: fastai's rule of thumb, 1.6 n^0.56, at most 64."""
    return min(64, round(1.6 * (values + 1) ** 0.56))


class CategoryEmbedding(nn.ModuleList):
    """One table of vectors for each category column.

    Args:
        columns: the category columns of a schema.
        width: of all tables, or None for `embedding_width` of each.
    """

    def __init__(self, columns: Sequence[Feature], width: int | None = None) -> None:
        super().__init__(CategoryTable(len(c.values) + 1, width or embedding_width(len(c.values))) for c in columns)
        self.widths = [table.embedding_dim for table in self if isinstance(table, CategoryTable)]

    def forward(self, categories_BM: Tensor) -> list[Tensor]:
        """(B, M) -> a (B, E) for each column."""
        return [table(column) for table, column in zip(self, categories_BM.unbind(1), strict=True)]
