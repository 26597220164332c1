"""How the family `cnn` grows."""

from __future__ import annotations

from torch import nn

from modelwright.core.errors import InputError
from modelwright.growth.channels import Channels, Sharing
from modelwright.growth.deepen import borrow, carry, check_identity, pass_on, places, silence
from modelwright.growth.grower import Grower, growers
from modelwright.growth.widen import widen
from modelwright.models.cnn import CNN, CNNConfig
from modelwright.nn.convolution import ResidualBlock


@growers.register("cnn")
class CNNGrower(Grower):
    """Further convolutions are identities behind a ReLU, or residual branches that add nothing. Fully connected layers grow in width only."""

    def deeper(self, config: CNNConfig, depth: float) -> CNNConfig:
        """The same with more blocks in each stage."""
        if not config.residual:
            check_identity(config.activation, config.norm)
        elif config.activation != "relu":
            raise InputError(
                f"a residual block that ends with {config.activation} can't pass on what comes in, so that a deeper network would not give the "
                "same outputs",
                expected="activation: relu",
                remedy="Grow the width alone",
            )
        return config.scaled(depth=depth)

    def widen(self, new: CNN, old: CNN, incoming: Channels, share: Sharing) -> Channels:
        """Block by block, then the pooling and the fully connected layers."""
        outgoing = widen(new.blocks, old.blocks, incoming, share)
        if old.pool is None or old.hidden is None or new.pool is None or new.hidden is None:
            return outgoing
        return widen(new.hidden, old.hidden, widen(new.pool, old.pool, outgoing, share), share)

    def deepen(self, new: CNN, old: CNN, config: CNNConfig) -> list[nn.Module]:
        """Each further block follows its neighbor of the same stage. The pooling of a stage stays at its end: an identity may come before it."""
        blocks, further = config.blocks, len(new.blocks) // len(config.channels)
        norms: list[nn.Module] = []
        for number, block in enumerate(new.blocks):
            stage, place = divmod(number, further)
            source, itself = places(blocks, further)[place]
            neighbor = old.blocks[stage * blocks + source]
            if itself or isinstance(block, ResidualBlock):
                borrow(block, neighbor)
            if not itself:
                norms += _pass_on(block)
        if old.hidden is not None and new.hidden is not None:
            carry(new.hidden, old.hidden)
        return norms


def _pass_on(block: nn.Module) -> list[nn.Module]:
    """Make a block one that changes nothing."""
    if not isinstance(block, ResidualBlock):
        return pass_on(block.children())
    convolution, norm = block.branch[3], block.branch[4]
    silence(norm.parameters() if [*norm.parameters()] else convolution.parameters())
    return []
