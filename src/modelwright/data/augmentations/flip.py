"""Flip: left and right change places."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from modelwright.data.augmentation import ImageAugmentation, augmentations


@augmentations.register("flip")
class Flip(ImageAugmentation):
    """Mirrors an image from left to right with some probability."""

    name: Literal["flip"] = "flip"
    probability: float = Field(default=0.5, gt=0, le=1)
    """Share of the images that are mirrored."""

    def change(self, images: Tensor, generator: Generator) -> Tensor:
        """Mirror some of the raw images (B, C, H, W)."""
        chosen = torch.rand(len(images), generator=generator) < self.probability
        return torch.where(chosen.view(-1, 1, 1, 1), images.flip(3), images)
