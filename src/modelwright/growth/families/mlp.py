"""How the family `mlp` grows."""

from __future__ import annotations

import torch
from torch import nn

from modelwright.growth.channels import Channels, Sharing
from modelwright.growth.deepen import borrow, carry, check_identity, pass_on, places, silence_output
from modelwright.growth.grower import Grower, growers
from modelwright.growth.widen import widen
from modelwright.models.mlp import MLP, MLPConfig, ResidualLayer


@widen.register
def _residual_layer(new: ResidualLayer, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    assert isinstance(old, ResidualLayer)
    outgoing = widen(new.feedforward, old.feedforward, widen(new.norm, old.norm, incoming, share), share)
    assert torch.equal(outgoing.index, incoming.index), "what is added is repeated alike"
    return outgoing


@growers.register("mlp")
class MLPGrower(Grower):
    """Further layers are identities behind a ReLU, or residual branches that add nothing."""

    def deeper(self, config: MLPConfig, depth: float) -> MLPConfig:
        """The same with more layers."""
        if not config.residual:
            check_identity(config.activation, config.norm)
        return config.scaled(depth=depth)

    def widen(self, new: MLP, old: MLP, incoming: Channels, share: Sharing) -> Channels:
        """Layer by layer."""
        return widen(new.layers, old.layers, incoming, share)

    def deepen(self, new: MLP, old: MLP, config: MLPConfig) -> list[nn.Module]:
        """Each further layer follows its neighbor."""
        if config.residual:
            _deepen_residual(new, old, config.depth)
            return []
        parts, kept = [*new.layers], [*old.layers]
        size = len(kept) // config.depth
        norms: list[nn.Module] = []
        for number, (source, itself) in enumerate(places(config.depth, len(parts) // size)):
            layer = parts[number * size : (number + 1) * size]
            if not itself:
                norms += pass_on(layer)
                continue
            for part, like in zip(layer, kept[source * size : (source + 1) * size], strict=True):
                carry(part, like)
        return norms


def _deepen_residual(new: MLP, old: MLP, depth: int) -> None:
    """Between the first map and the norm and activation at the end are the blocks."""
    parts, kept = [*new.layers], [*old.layers]
    end = len(parts) - len(kept) + depth + 1
    for part, like in zip([parts[0], *parts[end:]], [kept[0], *kept[1 + depth :]], strict=True):
        carry(part, like)
    for block, (source, itself) in zip(parts[1:end], places(depth, end - 1), strict=True):
        assert isinstance(block, ResidualLayer)
        borrow(block, kept[1 + source])
        if not itself:
            silence_output(block.feedforward)
