"""Adam: momentum and a running root mean square, both corrected for their start at zero."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

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


@optimizers.register("adam")
class AdamConfig(OptimizerConfig):
    """`torch.optim.Adam` (arXiv:1412.6980); its weight decay is an L2 penalty."""

    transfers: ClassVar[bool] = True
    name: Literal["adam"] = "adam"
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Share of the running mean of gradients that a step keeps."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """Share of the running mean square that a step keeps."""
    epsilon: float = Field(default=1e-8, gt=0)
    """Added to the root mean square."""

    def build(self, named_parameters: NamedParameters, growths: Growths | None = None) -> Optimizer:
        """An optimizer of those parameters."""
        factors = factors_by_name(growths, lambda growth: adam_factors(growth, decoupled=False))
        groups = parameter_groups(named_parameters, self.learning_rate, self.weight_decay, factors, self.epsilon)
        betas = (self.beta1, self.beta2)
        return torch.optim.Adam(groups, lr=self.learning_rate, betas=betas, eps=self.epsilon, fused=can_fuse(groups))
