"""Shift: a picture that is not where it should be."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Generator
from torch.nn import functional as F

from modelwright.data.split import Split
from modelwright.evaluation.perturbation import PerturbationConfig, perturbations


@perturbations.register("shift")
class ShiftConfig(PerturbationConfig):
    """Each image moved up, down, left or right by whole pixels, at random; its edge is repeated."""

    reads: ClassVar[str] = "image"
    title: ClassVar[str] = "shift"
    unit: ClassVar[str] = "share of the shorter side"

    name: Literal["shift"] = "shift"  # pyright: ignore[reportIncompatibleVariableOverride]
    strengths: tuple[float, ...] = (0.05, 0.1, 0.15, 0.25)

    def perturb(self, split: Split, strength: float, random: Generator) -> Split:
        """The split with moved images."""
        pixels = split.inputs["image"]
        height, width = pixels.shape[-2:]
        distance = min(max(1, round(strength * min(height, width))), height - 1, width - 1) if strength > 0 else 0
        if distance < 1:
            return split
        padded = F.pad(pixels.float(), (distance,) * 4, mode="replicate").to(torch.uint8)
        moved, direction = torch.empty_like(pixels), torch.randint(4, (len(pixels),), generator=random)
        for index, (down, right) in enumerate(((0, distance), (2 * distance, distance), (distance, 0), (distance, 2 * distance))):
            chosen = direction == index
            moved[chosen] = padded[chosen, :, down : down + height, right : right + width]
        return Split(split.schema, {**split.inputs, "image": moved}, split.target, split.origins)
