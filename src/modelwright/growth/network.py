"""Growing a whole network, and holding the outputs of two against each other."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from modelwright.core.errors import InputError
from modelwright.core.randomness import generator
from modelwright.core.schema import Schema
from modelwright.growth.channels import NOISE, Channels, Sharing
from modelwright.growth.deepen import calibrate, carry
from modelwright.growth.grower import Grower, grower_of
from modelwright.growth.widen import widen, widen_projection
from modelwright.models.family import FamilyConfig
from modelwright.models.network import Network, build_network
from modelwright.nn.head import HeadConfig
from modelwright.nn.mode import evaluating
from modelwright.nn.stem import StemConfig
from modelwright.nn.stems.embedding import EmbeddingStem
from modelwright.nn.token_head import TokenHead

TOLERANCE = 1e-5
"""Largest difference of an output, as a share of the largest output, at which two networks count as equal: weights that are shared in float32
leave about 1e-7, and a norm that sees other channels leaves more than 1e-3."""


@dataclass(frozen=True)
class Grown:
    """A network that was grown.

    Attributes:
        network: it gives the outputs of the one that it was grown from.
        family: its settings.
    """

    network: Network
    family: FamilyConfig


@dataclass(frozen=True)
class Equality:
    """How nearly two networks give the same outputs; computed in float64, so that rounding doesn't hide anything.

    Attributes:
        examples: on which they were compared.
        difference: the largest one of two outputs.
        largest: the largest output, without its sign.
        agreement: share of answers that are the same: of the likeliest of several outputs, or of one number within the tolerance.
    """

    examples: int
    difference: float
    largest: float
    agreement: float

    @property
    def holds(self) -> bool:
        """Whether they count as equal."""
        return math.isfinite(self.largest) and self.difference <= TOLERANCE * max(1.0, self.largest)

    def to_json(self) -> dict[str, Any]:
        """All attributes."""
        return asdict(self)


@torch.no_grad()
def grow_network(
    old: Network,
    schema: Schema,
    family: FamilyConfig,
    *,
    width: float = 1,
    depth: float = 1,
    stem: StemConfig,
    head: HeadConfig,
    batches: Iterable[dict[str, Tensor]] = (),
    seed: int = 0,
    noise: float = NOISE,
) -> Grown:
    """A wider and deeper network that gives the same outputs.

    Args:
        old: trained, on the CPU.
        schema: what goes in.
        family: the old network's settings.
        width: factor, at least 1.
        depth: factor, at least 1.
        stem: settings of the stem.
        head: settings of the head.
        batches: inputs of training examples, for batch norms of further layers.
        seed: decides what is random: new weights, and what tells repeats apart.
        noise: how far repeats are apart, see `Sharing`.

    Raises:
        InputError: a factor is below 1, the family doesn't grow, or its settings allow no such growth.
    """
    grower = grower_of(family.family)
    for dial, factor in (("width", width), ("depth", depth)):
        if not factor >= 1:
            raise InputError(f"the {dial} factor is {factor:g}", expected="at least 1: growth keeps what was learnt")

    def build(config: FamilyConfig) -> Network:
        return build_network(schema, config, old.outputs, stem=stem, head=head, seed=seed).to(next(old.parameters()).dtype)

    if width != 1:
        family = _changed(family, grower.wider(family, width), "width", width)
        wider = build(family)
        _widen(wider, old, grower, Sharing(generator(seed, "growth"), noise))
        old = wider
    if depth != 1:
        config, family = family, _changed(family, grower.deeper(family, depth), "depth", depth)
        deeper = build(family)
        carry(deeper.stem, old.stem)
        carry(deeper.head, old.head)
        if norms := grower.deepen(deeper.backbone, old.backbone, config):
            calibrate(deeper, norms, batches)
        old = deeper
    return Grown(old.eval(), family)


def _changed(family: FamilyConfig, larger: FamilyConfig, dial: str, factor: float) -> FamilyConfig:
    """The settings of the larger network.

    Raises:
        InputError: they are those of the old one.
    """
    if larger == family:
        raise InputError(f"{factor:g} times the {dial} rounds to what it is", remedy=f"Give a larger --{dial}")
    return larger


def _widen(new: Network, old: Network, grower: Grower, share: Sharing) -> None:
    """Carry all weights over into a wider network."""
    head, wider = old.head, new.head
    if not isinstance(head, TokenHead) or not isinstance(wider, TokenHead):
        widen(wider, head, grower.widen(new.backbone, old.backbone, _widen_stem(new, old), share), share)
        return
    projected = head.projection is not None or wider.projection is not None
    norm = grower.last_norm(new.backbone)
    table = _widen_stem(new, old, balanced=head.tied and not projected and norm is None)
    given = grower.widen(new.backbone, old.backbone, table, share)
    if head.bias is not None and wider.bias is not None:
        wider.bias.copy_(head.bias)
    if head.weight is not None and wider.weight is not None:
        wider.weight.copy_(share(head.weight, given))
    elif projected:
        widen_projection(wider.projection, head.projection, given, share)
    elif norm is not None:
        # What scores a token is the product with its repeated vector, which has to stay what it is.
        factor = 1 / (given.counts * table.gain)
        for parameter in norm.parameters():
            parameter.mul_(factor.to(parameter))


def _widen_stem(new: Network, old: Network, *, balanced: bool = False) -> Channels:
    """Carry a stem over; only a table of tokens is as wide as the backbone.

    Args:
        new: the wider network.
        old: the trained one.
        balanced: the repeats of a channel of the table are to sum to it; else they are as large as keeps what the backbone makes of them.
    """
    if not isinstance(old.stem, EmbeddingStem) or not isinstance(new.stem, EmbeddingStem):
        carry(new.stem, old.stem)
        return Channels.same(old.stem.gives.width)
    channels = Channels.spread(old.stem.gives.width, new.stem.gives.width)
    scale, wider_scale = (getattr(network.backbone, "scale", 1.0) for network in (old, new))
    channels = channels.enlarged(1 / channels.counts if balanced else scale / wider_scale)
    new.stem.table.copy_(old.stem.table[:, channels.index] * channels.gain.to(old.stem.table))
    return channels


@torch.no_grad()
def compare_outputs(one: Network, other: Network, batches: Iterable[dict[str, Tensor]]) -> Equality:
    """Hold the outputs of two networks against each other, in evaluation mode and in float64.

    Args:
        one: the network that counts as right.
        other: the network that is compared with it.
        batches: inputs of examples.
    """
    networks = [copy.deepcopy(network).cpu().double() for network in (one, other)]
    for network in networks:
        # A stem makes float32 of numbers that are no tensors of the batch, such as hot ones.
        network.stem.register_forward_hook(lambda stem, given, features: features._replace(x=features.x.double()))
    examples, difference, largest, same, answers = 0, 0.0, 0.0, 0, 0
    for inputs in batches:
        exact = {name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in inputs.items()}
        outputs = []
        for network in networks:
            with evaluating(network):
                outputs.append(network(exact).flatten(0, -2))
        first, second = outputs
        examples += len(next(iter(exact.values())))
        apart = (first - second).abs().max().item()
        # Of a number and one that is none, max takes the one that comes first.
        difference = max(difference, apart) if math.isfinite(apart) else math.inf
        largest = max(largest, first.abs().max().item())
        agreed = first.argmax(1) == second.argmax(1) if first.shape[1] > 1 else (first - second).abs()[:, 0] <= TOLERANCE
        same, answers = same + int(agreed.sum()), answers + len(agreed)
    assert examples, "there is something to compare on"
    return Equality(examples, difference, largest, same / answers)
