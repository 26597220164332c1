"""Erase: a rectangle of each image turns black."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from modelwright.data.augmentation import ImageAugmentation, augmentations

MAX_ASPECT = 3.3


@augmentations.register("erase")
class Erase(ImageAugmentation):
    """Blackens a random rectangle of an image with some probability (Zhong et al. 2017, Random Erasing)."""

    name: Literal["erase"] = "erase"
    fraction: float = Field(default=0.1, gt=0, lt=1)
    """Largest share of the image's area; the smallest is a fifth of it."""
    probability: float = Field(default=0.5, gt=0, le=1)
    """Share of the images in which something is erased."""

    def change(self, images: Tensor, generator: Generator) -> Tensor:
        """Erase in raw images (B, C, H, W)."""
        batch, _, height, width = images.shape
        chosen, area, shape, top, left = torch.rand(5, batch, 1, generator=generator)
        area = self.fraction * (0.2 + 0.8 * area) * height * width
        aspect = torch.exp((2 * shape - 1) * math.log(MAX_ASPECT))
        tall, wide = (area * aspect).sqrt().clamp(1, height).floor(), (area / aspect).sqrt().clamp(1, width).floor()
        rows = _inside(height, top, tall)
        columns = _inside(width, left, wide)
        erased = rows[:, :, None] & columns[:, None, :] & (chosen < self.probability)[:, :, None]
        return images.masked_fill(erased[:, None], 0)


def _inside(length: int, place: Tensor, extent: Tensor) -> Tensor:
    """(B, length) True within `extent` positions that begin at a share `place` of the room there is."""
    start = (place * (length - extent + 1)).floor()
    position = torch.arange(length)
    return (position >= start) & (position < start + extent)
