"""How the family `transformer` grows."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from modelwright.growth import attention  # noqa: F401  its rule joins
from modelwright.growth.channels import Channels, Sharing
from modelwright.growth.deepen import borrow, carry, places, silence_output
from modelwright.growth.grower import Grower, growers
from modelwright.growth.widen import widen, widen_projection
from modelwright.models.transformer import ClassToken, Transformer, TransformerConfig
from modelwright.nn.block import Block


@widen.register
def _block(new: Block, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    assert isinstance(old, Block)
    for norm, layer in (("attention_norm", "attention"), ("feedforward_norm", "feedforward")):
        normed = widen(new.get_submodule(norm), old.get_submodule(norm), incoming, share)
        added = widen(new.get_submodule(layer), old.get_submodule(layer), normed, share)
        assert torch.equal(added.index, incoming.index), "what is added is repeated alike"
    return incoming


@widen.register
def _class_token(new: ClassToken, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    assert isinstance(old, ClassToken)
    new.token.copy_(old.token[incoming.index])
    return incoming


@growers.register("transformer")
class TransformerGrower(Grower):
    """Width goes into more heads or wider ones, as the settings say; a further block repeats its neighbor, but adds nothing at first."""

    def widen(self, new: Transformer, old: Transformer, incoming: Channels, share: Sharing) -> Channels:
        """Projection, added positions, blocks and norm."""
        share = replace(share, rotary=old.rotary is not None, slopes=(tuple(old.slopes or ()), tuple(new.slopes or ())))
        stream = widen_projection(new.project, old.project, incoming.enlarged(new.scale / old.scale), share)
        parts = [(new.class_token, old.class_token), (new.positions, old.positions), *zip(new.blocks, old.blocks, strict=True)]
        for wider, layer in [*parts, (new.norm, old.norm)]:
            if wider is not None and layer is not None:
                stream = widen(wider, layer, stream, share)
        return stream

    def last_norm(self, new: Transformer) -> nn.Module:
        """The one before pooling or head."""
        return new.norm

    def deepen(self, new: Transformer, old: Transformer, config: TransformerConfig) -> list[nn.Module]:
        """Each further block follows its neighbor."""
        carry_beside_blocks(new, old)
        for block, (source, itself) in zip(new.blocks, places(len(old.blocks), len(new.blocks)), strict=True):
            assert isinstance(block, Block)
            borrow(block, old.blocks[source])
            if not itself:
                silence_output(block.attention)
                silence_output(block.feedforward)
        return []


def carry_beside_blocks(new: nn.Module, old: nn.Module) -> None:
    """Copy all tensors but those of the `blocks`."""
    for name, part in old.named_children():
        if name != "blocks":
            carry(new.get_submodule(name), part)
