"""Noise: normal noise on every pixel."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Generator

from modelwright.data.split import Split
from modelwright.evaluation.perturbation import PerturbationConfig, perturbations


@perturbations.register("noise")
class NoiseConfig(PerturbationConfig):
    """Normal noise, independent for every pixel and channel, held within what a pixel can be."""

    reads: ClassVar[str] = "image"
    title: ClassVar[str] = "noise"
    unit: ClassVar[str] = "standard deviation, share of the range"

    name: Literal["noise"] = "noise"  # pyright: ignore[reportIncompatibleVariableOverride]
    strengths: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3)

    def perturb(self, split: Split, strength: float, random: Generator) -> Split:
        """The split with noisy images."""
        pixels = split.inputs["image"]
        noise = torch.randn(pixels.shape, generator=random) * (255 * strength)
        noisy = (pixels.float() + noise).round_().clamp_(0, 255).to(torch.uint8)
        return Split(split.schema, {**split.inputs, "image": noisy}, split.target, split.origins)
