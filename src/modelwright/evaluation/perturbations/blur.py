"""Blur: a picture out of focus."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from modelwright.data.split import Split
from modelwright.evaluation.perturbation import PerturbationConfig, perturbations


@perturbations.register("blur")
class BlurConfig(PerturbationConfig):
    """A Gaussian filter, mirrored at the edges."""

    reads: ClassVar[str] = "image"
    title: ClassVar[str] = "blur"
    unit: ClassVar[str] = "filter width, share of the shorter side"

    name: Literal["blur"] = "blur"  # pyright: ignore[reportIncompatibleVariableOverride]
    strengths: tuple[float, ...] = (0.02, 0.04, 0.08, 0.12)

    def perturb(self, split: Split, strength: float, random: Generator) -> Split:
        """The split with blurred images."""
        pixels = split.inputs["image"]
        blurred = blur(pixels.float(), strength * min(pixels.shape[-2:])).round_().clamp_(0, 255).to(torch.uint8)
        return Split(split.schema, {**split.inputs, "image": blurred}, split.target, split.origins)


def blur(images: Tensor, deviation: float) -> Tensor:
    """Images (N, C, H, W) through a Gaussian filter of that standard deviation in pixels, cut at three of them or where the image ends."""
    if deviation <= 0:
        return images.clone()
    for axis in (2, 3):
        radius = min(math.ceil(3 * deviation), images.shape[axis] - 1)
        place = torch.arange(-radius, radius + 1, dtype=torch.float32)
        weight = torch.exp(-place.square() / (2 * deviation**2))
        kernel = (weight / weight.sum()).view(1, 1, -1, 1) if axis == 2 else (weight / weight.sum()).view(1, 1, 1, -1)
        padding = (0, 0, radius, radius) if axis == 2 else (radius, radius, 0, 0)
        flat = images.reshape(-1, 1, *images.shape[2:])
        images = F.conv2d(F.pad(flat, padding, mode="reflect"), kernel).view(images.shape)
    return images
