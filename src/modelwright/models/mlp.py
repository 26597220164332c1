"""The family `mlp`: fully connected layers on a vector, plain or residual.

B batch, D width.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field
from torch import Tensor, nn

from modelwright.core.batch import Features, FeatureSpec, Kind
from modelwright.core.space import Between
from modelwright.models.family import Backbone, FamilyConfig, families, scaled_depth, scaled_width
from modelwright.nn.activation import Activation, activation
from modelwright.nn.dropout import Dropout
from modelwright.nn.feedforward import FeedForward
from modelwright.nn.initialization import with_role
from modelwright.nn.normalization import VectorNorm, vector_norm


@families.register("mlp")
class MLPConfig(FamilyConfig):
    """A multilayer perceptron."""

    consumes: ClassVar[tuple[Kind, ...]] = ("vector",)
    stems: ClassVar[tuple[str, ...]] = ("flat", "columns")
    suits: ClassVar[tuple[str, ...]] = ("image", "table")
    family: Literal["mlp"] = "mlp"
    width: int = Field(256, gt=0)
    """Width of every layer."""
    depth: int = Field(2, gt=0)
    """Number of hidden layers, or of residual blocks."""
    activation: Activation = "relu"
    """Nonlinearity."""
    norm: VectorNorm = "none"
    """Norm before each activation, or before each residual block."""
    dropout: Annotated[float, Between(0.0, 0.5)] = Field(0.2, ge=0, lt=1)
    """Probability that a hidden value is dropped in training."""
    residual: bool = False
    """Blocks of two layers with a shortcut (the ResNet of Gorishniy et al. 2021, section 3.2) in place of plain layers."""

    def build(self, spec: FeatureSpec) -> MLP:
        """The backbone for vectors like `spec`."""
        return MLP(spec, self)

    def scaled(self, *, width: float = 1, depth: float = 1) -> Self:
        """The same family, `width` times as wide and `depth` times as deep."""
        return self.replace(width=scaled_width(self.width, width), depth=scaled_depth(self.depth, depth))


class MLP(Backbone):
    """Fully connected layers for vectors like `spec`."""

    def __init__(self, spec: FeatureSpec, config: MLPConfig) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(_residual_layers if config.residual else _plain_layers)(spec.width, config))
        self.gives = FeatureSpec("vector", config.width)

    def forward(self, features: Features) -> Features:
        """Vector (B, D') -> vector (B, D)."""
        return Features(self.layers(features.x))


def _plain_layers(width_in: int, config: MLPConfig) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for _ in range(config.depth):
        layers.append(with_role(nn.Linear(width_in, config.width, bias=config.norm != "batch"), config.activation))
        if config.norm != "none":
            layers.append(vector_norm(config.norm, config.width))
        layers.append(activation(config.activation))
        if config.dropout:
            layers.append(Dropout(config.dropout))
        width_in = config.width
    return layers


def _residual_layers(width_in: int, config: MLPConfig) -> list[nn.Module]:
    blocks = [ResidualLayer(config) for _ in range(config.depth)]
    return [nn.Linear(width_in, config.width), *blocks, vector_norm(config.norm, config.width), activation(config.activation)]


class ResidualLayer(nn.Module):
    """A norm and two fully connected layers, added to their input."""

    def __init__(self, config: MLPConfig) -> None:
        super().__init__()
        self.norm = vector_norm(config.norm, config.width)
        self.feedforward = FeedForward(
            config.width, config.width, inner=config.activation, dropout=config.dropout, output_scale=config.depth**-0.5
        )

    def forward(self, x_BD: Tensor) -> Tensor:
        """(B, D) -> (B, D)."""
        return x_BD + self.feedforward(self.norm(x_BD))
