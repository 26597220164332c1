"""The family: a kind of backbone. What it consumes, what it suits, and how it grows.

B batch, D width of a vector.
"""

from __future__ import annotations

import math
from typing import ClassVar, Self

from torch import nn

from modelwright.core.batch import Features, FeatureSpec, Kind
from modelwright.core.config import Config
from modelwright.core.errors import InputError
from modelwright.core.registry import Registry
from modelwright.core.schema import Schema
from modelwright.core.space import Interval
from modelwright.nn.cache import Cache
from modelwright.nn.stem import StemConfig


class Backbone(nn.Module):
    """Turns features into features; `gives` says which."""

    gives: FeatureSpec

    def forward(self, features: Features, cache: Cache | None = None) -> Features:
        """Features of B examples -> features of B examples; with a cache, on from what its rows have read, which only causal ones can."""
        raise NotImplementedError

    def new_cache(self, rows: int, capacity: int) -> Cache:
        """An empty cache for `rows` sequences of up to `capacity` positions.

        Raises:
            InputError: it doesn't read causally.
        """
        raise InputError(
            f"a {type(self).__name__} can't go on from what it has read", expected="a network that tells the next token of a text"
        )


class FamilyConfig(Config):
    """Settings of a backbone. A subclass has a field `family` whose default is its registered name."""

    consumes: ClassVar[tuple[Kind, ...]]
    """Kinds of features that it can work on."""
    stems: ClassVar[tuple[str, ...]]
    """Names of stems that suit it, the preferred ones first."""
    suits: ClassVar[tuple[str, ...]] = ()
    """Schema kinds on which it is worth a try when nothing else is known."""
    learning_rate: ClassVar[float] = 1e-3
    """Where to begin with AdamW when nothing else is known."""
    text_learning_rate: ClassVar[float] = 0.02
    """The same for a language model with Muon."""
    dials: ClassVar[dict[str, Interval]] = {"width": Interval(0.5, 4, logarithmic=True), "depth": Interval(0.5, 2, logarithmic=True)}
    """Factors of `scaled` that are worth a search; beside them, each setting of a family says so itself (`core/space.py`)."""
    tensor_parallel: ClassVar[bool] = False
    """Whether devices can share the products of all its blocks on a text, by `num_heads` heads and hidden columns (Shoeybi et al. 2019)."""
    embedding_size: ClassVar[float] = 1.0
    """Factor on the initial vectors of tokens. Where nothing norms the state that scores them, larger ones learn faster, up to the size at
    which the first loss is no longer near that of guessing."""

    family: str

    @property
    def num_blocks(self) -> int:
        """Blocks one after the other that `scaled(depth=)` makes more of: the field `depth` or `blocks`, 1 for a family without."""
        return getattr(self, "depth", None) or getattr(self, "blocks", None) or 1

    def on(self, stem: StemConfig, schema: Schema) -> Self:
        """These settings, with what depends on the stem and the data decided.

        Raises:
            InputError: an output is asked for at every position, and the family or a setting can't do it.
        """
        if schema.causal:
            raise InputError(f"the family {self.family} can't tell the next token at every position of a text")
        return self

    def build(self, spec: FeatureSpec) -> nn.Module:
        """The backbone for features like `spec`, whose kind is one of `consumes`: a module like `Backbone`.

        Raises:
            InputError: the settings don't fit the features.
        """
        raise NotImplementedError

    def scaled(self, *, width: float = 1, depth: float = 1) -> Self:
        """The same family, `width` times as wide and `depth` times as deep, as near as its constraints allow.

        Raises:
            InputError: a factor is not positive.
        """
        raise NotImplementedError

    def check_base(self, base: Self) -> None:
        """See that hyperparameters tuned on `base`, of the same family, can hold here.

        Raises:
            InputError: something grew that none of them can follow.
        """


families: Registry[type[FamilyConfig]] = Registry("family", "modelwright.models")


def check_heads(width: int, num_heads: int, *, rotary: bool) -> None:
    """See that `num_heads` heads of attention have room in a stream of that width, and that rotary positions can turn them.

    Raises:
        InputError: they haven't, or can't.
    """
    if width % num_heads:
        raise InputError(f"the width {width} is no multiple of the {num_heads} heads")
    if rotary and (width // num_heads) % 2:
        raise InputError(f"rotary positions need heads of even width, and these are {width // num_heads} wide")


def check_head_width(width: int, num_heads: int, base_width: int, base_heads: int) -> None:
    """See that heads of attention are as wide as in the base: the scale of their scores is right for one width.

    Raises:
        InputError: they aren't.
    """
    if width * base_heads != base_width * num_heads:
        raise InputError(
            f"the heads of attention are {width / num_heads:g} wide, and in the base of the transfer {base_width / base_heads:g}",
            expected=f"heads of one width: num_heads: {max(1, base_width * num_heads // width)} in the base",
        )


def scaled_heads(width: int, num_heads: int, num_kv_heads: int | None, factor: float) -> tuple[int, int, int | None]:
    """Width, heads and heads of keys of a stream `factor` times as wide with heads as wide as before; of one head, the head itself shrinks.

    As many heads share keys as before, but that one head of keys stays one.

    Raises:
        InputError: the factor is not positive.
    """
    _check(factor, "width")
    if num_heads * factor < 1:
        return scaled_width(width // num_heads, factor * num_heads, multiple=2), 1, None if num_kv_heads is None else 1
    heads, keys = max(1, round(num_heads * factor)), num_kv_heads
    if num_kv_heads is not None:
        keys = 1 if num_kv_heads == 1 else max(1, round(num_kv_heads * factor))
        heads = keys * (num_heads // num_kv_heads) if keys > 1 else heads
    return width // num_heads * heads, heads, keys


def scaled_width(width: int, factor: float, *, multiple: int | None = None) -> int:
    """`factor` times `width`, rounded to a `multiple`: by default the greatest power of two up to 8 that divides `width`.

    Raises:
        InputError: the factor is not positive.
    """
    _check(factor, "width")
    if factor == 1:
        return width
    multiple = multiple or math.gcd(width, 8)
    return max(multiple, multiple * round(width * factor / multiple))


def scaled_depth(depth: int, factor: float) -> int:
    """`factor` times `depth`, at least 1.

    Raises:
        InputError: the factor is not positive.
    """
    _check(factor, "depth")
    return max(1, round(depth * factor))


def _check(factor: float, dial: str) -> None:
    if not (factor > 0 and math.isfinite(factor)):
        raise InputError(f"scaled: the {dial} factor is {factor:g}", expected="a positive number")
