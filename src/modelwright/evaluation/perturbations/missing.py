"""Missing values: cells of a table that nobody filled in."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Generator

from modelwright.data.split import Split
from modelwright.evaluation.perturbation import PerturbationConfig, perturbations


@perturbations.register("missing")
class MissingConfig(PerturbationConfig):
    """Each cell is emptied with the same probability, independent of the others."""

    reads: ClassVar[str] = "table"
    title: ClassVar[str] = "missing values"
    unit: ClassVar[str] = "share of cells emptied"

    name: Literal["missing"] = "missing"  # pyright: ignore[reportIncompatibleVariableOverride]
    strengths: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)

    def perturb(self, split: Split, strength: float, random: Generator) -> Split:
        """The split with empty cells, encoded as such: a number as its mean, flagged if its column has missing values in training; a category as 0."""
        inputs = dict(split.inputs)
        emptied = torch.rand(inputs["numbers"].shape, generator=random) < strength
        flagged = torch.tensor([feature.has_missing for feature in split.schema.numbers], dtype=torch.bool)
        inputs["numbers"] = inputs["numbers"].masked_fill(emptied, 0)
        inputs["missing"] = inputs["missing"].masked_fill(emptied & flagged, 1)
        blank = torch.rand(inputs["categories"].shape, generator=random) < strength
        inputs["categories"] = inputs["categories"].masked_fill(blank, 0)
        return Split(split.schema, inputs, split.target, split.origins)
