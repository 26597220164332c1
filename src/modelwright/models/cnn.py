"""The family `cnn`: convolutions over a grid in stages, plain or residual.

B batch, C channels, H height, W width, D width of a vector.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator
from torch import nn

from modelwright.core.batch import Features, FeatureSpec, Kind
from modelwright.core.errors import InputError
from modelwright.core.space import Between
from modelwright.models.family import Backbone, FamilyConfig, families, scaled_depth, scaled_width
from modelwright.nn.activation import Activation, activation
from modelwright.nn.convolution import ConvolutionBlock, ResidualBlock
from modelwright.nn.dropout import Dropout
from modelwright.nn.initialization import with_role
from modelwright.nn.normalization import GridNorm
from modelwright.nn.pooling import Pool

Size = tuple[int, int]

SMALLEST = 4
"""With `downsample: auto`, the grid is halved as long as its sides stay at least this long: 8x8 once, 28x28 twice."""

MOST_FLAT = 64
"""With `pool: auto`, as many positions are flattened; 8x8 of them."""


class Stage(NamedTuple):
    """What one stage does to a grid: `padding` of its first convolution, `downsample` factor, and the `size` that is left."""

    padding: int
    downsample: int
    size: Size


@families.register("cnn")
class CNNConfig(FamilyConfig):
    """A convolutional network.

    `CNNConfig(channels=(32, 64, 64), blocks=1, downsample=(2, 2, 1), padding="valid", norm="none", pool="flatten", hidden=(64,))` is the
    network of the common introductions.
    """

    consumes: ClassVar[tuple[Kind, ...]] = ("grid",)
    stems: ClassVar[tuple[str, ...]] = ("grid",)
    suits: ClassVar[tuple[str, ...]] = ("image",)
    learning_rate: ClassVar[float] = 3e-3
    family: Literal["cnn"] = "cnn"
    channels: tuple[int, ...] = Field((16, 32, 64), min_length=1)
    """Channels of each stage."""
    blocks: int = Field(2, gt=0)
    """Convolutions, or residual blocks, of each stage."""
    residual: bool = False
    """Residual blocks in place of plain convolutions."""
    kernel: int = Field(3, gt=0)
    """Side of the kernels, odd."""
    padding: Literal["same", "valid"] = "same"
    """`valid`: the first convolution of each stage has no padding and shortens each side by `kernel` - 1."""
    downsample: Literal["auto"] | tuple[int, ...] = "auto"
    """Factor by which each stage shrinks the grid, 1 for not: by max pooling at its end, or, if residual, by the stride of its first block.
    `auto` halves in every stage but the last (residual: the first), as long as the sides stay at least 4."""
    norm: GridNorm = "batch"
    """Norm before each activation."""
    activation: Activation = "relu"
    """Nonlinearity."""
    pool: Literal["auto", "mean", "max", "flatten", "none"] = "auto"
    """Makes a vector of the grid. `auto` flattens a grid of up to 64 positions, so that the place of things counts, and takes the mean of a
    bigger one; `none` gives the grid."""
    hidden: tuple[int, ...] = ()
    """Widths of fully connected layers behind the pooling."""
    dropout: Annotated[float, Between(0.0, 0.5)] = Field(0.0, ge=0, lt=1)
    """Probability in training, of pooled and hidden values."""

    @model_validator(mode="after")
    def _check_stages(self) -> Self:
        if any(count < 1 for count in (*self.channels, *self.hidden)):
            raise InputError("channels and hidden widths must be positive")
        if self.kernel % 2 == 0:
            raise InputError(f"the kernel is {self.kernel} wide", expected="an odd number")
        if self.downsample != "auto" and (len(self.downsample) != len(self.channels) or min(self.downsample) < 1):
            raise InputError(
                f"downsample has {len(self.downsample)} factors for {len(self.channels)} stages", expected="one, at least 1, for each"
            )
        if self.residual and self.padding == "valid":
            raise InputError("residual blocks keep the size of the grid", expected="padding: same")
        if self.pool == "none" and self.hidden:
            raise InputError("hidden layers need a vector", expected="pool: auto, mean, max or flatten")
        return self

    def build(self, spec: FeatureSpec) -> CNN:
        """The backbone for grids like `spec`.

        Raises:
            InputError: the grid is too small for the stages.
        """
        return CNN(spec, self)

    def scaled(self, *, width: float = 1, depth: float = 1) -> Self:
        """The same stages with `width` times the channels and hidden widths, and `depth` times the blocks."""
        return self.replace(
            channels=tuple(scaled_width(count, width) for count in self.channels),
            hidden=tuple(scaled_width(count, width) for count in self.hidden),
            blocks=scaled_depth(self.blocks, depth),
        )

    def stages(self, size: Size) -> list[Stage]:
        """What each stage does to a grid of `size` (H, W).

        Raises:
            InputError: the grid is too small for the stages.
        """
        stages = self._stages(size)
        if len(stages) < len(self.channels):
            fits = next(side for side in range(1, 1 << 16) if len(self._stages((side, side))) == len(self.channels))
            raise InputError(
                f"the family cnn with these settings doesn't fit a grid of {size[0]}x{size[1]}: nothing is left after stage {len(stages) + 1}",
                expected=f"at least {fits}x{fits}",
                remedy="Let it choose with padding: same and downsample: auto, or take fewer stages",
            )
        return stages

    def _stages(self, size: Size) -> list[Stage]:
        """As many stages as leave something of the grid."""
        stages: list[Stage] = []
        unshrunk = 0 if self.residual else len(self.channels) - 1
        for number in range(len(self.channels)):
            padding = self.kernel // 2 if self.padding == "same" else 0
            loss = self.kernel - 1 - 2 * padding
            size = (size[0] - loss, size[1] - loss)
            halves = -(-min(size) // 2) if self.residual else min(size) // 2
            automatic = 2 if number != unshrunk and halves >= SMALLEST else 1
            factor = automatic if self.downsample == "auto" else self.downsample[number]
            size = (-(-size[0] // factor), -(-size[1] // factor)) if self.residual else (size[0] // factor, size[1] // factor)
            if min(size) < 1:
                break
            stages.append(Stage(padding, factor, size))
        return stages


class CNN(Backbone):
    """Stages of convolutions, pooling and fully connected layers for grids like `spec`."""

    def __init__(self, spec: FeatureSpec, config: CNNConfig) -> None:
        super().__init__()
        stages = config.stages((spec.size[0], spec.size[1]))
        blocks: list[nn.Module] = []
        channels_in = spec.width
        for stage, channels in zip(stages, config.channels, strict=True):
            blocks += (_residual_stage if config.residual else _plain_stage)(channels_in, channels, stage, config)
            channels_in = channels
        self.blocks = nn.Sequential(*blocks)
        self.gives = FeatureSpec("grid", channels_in, stages[-1].size)
        self.pool = self.hidden = None
        if config.pool != "none":
            small = math.prod(self.gives.size) <= MOST_FLAT
            self.pool = Pool(("flatten" if small else "mean") if config.pool == "auto" else config.pool, self.gives)
            self.hidden = nn.Sequential(*_hidden_layers(self.pool.gives.width, config))
            self.gives = FeatureSpec("vector", config.hidden[-1] if config.hidden else self.pool.gives.width)

    def forward(self, features: Features) -> Features:
        """Grid (B, C', H', W') -> vector (B, D), or grid (B, C, H, W) if nothing is pooled."""
        grid = Features(self.blocks(features.x))
        if self.pool is None or self.hidden is None:
            return grid
        return Features(self.hidden(self.pool(grid)))


def _plain_stage(channels_in: int, channels: int, stage: Stage, config: CNNConfig) -> list[nn.Module]:
    """The convolutions of a stage; only the first one may shorten the sides, so that a deeper network fits where a shallow one does."""
    return [
        ConvolutionBlock(
            channels if number else channels_in,
            channels,
            config.kernel,
            padding=config.kernel // 2 if number else stage.padding,
            pool=stage.downsample if number == config.blocks - 1 else 1,
            norm=config.norm,
            activation_name=config.activation,
        )
        for number in range(config.blocks)
    ]


def _residual_stage(channels_in: int, channels: int, stage: Stage, config: CNNConfig) -> list[nn.Module]:
    return [
        ResidualBlock(
            channels if number else channels_in,
            channels,
            config.kernel,
            stride=1 if number else stage.downsample,
            norm=config.norm,
            activation_name=config.activation,
            branch_scale=(len(config.channels) * config.blocks) ** -0.5,
        )
        for number in range(config.blocks)
    ]


def _hidden_layers(width_in: int, config: CNNConfig) -> list[nn.Module]:
    layers: list[nn.Module] = [Dropout(config.dropout)] if config.dropout else []
    for width in config.hidden:
        layers += [with_role(nn.Linear(width_in, width), config.activation), activation(config.activation)]
        if config.dropout:
            layers.append(Dropout(config.dropout))
        width_in = width
    return layers
