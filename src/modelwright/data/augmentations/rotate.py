"""Rotate: each image is turned, and zoomed if asked, about its center."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor
from torch.nn import functional as F

from modelwright.core.space import Between
from modelwright.data.augmentation import ImageAugmentation, augmentations


@augmentations.register("rotate")
class Rotate(ImageAugmentation):
    """Turns each image by an angle drawn evenly, and zooms it by a factor drawn evenly; black comes in."""

    name: Literal["rotate"] = "rotate"
    degrees: Annotated[float, Between(0.0, 20.0)] = Field(default=10.0, ge=0, le=180)
    """Largest angle, in either direction."""
    scale: Annotated[float, Between(0.0, 0.2)] = Field(default=0.0, ge=0, lt=1)
    """Largest zoom: 0.1 draws factors from 0.9 to 1.1."""

    def change(self, images: Tensor, generator: Generator) -> Tensor:
        """Turn raw images (B, C, H, W) by bilinear interpolation."""
        batch, _, height, width = images.shape
        draws = torch.rand(2, batch, generator=generator) * 2 - 1
        return turn(images, draws[0] * math.radians(self.degrees), 1 + draws[1] * self.scale, height / width)


def turn(images: Tensor, angle: Tensor, zoom: Tensor, aspect: float) -> Tensor:
    """Images (B, C, H, W) uint8 turned counterclockwise by `angle` (B,) in radians and magnified by `zoom` (B,).

    `aspect` is H / W: the sampling grid counts both axes from -1 to 1, so that a turn of a wide image needs it.
    """
    cosine, sine = angle.cos() / zoom, angle.sin() / zoom
    zero = torch.zeros_like(angle)
    matrix = torch.stack([torch.stack([cosine, -sine * aspect, zero], 1), torch.stack([sine / aspect, cosine, zero], 1)], 1)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    turned = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return turned.round_().clamp_(0, 255).to(torch.uint8)
