"""Our decoders in the layouts of `transformers`, so that both can be compared."""

from __future__ import annotations

from typing import Any

import torch

from modelwright.exporting.decoder import Decoder
from modelwright.exporting.layout import fitting_layout
from modelwright.models.network import Network
from modelwright.models.transformer import TransformerConfig


def vary(network: Network) -> None:
    """Give every bias and every scale of a norm a random value, so that none is compared at 0 or 1."""
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.empty_like(parameter).normal_(0, 0.3, generator=random))


def counterpart(network: Network, config: TransformerConfig, *, context: int) -> Any:
    """The model of `transformers` with the weights of `network`, whose settings are all decided."""
    decoder = Decoder(network, config, context)
    return fitting_layout(decoder).model(decoder, bos_token_id=0, eos_token_id=0)
