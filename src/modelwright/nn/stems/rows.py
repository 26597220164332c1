"""The rows stem: an image read line by line, as a sequence of pixel rows or columns.

B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from modelwright.core.batch import Features, FeatureSpec, Kind
from modelwright.core.schema import Schema
from modelwright.nn.stem import Stem, StemConfig, stems


@stems.register("rows")
class RowsStemConfig(StemConfig):
    """An image as the sequence of its pixel rows."""

    reads: ClassVar = "image"
    kind: ClassVar[Kind] = "sequence"
    name: Literal["rows"] = "rows"
    by: Literal["rows", "columns"] = "rows"
    """`rows` from top to bottom, or `columns` from left to right."""

    def build(self, schema: Schema) -> Stem:
        """The stem for the schema's image."""
        return RowsStem(schema.image.shape, by=self.by)


class RowsStem(Stem):
    """Reads an image of `shape` (C, H, W) by `rows` or by `columns`."""

    def __init__(self, shape: tuple[int, ...], *, by: Literal["rows", "columns"] = "rows") -> None:
        super().__init__()
        channels, height, width = shape
        self.by = by
        length, across = (height, width) if by == "rows" else (width, height)
        self.gives = FeatureSpec("sequence", channels * across, (length,))

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        """`image` (B, C, H, W) -> sequence (B, H, C*W), or (B, W, C*H) by columns."""
        image_BCHW = inputs["image"]
        lines = image_BCHW.transpose(1, 2) if self.by == "rows" else image_BCHW.permute(0, 3, 1, 2)
        return Features(lines.flatten(2))
