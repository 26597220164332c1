"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator

from modelwright.core.errors import InputError
from modelwright.core.space import Around, Between
from modelwright.planning.parametrization import Growths, sgd_factors
from modelwright.training.optimizer import (
    NamedParameters,
    Optimizer,
    OptimizerConfig,
    can_fuse,
    factors_by_name,
    optimizers,
    parameter_groups,
)


@optimizers.register("sgd")
class SGDConfig(OptimizerConfig):
    """`torch.optim.SGD`; Nesterov's momentum unless switched off."""

    transfers: ClassVar[bool] = True
    adaptive: ClassVar[bool] = False
    name: Literal["sgd"] = "sgd"
    learning_rate: Annotated[float, Around(5)] = Field(default=0.05, gt=0)
    """Base learning rate; the schedule multiplies it."""
    weight_decay: Annotated[float, Between(1e-5, 1e-2, logarithmic=True)] = Field(default=5e-4, ge=0)
    """L2 penalty on weights of two or more dimensions; never on biases or norms."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Share of the last update that the next one keeps."""
    nesterov: bool = True
    """Look ahead along the momentum (Sutskever et al. 2013); needs momentum."""

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> SGDConfig:
        if self.nesterov and self.momentum == 0:
            raise InputError("nesterov needs momentum", remedy="Set momentum above 0, or nesterov: false")
        return self

    def build(self, named_parameters: NamedParameters, growths: Growths | None = None) -> Optimizer:
        """An optimizer of those parameters."""
        factors = factors_by_name(growths, sgd_factors)
        groups = parameter_groups(named_parameters, self.learning_rate, self.weight_decay, factors)
        return torch.optim.SGD(groups, lr=self.learning_rate, momentum=self.momentum, nesterov=self.nesterov, fused=can_fuse(groups))
