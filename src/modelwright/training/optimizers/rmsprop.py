"""RMSprop: steps divided by a running root mean square of the gradients."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from modelwright.planning.parametrization import Growths, adam_factors
from modelwright.training.optimizer import NamedParameters, Optimizer, OptimizerConfig, factors_by_name, optimizers, parameter_groups


@optimizers.register("rmsprop")
class RMSpropConfig(OptimizerConfig):
    """`torch.optim.RMSprop` (Tieleman and Hinton 2012, Coursera lecture 6.5)."""

    transfers: ClassVar[bool] = True
    name: Literal["rmsprop"] = "rmsprop"
    decay: float = Field(default=0.99, ge=0, lt=1)
    """Share of the running mean square that a step keeps."""
    momentum: float = Field(default=0.0, ge=0, lt=1)
    """Share of the last update that the next one keeps."""
    epsilon: float = Field(default=1e-8, gt=0)
    """Added to the root mean square."""

    def build(self, named_parameters: NamedParameters, growths: Growths | None = None) -> Optimizer:
        """An optimizer of those parameters."""
        factors = factors_by_name(growths, lambda growth: adam_factors(growth, decoupled=False))
        groups = parameter_groups(named_parameters, self.learning_rate, self.weight_decay, factors, self.epsilon)
        # Horizontal updates (foreach) are the fastest that PyTorch has here: RMSprop has no fused kernel.
        return torch.optim.RMSprop(groups, lr=self.learning_rate, alpha=self.decay, eps=self.epsilon, momentum=self.momentum, foreach=True)
