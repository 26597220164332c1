"""How the families `rnn`, `gru` and `lstm` grow."""

from __future__ import annotations

from torch import nn

from modelwright.growth.channels import Channels, Sharing
from modelwright.growth.deepen import carry, silence
from modelwright.growth.grower import Grower, growers
from modelwright.growth.widen import widen
from modelwright.models.rnn import RecurrentConfig
from modelwright.nn.recurrent import Recurrent

CONTENT = {nn.RNN: 0, nn.GRU: 2, nn.LSTM: 2}
"""Which section of the weights makes what is written into the state; without it the state stays empty."""


@growers.register("rnn")
@growers.register("gru")
@growers.register("lstm")
class RecurrentGrower(Grower):
    """Further layers lie above the others and have shortcuts around them, as no recurrent layer is an identity."""

    def deeper(self, config: RecurrentConfig, depth: float) -> RecurrentConfig:
        """The same with more layers, the further ones with shortcuts."""
        deeper = config.scaled(depth=depth)
        return deeper if deeper == config else deeper.replace(shortcuts_from=config.shortcuts_from or config.depth)

    def widen(self, new: Recurrent, old: Recurrent, incoming: Channels, share: Sharing) -> Channels:
        """Layer by layer."""
        for wider, layer in zip(new.layers, old.layers, strict=True):
            incoming = widen(wider, layer, incoming, share)
        return incoming

    def deepen(self, new: Recurrent, old: Recurrent, config: RecurrentConfig) -> list[nn.Module]:
        """Further layers are fresh, and write nothing into their states at first."""
        for layer, kept in zip(new.layers, old.layers, strict=False):
            carry(layer, kept)
        for layer in new.layers[len(old.layers) :]:
            recurrence: nn.RNNBase = layer.rnn  # type: ignore[assignment]
            for name, parameter in recurrence.named_parameters():
                if not name.startswith("weight_hh"):
                    silence([parameter.split(recurrence.hidden_size)[CONTENT[type(recurrence)]]])
        return []
