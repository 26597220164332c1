"""The network: stem, backbone and head, put together for a schema and filled from a seed.

B batch, T time, V vocabulary, E width of the table of tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from modelwright.core.batch import Features, FeatureSpec
from modelwright.core.errors import InputError, closest
from modelwright.core.schema import Schema
from modelwright.core.units import format_count
from modelwright.models.family import FamilyConfig, families
from modelwright.nn.cache import Cache
from modelwright.nn.head import Head, HeadConfig
from modelwright.nn.initialization import init_weights
from modelwright.nn.stem import Stem, StemConfig, stems
from modelwright.nn.token_head import TokenHead


class Network(nn.Module):
    """A stem, a backbone and a head in a row. With a token head it tells the next token at every position."""

    def __init__(self, stem: Stem, backbone: nn.Module, head: Head | TokenHead) -> None:
        super().__init__()
        self.stem, self.backbone, self.head = stem, backbone, head

    @property
    def outputs(self) -> int:
        """How many numbers it gives for an example, or for a position."""
        return self.head.outputs

    def forward(self, inputs: dict[str, Tensor], cache: Cache | None = None) -> Tensor:
        """The inputs of a batch, by name -> (B, outputs), or the scores (B, T, V) of the next tokens.

        Args:
            inputs: of B examples.
            cache: goes on from what its B rows have read, and keeps what is read now.
        """
        features = self._features(inputs, cache)
        return self.head(features, self.output_weight()) if isinstance(self.head, TokenHead) else self.head(features)

    def _features(self, inputs: dict[str, Tensor], cache: Cache | None) -> Features:
        features = self.stem(inputs)
        return self.backbone(features) if cache is None else self.backbone(features, cache)

    def hidden(self, inputs: dict[str, Tensor], cache: Cache | None = None) -> Tensor:
        """What the table of tokens is multiplied with, (B, T, E): `head.project(hidden, output_weight())` are the scores (B, T, V)."""
        return self._token_head.hidden(self._features(inputs, cache))

    def output_weight(self) -> Tensor:
        """The table (V, E) that scores the next token: the stem's if the head is tied, else the head's."""
        weight = self._token_head.weight
        return self.stem.table if weight is None else weight  # type: ignore[return-value]

    @property
    def output_bias(self) -> Tensor | None:
        """The offset of each token's score (V,), or None."""
        return self._token_head.bias

    @property
    def softcap(self) -> float | None:
        """The bound of the scores, or None: then a score s becomes softcap * tanh(s / softcap)."""
        return self._token_head.softcap

    @property
    def _token_head(self) -> TokenHead:
        assert isinstance(self.head, TokenHead), "the network doesn't tell the next token"
        return self.head

    @property
    def multipliers(self) -> dict[str, float]:
        """The numbers by which the forward pass multiplies parameters, by their name: a backbone's `scale` of what a trained embedding gives."""
        return {f"stem.{name}": getattr(self.backbone, "scale", 1.0) for name, _ in self.stem.named_parameters()}

    def new_cache(self, rows: int, capacity: int) -> Cache:
        """An empty cache for `rows` sequences of up to `capacity` tokens.

        Raises:
            InputError: the network doesn't tell the next token of a text.
        """
        if not isinstance(self.head, TokenHead):
            raise InputError("the network gives one answer for an example", expected="a network that tells the next token of a text")
        return self.backbone.new_cache(rows, capacity)  # type: ignore[operator]

    def init_weights(self, seed: int | None) -> None:
        """Fill every parameter and buffer from `seed` (None: all but what would be drawn), and lay convolution weights out channels-last, which is faster."""
        init_weights(self, seed)
        if any(isinstance(module, nn.Conv2d) for module in self.modules()):
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def activations(self, inputs: dict[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
        """What the named modules give for `inputs`.

        Args:
            inputs: of a batch, by name.
            names: as in `named_modules()`: `stem`, `backbone`, `backbone.blocks.0`, `head`, ...

        Raises:
            InputError: there is no module of that name, or it gives nothing by itself.
        """
        known, names = dict(self.named_modules()), list(names)
        seen: dict[str, Tensor] = {}
        hooks = []
        try:
            for name in names:
                if name not in known or not name:
                    near = closest(name, known)
                    raise InputError(f"the network has no part {name!r}", remedy=f"Did you mean {near}?" if near else None)
                hooks.append(known[name].register_forward_hook(partial(_keep, seen, name)))
            self(inputs)
        finally:
            for hook in hooks:
                hook.remove()
        if silent := [name for name in names if name not in seen]:
            raise InputError(f"the part {silent[0]} of the network gives nothing by itself", remedy="Name one of the parts within it")
        return {name: seen[name] for name in names}


def _keep(seen: dict[str, Tensor], name: str, module: nn.Module, args: Any, output: Any) -> None:
    """Keep a module's output; of features and of recurrent layers the first part, which is x."""
    seen[name] = output[0] if isinstance(output, tuple) else output


def can_read(family: FamilyConfig | type[FamilyConfig], schema: Schema) -> bool:
    """Whether one of the family's stems reads data like `schema`."""
    return any(stems[stem].reads == schema.kind for stem in family.stems)


def choose_stem(schema: Schema, family: FamilyConfig) -> StemConfig:
    """The first of the family's stems that reads data like `schema`, with its default settings.

    Raises:
        InputError: there is none; the message names the families that would fit.
    """
    for name in family.stems:
        if stems[name].reads == schema.kind:
            return stems[name].model_validate({})
    fitting = [name for name, other in families.items() if can_read(other, schema)]
    raise InputError(
        f"the family {family.family} doesn't fit a {schema.kind}: it consumes a {' or a '.join(family.consumes)}, and none of its stems makes "
        f"one of a {schema.kind}",
        expected=f"one of the families {', '.join(fitting)}",
    )


def _check(schema: Schema, family: FamilyConfig, stem: StemConfig) -> None:
    if stem.reads != schema.kind:
        fitting = [name for name, other in stems.items() if other.reads == schema.kind and other.kind in family.consumes]
        raise InputError(
            f"the stem {stem.name} reads {_a(stem.reads)}, and the data are {_a(schema.kind)}",
            expected=f"one of the stems {', '.join(fitting)}" if fitting else None,
        )
    if stem.kind not in family.consumes:
        fitting = [name for name, other in stems.items() if other.reads == schema.kind and other.kind in family.consumes]
        others = [name for name, other in families.items() if stem.kind in other.consumes]
        raise InputError(
            f"the stem {stem.name} gives a {stem.kind}, and the family {family.family} consumes a {' or a '.join(family.consumes)}",
            expected=f"one of the stems {', '.join(fitting)}" if fitting else None,
            remedy=f"Families for the stem {stem.name} are {', '.join(others)}",
        )


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def assemble(
    schema: Schema, family: FamilyConfig, outputs: int, *, stem: StemConfig | None = None, head: HeadConfig | None = None
) -> Network:
    """The network of `build_network` on the default device, its weights as PyTorch leaves them.

    Raises:
        InputError: the parts don't fit; the message names them and what would.
    """
    if stem is None:
        stem = choose_stem(schema, family)
    _check(schema, family, stem)
    head = head or HeadConfig.model_validate({})
    built_stem = stem.sized(getattr(family, "width", None), family.embedding_size).build(schema)
    backbone = family.on(stem, schema).build(built_stem.gives)
    gives: FeatureSpec = backbone.gives  # type: ignore[assignment]
    if not schema.causal:
        return Network(built_stem, backbone, head.build(gives, outputs))
    table = getattr(built_stem, "table", None)
    return Network(built_stem, backbone, head.build_token_head(gives, outputs, None if table is None else table.shape[1]))


def meta_network(
    schema: Schema, family: FamilyConfig, outputs: int, *, stem: StemConfig | None = None, head: HeadConfig | None = None
) -> Network:
    """The network of `build_network` on the meta device: all shapes, no memory; for planning.

    Raises:
        InputError: the parts don't fit; the message names them and what would.
    """
    with torch.device("meta"):
        return assemble(schema, family, outputs, stem=stem, head=head)


def build_network(
    schema: Schema,
    family: FamilyConfig,
    outputs: int,
    *,
    stem: StemConfig | None = None,
    head: HeadConfig | None = None,
    seed: int | None = 0,
) -> Network:
    """Build on the meta device, allocate on the CPU, fill from a seed.

    Args:
        schema: what goes in.
        family: the backbone's settings.
        outputs: how many numbers the task asks for.
        stem: the stem's settings; None takes the family's preferred one for this schema.
        head: the head's settings.
        seed: decides every initial weight; None where all of them are read from a file at once.

    Raises:
        InputError: the parts don't fit; the message names them and what would. Or the memory doesn't hold the network.
    """
    network = meta_network(schema, family, outputs, stem=stem, head=head)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    try:
        network = network.to_empty(device="cpu")
    except RuntimeError as error:
        if "allocate" not in str(error):
            raise
        raise InputError(
            f"a network of {format_count(parameters)} parameters is too large for the memory", remedy="Choose a smaller width or depth"
        ) from None
    network.init_weights(seed)
    return network
