"""The grid stem: an image as it is.

B batch, C channels, H height, W width.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from modelwright.core.batch import Features, FeatureSpec, Kind
from modelwright.core.schema import Schema
from modelwright.nn.stem import Stem, StemConfig, stems


@stems.register("grid")
class GridStemConfig(StemConfig):
    """An image as a grid."""

    reads: ClassVar = "image"
    kind: ClassVar[Kind] = "grid"
    name: Literal["grid"] = "grid"

    def build(self, schema: Schema) -> Stem:
        """The stem for the schema's image."""
        return GridStem(schema.image.shape)


class GridStem(Stem):
    """Passes an image of `shape` (C, H, W)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        channels, height, width = shape
        self.gives = FeatureSpec("grid", channels, (height, width))

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        """`image` -> grid (B, C, H, W)."""
        return Features(inputs["image"])
