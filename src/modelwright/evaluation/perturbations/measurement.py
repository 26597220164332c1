"""Measurement noise: the numbers of a table, read off less exactly."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Generator

from modelwright.core.schema import Schema
from modelwright.data.split import Split
from modelwright.evaluation.perturbation import PerturbationConfig, perturbations


@perturbations.register("measurement")
class MeasurementConfig(PerturbationConfig):
    """Normal noise on every number that is there."""

    reads: ClassVar[str] = "table"
    title: ClassVar[str] = "measurement noise"
    unit: ClassVar[str] = "standard deviations of the column"

    name: Literal["measurement"] = "measurement"  # pyright: ignore[reportIncompatibleVariableOverride]
    strengths: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5)

    def suits(self, schema: Schema) -> bool:
        """Tables with numbers."""
        return schema.kind == "table" and bool(schema.numbers)

    def perturb(self, split: Split, strength: float, random: Generator) -> Split:
        """The split with noisy numbers."""
        numbers = split.inputs["numbers"]
        noise = strength * torch.randn(numbers.shape, generator=random)
        noisy = torch.where(split.inputs["missing"] > 0, numbers, numbers + noise)
        return Split(split.schema, {**split.inputs, "numbers": noisy}, split.target, split.origins)
