"""The family `transformer`: blocks of self-attention. On patches it is a ViT, on the columns of a table an FT-Transformer, on a text a decoder.

B batch, T time, D width, E width of what the stem gives.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from modelwright.core.batch import Features, FeatureSpec, Kind
from modelwright.core.errors import InputError
from modelwright.core.schema import Schema
from modelwright.core.space import Between
from modelwright.models.family import Backbone, FamilyConfig, check_head_width, check_heads, families, scaled_depth, scaled_heads
from modelwright.models.presets import preset
from modelwright.nn.attention import Attention
from modelwright.nn.block import Block
from modelwright.nn.cache import Cache, ring, state_dtype
from modelwright.nn.dropout import Dropout
from modelwright.nn.experts import Experts
from modelwright.nn.feedforward import FeedForward, Inner
from modelwright.nn.initialization import TABLE, Fill
from modelwright.nn.normalization import SequenceNorm, sequence_norm
from modelwright.nn.pooling import mean_over_time
from modelwright.nn.positions import (
    LearnedPositions,
    NoPositions,
    Places,
    Positions,
    RotaryPositions,
    SinusoidalPositions,
    Turn,
    alibi_slopes,
)
from modelwright.nn.sight import Sight, document_places, onward, whole
from modelwright.nn.stem import StemConfig


@families.register("transformer")
class TransformerConfig(FamilyConfig):
    """A pre-norm Transformer (Vaswani et al. 2017, Xiong et al. 2020): an encoder, or on a text a decoder."""

    consumes: ClassVar[tuple[Kind, ...]] = ("sequence",)
    stems: ClassVar[tuple[str, ...]] = ("patches", "tokens", "embedding", "rows")
    suits: ClassVar[tuple[str, ...]] = ("image", "table", "text")
    tensor_parallel: ClassVar[bool] = True
    family: Literal["transformer"] = "transformer"
    preset: str | None = None
    """A published shape, such as `gpt2-124m` or `llama-7b`: it decides whatever else is not set."""
    width: int = Field(64, gt=0)
    """Width of the stream, a multiple of `num_heads`."""
    depth: int = Field(4, gt=0)
    """Number of blocks."""
    num_heads: int = Field(2, gt=0)
    """Attention heads of a block."""
    num_kv_heads: int | None = Field(None, gt=0)
    """Heads of keys and values, shared by groups of the others; None is as many as `num_heads`, and 1 is multi-query attention."""
    feedforward_ratio: float = Field(2.0, gt=0)
    """Hidden width of the feed-forward layers, as a multiple of `width`."""
    causal: bool = False
    """Whether a position looks back only; on a text it always does."""
    window: int | None = Field(None, gt=0)
    """How many positions one looks back at, itself included; None is all."""
    positions: Literal["auto"] | Positions = "auto"
    """How it knows the order; `auto` learns a vector for each position, or none for the columns of a table, which tell their own, and turns
    queries and keys (rotary) on a text."""
    rotary_base: float = Field(10_000.0, gt=1)
    """Ratio of the longest wavelength of rotary positions to the shortest."""
    norm: SequenceNorm = "layer"
    """Norm before each branch and at the end."""
    norm_epsilon: float = Field(1e-5, gt=0)
    """Added to the variance."""
    qk_norm: Literal["auto"] | bool = "auto"
    """Whether queries and keys are normed too, by head and as `norm` says, which bounds the scores; `auto` does so on a text, where it lets
    Muon take longer steps (see LOG.md)."""
    activation: Inner = "gelu"
    """Nonlinearity of the feed-forward layers."""
    bias: bool = True
    """Whether linear layers and layer norms have one."""
    embedding_scale: Literal["auto"] | float = "auto"
    """Factor on what a trained embedding gives; `auto` is the root of its width, so that it is no smaller than what the blocks add."""
    experts: int = Field(0, ge=0)
    """Feed-forward layers of a block, among which tokens are distributed; 0 is one for all."""
    experts_per_token: int = Field(2, gt=0)
    """Experts that a token is sent to."""
    expert_ratio: float | None = Field(None, gt=0)
    """Hidden width of an expert, as a multiple of `width`; None is `feedforward_ratio`."""
    balance: float = Field(0.01, ge=0)
    """Weight of the loss that keeps all experts in use."""
    router_z_loss: float = Field(0.001, ge=0)
    """Weight of the loss that keeps the router's scores small."""
    dropout: Annotated[float, Between(0.0, 0.5)] = Field(0.0, ge=0, lt=1)
    """Probability in training, of what each branch adds and of hidden values."""
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """Probability in training, of attention weights."""
    pool: Literal["auto", "mean", "class", "none"] = "auto"
    """`mean` over the positions, the state of an added `class` token, or `none`: the whole sequence. `auto` is `mean`, or `none` where the
    next token is told."""

    @model_validator(mode="before")
    @classmethod
    def _take_preset(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("preset"), str):
            return {**preset(values["preset"]), **values}
        return values

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        check_heads(self.width, self.num_heads, rotary=self.positions == "rotary")
        if self.num_heads % (self.num_kv_heads or 1):
            raise InputError(f"the {self.num_heads} heads can't share {self.num_kv_heads} heads of keys and values", expected="a divisor")
        if self.experts and self.experts_per_token > self.experts:
            raise InputError(f"a token can't be sent to {self.experts_per_token} of {self.experts} experts")
        return self

    def on(self, stem: StemConfig, schema: Schema) -> Self:
        """These settings, causal where the next token is told, and without positions if they are `auto` and the order means nothing.

        Raises:
            InputError: the settings pool where the next token is told, look back a window where nothing is causal, or gather what is asked
                for in a token that comes first and sees nothing but itself.
        """
        decided = self
        if self.positions == "auto":
            decided = decided.replace(positions="rotary" if schema.causal else "learned" if stem.ordered else "none")
        if self.qk_norm == "auto":
            decided = decided.replace(qk_norm=schema.causal)
        if schema.causal:
            if self.pool not in ("auto", "none"):
                raise InputError(
                    f"the family transformer pools ({self.pool}), and the next token is told at every position", expected="pool: auto"
                )
            return decided.replace(causal=True, pool="none")
        if self.window is not None and not self.causal:
            raise InputError("a window looks back, and on these data the family transformer looks both ways", expected="causal: true")
        if self.causal and self.pool == "class":
            raise InputError("a class token comes first, and if every position looks back only, it sees nothing", expected="pool: mean")
        return decided

    def build(self, spec: FeatureSpec) -> Transformer:
        """The backbone for sequences like `spec`."""
        return Transformer(spec, self)

    def scaled(self, *, width: float = 1, depth: float = 1) -> Self:
        """The same family with heads as wide as before, `width` times as many of them, and `depth` times as deep."""
        wide, heads, keys = scaled_heads(self.width, self.num_heads, self.num_kv_heads, width)
        return self.replace(width=wide, num_heads=heads, num_kv_heads=keys, depth=scaled_depth(self.depth, depth))

    def check_base(self, base: Self) -> None:
        """See that heads are as wide as in `base`.

        Raises:
            InputError: they aren't.
        """
        check_head_width(self.width, self.num_heads, base.width, base.num_heads)


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
        x_BTD = torch.cat((self.token.to(x_BTD.dtype).expand(x_BTD.shape[0], 1, -1), x_BTD), dim=1)
        return x_BTD, None if mask_BT is None else F.pad(mask_BT, (1, 0), value=True)


