"""How the family `hybrid` grows."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from modelwright.growth import attention  # noqa: F401  its rule joins
from modelwright.growth.channels import Channels, Sharing
from modelwright.growth.deepen import borrow, carry, silence_output
from modelwright.growth.families.transformer import carry_beside_blocks
from modelwright.growth.grower import Grower, growers
from modelwright.growth.widen import widen, widen_map, widen_projection
from modelwright.models.hybrid import Hybrid, HybridConfig
from modelwright.nn.mixer import AttentionMixer, ConvolutionMixer, MixerBlock, RecurrentMixer


@widen.register
def _attention_mixer(new: AttentionMixer, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    assert isinstance(old, AttentionMixer)
    return widen(new.attention, old.attention, incoming, share)


@widen.register
def _recurrent_mixer(new: RecurrentMixer, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    assert isinstance(old, RecurrentMixer)
    return widen(new.output, old.output, widen(new.recurrence, old.recurrence, incoming, share), share)


@widen.register
def _convolution_mixer(new: ConvolutionMixer, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    assert isinstance(old, ConvolutionMixer)
    inside = Channels.spread(old.output.in_features, new.output.in_features)
    widen_map(new.project, old.project, incoming, share, inside.times(2))
    return widen(new.output, old.output, widen(new.convolution, old.convolution, inside, share), share)


@widen.register
def _mixer_block(new: MixerBlock, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    assert isinstance(old, MixerBlock)
    for norm, layer in (("mixer_norm", "mixer"), ("feedforward_norm", "feedforward")):
        normed = widen(new.get_submodule(norm), old.get_submodule(norm), incoming, share)
        added = widen(new.get_submodule(layer), old.get_submodule(layer), normed, share)
        assert torch.equal(added.index, incoming.index), "what is added is repeated alike"
    return incoming


@growers.register("hybrid")
class HybridGrower(Grower):
    """Further blocks lie above the others, so that the pattern goes on; each begins like the last one of its kind, but adds nothing."""

    def widen(self, new: Hybrid, old: Hybrid, incoming: Channels, share: Sharing) -> Channels:
        """Projection, blocks and norm."""
        share = replace(share, rotary=old.rotary is not None)
        stream = widen_projection(new.project, old.project, incoming.enlarged(new.scale / old.scale), share)
        for wider, layer in [*zip(new.blocks, old.blocks, strict=True), (new.norm, old.norm)]:
            stream = widen(wider, layer, stream, share)
        return stream

    def last_norm(self, new: Hybrid) -> nn.Module:
        """The one before pooling or head."""
        return new.norm

    def deepen(self, new: Hybrid, old: Hybrid, config: HybridConfig) -> list[nn.Module]:
        """Old blocks keep their places."""
        carry_beside_blocks(new, old)
        for block, kept in zip(new.blocks, old.blocks, strict=False):
            carry(block, kept)
        for block in new.blocks[len(old.blocks) :]:
            assert isinstance(block, MixerBlock)
            alike = [kept for kept in old.blocks if _shapes(kept) == _shapes(block)]
            if alike:
                borrow(block, alike[-1])
            silence_output(block.mixer.attention if isinstance(block.mixer, AttentionMixer) else block.mixer)
            silence_output(block.feedforward)
        return []


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in module.state_dict().items()}
