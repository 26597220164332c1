"""The network: stem, backbone and head, put together for a schema and filled from a seed.

B batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from modelwright.core.errors import InputError, closest
from modelwright.core.schema import Schema
from modelwright.models.family import FamilyConfig, families
from modelwright.nn.head import Head, HeadConfig
from modelwright.nn.initialization import init_weights
from modelwright.nn.stem import Stem, StemConfig, stems


class Network(nn.Module):
    """A stem, a backbone and a head in a row."""

    def __init__(self, stem: Stem, backbone: nn.Module, head: Head) -> None:
        super().__init__()
        self.stem, self.backbone, self.head = stem, backbone, head

    @property
    def outputs(self) -> int:
        """How many numbers it gives for an example."""
        return self.head.outputs

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """The inputs of a batch, by name -> (B, outputs)."""
        return self.head(self.backbone(self.stem(inputs)))

    def init_weights(self, seed: int) -> None:
        """Fill every parameter and buffer from `seed`, and lay convolution weights out channels-last, which is faster."""
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


def choose_stem(schema: Schema, family: FamilyConfig) -> StemConfig:
    """The first of the family's stems that reads data like `schema`, with its default settings.

    Raises:
        InputError: there is none; the message names the families that would fit.
    """
    for name in family.stems:
        if stems[name].reads == schema.kind:
            return stems[name].model_validate({})
    fitting = [name for name, other in families.items() if any(stems[stem].reads == schema.kind for stem in other.stems)]
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


def meta_network(
    schema: Schema, family: FamilyConfig, outputs: int, *, stem: StemConfig | None = None, head: HeadConfig | None = None
) -> Network:
    """The network of `build_network` on the meta device: all shapes, no memory; for planning.

    Raises:
        InputError: the parts don't fit; the message names them and what would.
    """
    if stem is None:
        stem = choose_stem(schema, family)
    _check(schema, family, stem)
    with torch.device("meta"):
        built_stem = stem.build(schema)
        backbone = family.on(stem).build(built_stem.gives)
        return Network(built_stem, backbone, (head or HeadConfig()).build(backbone.gives, outputs))  # type: ignore[arg-type]


def build_network(
    schema: Schema, family: FamilyConfig, outputs: int, *, stem: StemConfig | None = None, head: HeadConfig | None = None, seed: int = 0
) -> Network:
    """Build on the meta device, allocate on the CPU, fill from a seed.

    Args:
        schema: what goes in.
        family: the backbone's settings.
        outputs: how many numbers the task asks for.
        stem: the stem's settings; None takes the family's preferred one for this schema.
        head: the head's settings.
        seed: decides every initial weight.

    Raises:
        InputError: the parts don't fit; the message names them and what would.
    """
    network = meta_network(schema, family, outputs, stem=stem, head=head).to_empty(device="cpu")
    network.init_weights(seed)
    return network
