"""Crop: each image is padded, and a random window of the original size is cut out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Generator, Tensor

from modelwright.data.augmentation import ImageAugmentation, augmentations
from modelwright.data.translation import Border, translate


@augmentations.register("crop")
class Crop(ImageAugmentation):
    """Pads each image and cuts a window of its size out of it, as is usual for CIFAR (He et al. 2016, section 4.2)."""

    name: Literal["crop"] = "crop"
    padding: int = Field(default=4, ge=1)
    """Pixels added on each side."""
    border: Border = "black"
    """What is added: black, or the image as in a mirror."""

    def change(self, images: Tensor, generator: Generator) -> Tensor:
        """Crop raw images (B, C, H, W)."""
        return translate(images, self.padding, self.border, generator)
