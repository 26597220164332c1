"""The patches stem: an image cut into squares, read as a sequence.

B batch, C channels, H height, W width, P side of a patch.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from modelwright.core.batch import Features, FeatureSpec, Kind
from modelwright.core.schema import Schema
from modelwright.nn.stem import Stem, StemConfig, stems

FEWEST, MOST = 16, 64
"""How many patches the automatic size aims for: enough to see by, few enough for attention."""


@stems.register("patches")
class PatchesStemConfig(StemConfig):
    """An image as a sequence of square patches, row by row (Dosovitskiy et al. 2021, An Image is Worth 16x16 Words)."""

    reads: ClassVar = "image"
    kind: ClassVar[Kind] = "sequence"
    name: Literal["patches"] = "patches"
    size: int | None = Field(None, gt=0)
    """Side of a patch in pixels; None chooses one that gives 16 to 64 patches: 2 for 8x8, 4 for 28x28 and 32x32."""

    def build(self, schema: Schema) -> Stem:
        """The stem for the schema's image."""
        shape = schema.image.shape
        return PatchesStem(shape, self.size or patch_size(shape[1], shape[2]))


def patch_size(height: int, width: int) -> int:
    """The smallest side above 1 that divides both sides and gives 16 to 64 patches, or 1 if there are no more pixels than that.

    Where none divides, the smallest one that gives at most 64 patches of the padded image.
    """
    common = math.gcd(height, width)
    for side in range(2, common + 1):
        if common % side == 0 and FEWEST <= (height // side) * (width // side) <= MOST:
            return side
    return next(side for side in range(1, max(height, width) + 1) if math.ceil(height / side) * math.ceil(width / side) <= MOST)


class PatchesStem(Stem):
    """Cuts an image of `shape` (C, H, W) into patches of `size` x `size`; zeros fill it up to the right and below."""

    def __init__(self, shape: tuple[int, ...], size: int) -> None:
        super().__init__()
        channels, height, width = shape
        self.size = size
        self.padding = (0, -width % size, 0, -height % size)
        self.gives = FeatureSpec("sequence", channels * size * size, (math.ceil(height / size) * math.ceil(width / size),))

    def forward(self, inputs: dict[str, Tensor]) -> Features:
        """`image` (B, C, H, W) -> sequence (B, ⌈H/P⌉*⌈W/P⌉, C*P*P), a patch in the order C, row, column."""
        image_BCHW = inputs["image"]
        if any(self.padding):
            image_BCHW = F.pad(image_BCHW, self.padding)
        patches = image_BCHW.unflatten(3, (-1, self.size)).unflatten(2, (-1, self.size)).permute(0, 2, 4, 1, 3, 5)
        return Features(patches.flatten(3).flatten(1, 2))
