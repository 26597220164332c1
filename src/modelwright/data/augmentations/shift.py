"""Shift: each image is moved by some pixels, and black comes in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Generator, Tensor

from modelwright.core.space import Around
from modelwright.data.augmentation import ImageAugmentation, augmentations
from modelwright.data.translation import translate


@augmentations.register("shift")
class Shift(ImageAugmentation):
    """Moves each image by up to `pixels` along each axis."""

    name: Literal["shift"] = "shift"
    pixels: Annotated[int, Around(2)] = Field(default=2, ge=1)
    """Farthest move along an axis."""

    def change(self, images: Tensor, generator: Generator) -> Tensor:
        """Move raw images (B, C, H, W)."""
        return translate(images, self.pixels, "black", generator)
