"""The family `transformer`: an encoder with self-attention. On patches it is a ViT, on the columns of a table an FT-Transformer.

B batch, T time, D width.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from modelwright.core.batch import Features, FeatureSpec, Kind
from modelwright.core.errors import InputError
from modelwright.models.family import Backbone, FamilyConfig, families, scaled_depth, scaled_width
from modelwright.nn.activation import Activation
from modelwright.nn.encoder import EncoderBlock
from modelwright.nn.initialization import Fill
from modelwright.nn.normalization import SequenceNorm, sequence_norm
from modelwright.nn.pooling import mean_over_time
from modelwright.nn.positions import LearnedPositions, Positions, RotaryPositions, SinusoidalPositions
from modelwright.nn.stem import StemConfig


@families.register("transformer")
class TransformerConfig(FamilyConfig):
    """A pre-norm Transformer encoder (Vaswani et al. 2017, Xiong et al. 2020)."""

    consumes: ClassVar[tuple[Kind, ...]] = ("sequence",)
    stems: ClassVar[tuple[str, ...]] = ("patches", "tokens", "rows")
    suits: ClassVar[tuple[str, ...]] = ("image", "table")
    family: Literal["transformer"] = "transformer"
    width: int = Field(64, gt=0)
    """Width of the stream, a multiple of `num_heads`."""
    depth: int = Field(4, gt=0)
    """Number of blocks."""
    num_heads: int = Field(2, gt=0)
    """Attention heads of a block."""
    feedforward_ratio: float = Field(2.0, gt=0)
    """Hidden width of the feed-forward layers, as a multiple of `width`."""
    positions: Literal["auto"] | Positions = "auto"
    """How it knows the order; `auto` learns a vector for each position, or none for the columns of a table, which tell their own."""
    norm: SequenceNorm = "layer"
    """Norm before each branch and at the end."""
    activation: Activation = "gelu"
    """Nonlinearity of the feed-forward layers."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Probability in training, of what each branch adds and of hidden values."""
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """Probability in training, of attention weights."""
    pool: Literal["mean", "class", "none"] = "mean"
    """`mean` over the positions, the state of an added `class` token, or `none`: the whole sequence."""

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.width % self.num_heads:
            raise InputError(f"the width {self.width} is no multiple of the {self.num_heads} heads")
        if self.positions == "rotary" and (self.width // self.num_heads) % 2:
            raise InputError(f"rotary positions need heads of even width, and these are {self.width // self.num_heads} wide")
        return self

    def on(self, stem: StemConfig) -> Self:
        """These settings, without positions if they are `auto` and the order means nothing."""
        return self.replace(positions="learned" if stem.ordered else "none") if self.positions == "auto" else self

    def build(self, spec: FeatureSpec) -> Transformer:
        """The backbone for sequences like `spec`."""
        return Transformer(spec, self)

    def scaled(self, *, width: float = 1, depth: float = 1) -> Self:
        """The same family with as many heads, `width` times as wide and `depth` times as deep."""
        multiple = 2 * self.num_heads
        return self.replace(width=scaled_width(self.width, width, multiple=multiple), depth=scaled_depth(self.depth, depth))


class ClassToken(nn.Module):
    """Puts a learned position before a sequence, to gather what is asked for (Devlin et al. 2019, section 3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(width))

    def initialize(self, fill: Fill) -> None:
        """Draw the token."""
        fill(self.token, "position", fan_in=1)

    def forward(self, x_BTD: Tensor, mask_BT: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(B, T, D) and its mask (B, T) -> (B, 1+T, D) and its mask."""
        x_BTD = torch.cat((self.token.to(x_BTD.dtype).expand(len(x_BTD), 1, -1), x_BTD), dim=1)
        return x_BTD, None if mask_BT is None else F.pad(mask_BT, (1, 0), value=True)


class Transformer(Backbone):
    """Projection, positions, encoder blocks, norm and pooling for sequences like `spec`."""

    def __init__(self, spec: FeatureSpec, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        positions = "learned" if config.positions == "auto" else config.positions
        length = spec.size[0] + (config.pool == "class")
        self.pool = config.pool
        self.project = nn.Linear(spec.width, width)
        self.class_token = ClassToken(width) if config.pool == "class" else None
        self.positions = _positions(positions, length, width)
        rotary = RotaryPositions(length, width // config.num_heads) if positions == "rotary" else None
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            EncoderBlock(
                width,
                config.num_heads,
                round(width * config.feedforward_ratio),
                norm=config.norm,
                activation_name=config.activation,
                dropout=config.dropout,
                attention_dropout=config.attention_dropout,
                rotary=rotary,
                branch_scale=(2 * config.depth) ** -0.5,
            )
            for _ in range(config.depth)
        )
        self.norm = sequence_norm(config.norm, width)
        self.gives = FeatureSpec("sequence", width, spec.size) if config.pool == "none" else FeatureSpec("vector", width)

    def forward(self, features: Features) -> Features:
        """Sequence (B, T, D') -> vector (B, D), or sequence (B, T, D) if nothing is pooled."""
        x_BTD, mask_BT = self.project(features.x), features.mask
        if self.class_token is not None:
            x_BTD, mask_BT = self.class_token(x_BTD, mask_BT)
        x_BTD = self.dropout(self.positions(x_BTD))
        for block in self.blocks:
            x_BTD = block(x_BTD, mask_BT)
        if self.pool == "class":
            return Features(self.norm(x_BTD[:, 0]))
        x_BTD = self.norm(x_BTD)
        return Features(x_BTD, mask_BT) if self.pool == "none" else Features(mean_over_time(x_BTD, mask_BT))


def _positions(name: Positions, length: int, width: int) -> nn.Module:
    if name == "sinusoidal":
        return SinusoidalPositions(length, width)
    return LearnedPositions(length, width) if name == "learned" else nn.Identity()
