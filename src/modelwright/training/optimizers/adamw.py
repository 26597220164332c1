"""AdamW: Adam with weight decay apart from the gradient."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field

from modelwright.core.space import Between
from modelwright.planning.parametrization import Growths, adam_factors
from modelwright.training.optimizer import (
    NamedParameters,
    Optimizer,
    OptimizerConfig,
    can_fuse,
    factors_by_name,
    optimizers,
    parameter_groups,
)


@optimizers.register("adamw")
class AdamWConfig(OptimizerConfig):
    """`torch.optim.AdamW` (arXiv:1711.05101)."""

    transfers: ClassVar[bool] = True
    name: Literal["adamw"] = "adamw"
    weight_decay: Annotated[float, Between(1e-3, 0.5, logarithmic=True)] = Field(default=0.01, ge=0)
    """Share, times the learning rate, by which a step shrinks weights of two or more dimensions; never biases or norms."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Share of the running mean of gradients that a step keeps."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """Share of the running mean square that a step keeps."""
    epsilon: float = Field(default=1e-8, gt=0)
    """Added to the root mean square."""

    def build(self, named_parameters: NamedParameters, growths: Growths | None = None) -> Optimizer:
        """An optimizer of those parameters."""
        factors = factors_by_name(growths, lambda growth: adam_factors(growth, decoupled=True))
        groups = parameter_groups(named_parameters, self.learning_rate, self.weight_decay, factors, self.epsilon)
        betas = (self.beta1, self.beta2)
        return torch.optim.AdamW(groups, lr=self.learning_rate, betas=betas, eps=self.epsilon, fused=can_fuse(groups))
