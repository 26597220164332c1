"""The family `hybrid`: layers of convolution, recurrence and attention after a pattern, in one residual stream.

B batch, T time, D width, E width of what the stem gives.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator
from torch import nn

from modelwright.core.batch import Features, FeatureSpec, Kind
from modelwright.core.errors import InputError
from modelwright.core.schema import Schema
from modelwright.core.space import Between
from modelwright.models.family import Backbone, FamilyConfig, check_head_width, check_heads, families, scaled_depth, scaled_heads
from modelwright.nn.cache import Cache
from modelwright.nn.dropout import Dropout
from modelwright.nn.feedforward import FeedForward, Inner
from modelwright.nn.mixer import AttentionMixer, ConvolutionMixer, Mixer, MixerBlock, Pass, RecurrentMixer
from modelwright.nn.normalization import SequenceNorm, sequence_norm
from modelwright.nn.pooling import mean_over_time
from modelwright.nn.positions import RotaryPositions
from modelwright.nn.sight import Sight, onward, whole
from modelwright.nn.stem import StemConfig


@families.register("hybrid")
class HybridConfig(FamilyConfig):
    """A pre-norm stack of mixers of several kinds, each followed by a feed-forward layer (as in De et al. 2024, Griffin, section 2)."""

    consumes: ClassVar[tuple[Kind, ...]] = ("sequence",)
    stems: ClassVar[tuple[str, ...]] = ("embedding", "patches", "tokens", "rows")
    suits: ClassVar[tuple[str, ...]] = ("text",)
    family: Literal["hybrid"] = "hybrid"
    width: int = Field(64, gt=0)
    """Width of the stream, even and a multiple of `num_heads`."""
    depth: int = Field(6, gt=0)
    """Number of layers, each a mixer and a feed-forward layer."""
    pattern: tuple[Literal["attention", "convolution", "lstm", "gru", "rnn"], ...] = Field(
        ("convolution", "lstm", "attention"), min_length=1
    )
    """Kinds of the layers, from the first on and over again."""
    causal: bool = False
    """Whether a position knows of those before it only; where the next token is told it always does."""
    num_heads: int = Field(2, gt=0)
    """Heads of a layer of attention."""
    positions: Literal["none", "rotary"] = "none"
    """What tells attention the order; recurrence and convolution, which come before it, know it by themselves."""
    kernel: int = Field(4, gt=1)
    """Positions that a convolution looks at."""
    feedforward_ratio: float = Field(2.0, gt=0)
    """Hidden width of the feed-forward layers, as a multiple of `width`."""
    activation: Inner = "gelu"
    """Nonlinearity of the feed-forward layers."""
    norm: SequenceNorm = "layer"
    """Norm before each branch and at the end."""
    dropout: Annotated[float, Between(0.0, 0.5)] = Field(0.0, ge=0, lt=1)
    """Probability in training, of what each branch adds and of hidden values."""
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """Probability in training, of attention weights."""
    pool: Literal["auto", "mean", "none"] = "auto"
    """`mean` over the positions, or `none`: the whole sequence. `auto` is `mean`, or `none` where the next token is told."""

    @model_validator(mode="after")
    def _check_width(self) -> Self:
        check_heads(self.width, self.num_heads, rotary=self.positions == "rotary")
        if self.width % 2:
            raise InputError(f"the width is {self.width}", expected="an even number")
        return self

    def on(self, stem: StemConfig, schema: Schema) -> Self:
        """These settings, causal where the next token is told.

        Raises:
            InputError: there the settings pool.
        """
        if not schema.causal:
            return self
        if self.pool == "mean":
            raise InputError("the family hybrid pools (mean), and the next token is told at every position", expected="pool: auto")
        return self.replace(causal=True, pool="none")

    def build(self, spec: FeatureSpec) -> Hybrid:
        """The backbone for sequences like `spec`."""
        return Hybrid(spec, self)

    def scaled(self, *, width: float = 1, depth: float = 1) -> Self:
        """The same pattern with heads as wide as before, `width` times as many of them, and `depth` times as deep."""
        wide, heads, _ = scaled_heads(self.width, self.num_heads, None, width)
        return self.replace(width=wide, num_heads=heads, depth=scaled_depth(self.depth, depth))

    def check_base(self, base: Self) -> None:
        """See that heads are as wide as in `base`.

        Raises:
            InputError: they aren't.
        """
        check_head_width(self.width, self.num_heads, base.width, base.num_heads)


class Hybrid(Backbone):
    """Projection, blocks, norm and pooling for sequences like `spec`; a trained embedding of the stream's own width is not projected."""

    def __init__(self, spec: FeatureSpec, config: HybridConfig) -> None:
        super().__init__()
        width = config.width
        # The vectors of a table that scores tokens too are short; like this they are no smaller than what the blocks add.
        self.scale = spec.width**0.5 if spec.embedded else 1.0
        self.project = None if spec.embedded and spec.width == width else nn.Linear(spec.width, width)
        self.rotary = RotaryPositions(spec.size[0], width // config.num_heads) if config.positions == "rotary" else None
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(_block(config, number) for number in range(config.depth))
        self.norm = sequence_norm(config.norm, width)
        self.causal, self.pool = config.causal, config.pool == "mean" or config.pool == "auto"
        self.gives = FeatureSpec("vector", width) if self.pool else FeatureSpec("sequence", width, spec.size)

    def new_cache(self, rows: int, capacity: int) -> Cache:
        """An empty cache for `rows` sequences of up to `capacity` positions.

        Raises:
            InputError: it doesn't read causally.
        """
        if not self.causal:
            return super().new_cache(rows, capacity)
        if self.rotary is not None:
            self.rotary.reach(capacity)
        return Cache(rows, capacity, [block.mixer.new_state(rows, capacity) for block in self.blocks])  # type: ignore[union-attr, operator]

    def forward(self, features: Features, cache: Cache | None = None) -> Features:
        """Sequence (B, T, E) -> vector (B, D), or sequence (B, T, D) if nothing is pooled."""
        x_BTD = features.x * self.scale if self.scale != 1 else features.x
        if self.project is not None:
            x_BTD = self.project(x_BTD)
        view = self._view(features, cache)
        x_BTD = self.dropout(x_BTD)
        for index, block in enumerate(self.blocks):
            x_BTD = block(x_BTD, view, None if cache is None else cache.layers[index])
        if cache is not None:
            cache.advance(x_BTD.shape[1])
        x_BTD = self.norm(x_BTD)
        return Features(mean_over_time(x_BTD, features.mask)) if self.pool else Features(x_BTD, features.mask, features.documents)

    def _view(self, features: Features, cache: Cache | None) -> Pass:
        """What the mixers need to know of the pass."""
        time = features.x.shape[1]
        if cache is None:
            sight = Sight(whole(features.mask, features.documents, time, None))
        else:
            assert features.mask is None, "what is read onward has no padding"
            assert features.documents is None, "what is read onward is all one document"
            sight = onward(cache, time, cache.capacity, None, features.x.device)
        if self.rotary is not None:
            sight = sight._replace(turn=self.rotary(time, sight.places, features.x.dtype))
        return Pass(features.mask, features.documents, sight)


def _block(config: HybridConfig, number: int) -> MixerBlock:
    branch_scale = (2 * config.depth) ** -0.5
    feedforward = FeedForward(
        config.width,
        round(config.width * config.feedforward_ratio),
        inner=config.activation,
        dropout=config.dropout,
        output_scale=branch_scale,
    )
    return MixerBlock(config.width, _mixer(config, number, branch_scale), feedforward, norm=config.norm, dropout=config.dropout)


def _mixer(config: HybridConfig, number: int, scale: float) -> Mixer:
    kind = config.pattern[number % len(config.pattern)]
    if kind == "attention":
        return AttentionMixer(config.width, config.num_heads, causal=config.causal, dropout=config.attention_dropout, output_scale=scale)
    if kind == "convolution":
        return ConvolutionMixer(config.width, config.kernel, causal=config.causal, output_scale=scale)
    return RecurrentMixer(config.width, kind, causal=config.causal, output_scale=scale)