class Transformer(Backbone):
    """Projection, positions, blocks, norm and pooling for sequences like `spec`.

    Args:
        spec: what comes in. A trained embedding of the blocks' own width is not projected.
        config: the settings.
    """

    def __init__(self, spec: FeatureSpec, config: TransformerConfig) -> None:
        super().__init__()
        width, length = config.width, spec.size[0] + (config.pool == "class")
        positions = "learned" if config.positions == "auto" else config.positions
        self.pool, self.causal, self.window = "mean" if config.pool == "auto" else config.pool, config.causal, config.window
        self.shape = (config.num_kv_heads or config.num_heads, width // config.num_heads)
        self.scale = 1.0
        if spec.embedded:
            self.scale = spec.width**0.5 if config.embedding_scale == "auto" else config.embedding_scale
        self.project = None if spec.embedded and spec.width == width else nn.Linear(spec.width, width)
        self.class_token = ClassToken(width) if config.pool == "class" else None
        size = self.scale * TABLE["token"].std(1, spec.width) if spec.embedded else 1.0
        self.positions = _added_positions(positions, length, width, size)
        self.rotary = RotaryPositions(length, width // config.num_heads, base=config.rotary_base) if positions == "rotary" else None
        self.slopes = alibi_slopes(config.num_heads) if positions == "alibi" else None
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(_block(config) for _ in range(config.depth))
        self.norm = sequence_norm(config.norm, width, epsilon=config.norm_epsilon, bias=config.bias)
        self.gives = FeatureSpec("sequence", width, spec.size) if self.pool == "none" else FeatureSpec("vector", width)

    def new_cache(self, rows: int, capacity: int) -> Cache:
        """An empty cache for `rows` sequences of up to `capacity` positions; layers with a window keep no more than that.

        Raises:
            InputError: it doesn't read causally, or there are fewer learned positions.
        """
        if not self.causal:
            return super().new_cache(rows, capacity)
        for positions in (self.positions, self.rotary):
            if positions is not None:
                positions.reach(capacity)
        dtype, device = state_dtype(self)
        slots = capacity if self.window is None else min(capacity, self.window)
        heads, head_width = self.shape
        return Cache(rows, capacity, [ring(rows, heads, slots, head_width, dtype=dtype, device=device) for _ in self.blocks])

    def forward(self, features: Features, cache: Cache | None = None) -> Features:
        """Sequence (B, T, E) -> vector (B, D), or sequence (B, T, D) if nothing is pooled.

        The positions follow those that the rows of `cache` have read. What does not lie in the same document is not attended to; positions
        that are added begin anew with each document, and rotary ones and ALiBi know distances only.
        """
        x_BTD, mask_BT = features.x if self.scale == 1 else features.x * self.scale, features.mask
        x_BTD = x_BTD if self.project is None else self.project(x_BTD)
        if self.class_token is not None:
            x_BTD, mask_BT = self.class_token(x_BTD, mask_BT)
        sight, places = self._sight(x_BTD, mask_BT, features.documents, cache)
        x_BTD = self.dropout(self.positions(x_BTD, places))
        if self.project is None:
            # An embedding is float32; in the type of the products the stream is half as much to move.
            x_BTD = x_BTD.to(_product_dtype(x_BTD))
        for index, block in enumerate(self.blocks):
            x_BTD = block(x_BTD, sight) if cache is None else block(x_BTD, sight, cache.layers[index])
        if cache is not None:
            cache.advance(x_BTD.shape[1])
        if self.pool == "class":
            return Features(self.norm(x_BTD[:, 0]))
        x_BTD = self.norm(x_BTD)
        return Features(x_BTD, mask_BT) if self.pool == "none" else Features(mean_over_time(x_BTD, mask_BT))

    def _sight(self, x_BTD: Tensor, mask_BT: Tensor | None, documents_BT: Tensor | None, cache: Cache | None) -> tuple[Sight, Places]:
        """What each position may look at, and where it lies."""
        time, device = x_BTD.shape[1], x_BTD.device
        slopes_H = None if self.slopes is None else torch.tensor(self.slopes, device=device)
        if cache is None:
            sight, places = Sight(whole(mask_BT, documents_BT, time, slopes_H)), 0
            if documents_BT is not None and self.rotary is None:
                places = document_places(documents_BT)
            return sight._replace(turn=self._turn(x_BTD, 0)), places
        assert mask_BT is None, "what is read onward has no padding"
        assert documents_BT is None, "what is read onward is all one document"
        sight = onward(cache, time, cache.layers[0][0].shape[2], slopes_H, device)
        return sight._replace(turn=self._turn(x_BTD, sight.places)), sight.places

    def _turn(self, x_BTD: Tensor, places: Places) -> Turn | None:
        return None if self.rotary is None else self.rotary(x_BTD.shape[1], places, _product_dtype(x_BTD))


def _product_dtype(x: Tensor) -> torch.dtype:
    """The type in which linear layers compute on `x`."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if kind != "meta" and torch.is_autocast_enabled(kind) else x.dtype


def _added_positions(name: Positions, length: int, width: int, size: float) -> LearnedPositions | SinusoidalPositions | NoPositions:
    if name == "sinusoidal":
        return SinusoidalPositions(length, width, scale=size)
    return LearnedPositions(length, width, scale=size) if name == "learned" else NoPositions()


def _block(config: TransformerConfig) -> Block:
    branch_scale = (2 * config.depth) ** -0.5
    attention = Attention(
        config.width,
        config.num_heads,
        num_kv_heads=config.num_kv_heads,
        causal=config.causal,
        window=config.window if config.causal else None,
        qk_norm=config.norm if config.qk_norm is True else None,
        bias=config.bias,
        epsilon=config.norm_epsilon,
        dropout=config.attention_dropout,
        output_scale=branch_scale,
    )
    return Block(
        config.width,
        attention,
        _feedforward(config, branch_scale),
        norm=config.norm,
        epsilon=config.norm_epsilon,
        bias=config.bias,
        dropout=config.dropout,
    )


def _feedforward(config: TransformerConfig, branch_scale: float) -> FeedForward | Experts:
    if not config.experts:
        return FeedForward(
            config.width,
            round(config.width * config.feedforward_ratio),
            inner=config.activation,
            bias=config.bias,
            dropout=config.dropout,
            output_scale=branch_scale,
        )
    return Experts(
        config.width,
        round(config.width * (config.expert_ratio or config.feedforward_ratio)),
        config.experts,
        config.experts_per_token,
        inner=config.activation,
        balance=config.balance,
        z_loss=config.router_z_loss,
        dropout=config.dropout,
        output_scale=branch_scale,
    )
