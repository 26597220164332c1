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
        size = len(old.layers) // config.depth
        norms: list[nn.Module] = []
        for number, (source, itself) in enumerate(places(config.depth, len(new.layers) // size)):
            parts = new.layers[number * size : (number + 1) * size]
            if itself:
                for part, kept in zip(parts, old.layers[source * size :], strict=False):
                    carry(part, kept)
            else:
                norms += pass_on(parts)
        return norms


def _deepen_residual(new: MLP, old: MLP, depth: int) -> None:
    """Between the first map and the norm and activation at the end are the blocks."""
    further = len(new.layers) - len(old.layers) + depth
    carry(new.layers[0], old.layers[0])
    for ending, kept in zip(new.layers[1 + further :], old.layers[1 + depth :], strict=True):
        carry(ending, kept)
    for block, (source, itself) in zip(new.layers[1 : 1 + further], places(depth, further), strict=True):
        assert isinstance(block, ResidualLayer)
        borrow(block, old.layers[1 + source])
        if not itself:
            silence_output(block.feedforward)
