"""The flat stem: all pixels of an image in one vector.

B batch, C channels, H height, W width.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from torch import Tensor

from modelwright.core.batch import Features, FeatureSpec, Kind
from modelwright.core.schema import Schema
from modelwright.nn.stem import Stem, StemConfig, stems


@stems.register("flat")
class FlatStemConfig(StemConfig):
    """An image as one vector."""

    reads: ClassVar = "image"
    kind: ClassVar[Kind] = "vector"
    name: Literal["flat"] = "flat"

    def build(self, schema: Schema) -> Stem:
        """The stem for the schema's image."""
        return FlatStem(schema.image.shape)


class FlatStem(Stem):
    """Flattens an image of `shape` (C, H, W)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.gives = FeatureSpec("vector", math.prod(shape))

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        """`image` (B, C, H, W) -> vector (B, C*H*W)."""
        return Features(inputs["image"].flatten(1))
