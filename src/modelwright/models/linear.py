"""The family `linear`: nothing between stem and head, so that the head's linear map is the whole model.

B batch, D width of a vector.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from modelwright.core.batch import Features, FeatureSpec, Kind
from modelwright.models.family import Backbone, FamilyConfig, families


@families.register("linear")
class LinearConfig(FamilyConfig):
    """Linear, logistic and softmax regression. It has no dials."""

    consumes: ClassVar[tuple[Kind, ...]] = ("vector",)
    stems: ClassVar[tuple[str, ...]] = ("flat", "one_hot")
    family: Literal["linear"] = "linear"

    def build(self, spec: FeatureSpec) -> Linear:
        """The backbone that changes nothing."""
        return Linear(spec)

    def scaled(self, *, width: float = 1, depth: float = 1) -> Self:
        """The same configuration."""
        return self


class Linear(Backbone):
    """Passes vectors like `spec`."""

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.gives = spec

    def forward(self, features: Features) -> Features:
        """Vector (B, D) -> the same."""
        return features
