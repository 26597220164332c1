"""Counts: parameters by role and FLOPs of one example, exact and without allocating anything."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True, slots=True)
class Count:
    """What a network is made of.

    Attributes:
        parameters: number of trainable parameters by role (`stem`, `backbone`, `head`).
        flops: floating-point operations of the forward pass of one example; a multiply and an add are two.
    """

    parameters: dict[str, int]
    flops: int

    @property
    def total_parameters(self) -> int:
        """All parameters together."""
        return sum(self.parameters.values())

    @property
    def training_flops(self) -> int:
        """Forward and backward of one example: three times the forward (Kaplan et al. 2020, section 2.1)."""
        return 3 * self.flops


def count(network: nn.Module, inputs: dict[str, Tensor]) -> Count:
    """Count a network that lies on the meta device.

    Args:
        network: with the children `stem`, `backbone` and `head`.
        inputs: a batch of two or more examples on the meta device.
    """
    parameters = {role: sum(p.numel() for p in part.parameters()) for role, part in network.named_children()}
    size = len(next(iter(inputs.values())))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(inputs)
    return Count(parameters, round(counter.get_total_flops() / size))
