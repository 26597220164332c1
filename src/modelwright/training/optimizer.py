"""An optimizer: what turns gradients into new weights. Each has its configuration here by name, and in `optimizers/` by file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Protocol, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from modelwright.core.config import Config
from modelwright.core.registry import Registry
from modelwright.core.space import Around, Between

NamedParameters = Iterable[tuple[str, nn.Parameter]]


class Optimizer(Protocol):
    """What a step rule needs of an optimizer; every `torch.optim.Optimizer` has it.

    Each group of `param_groups` holds its base learning rate as `initial_lr`; the rule sets `lr` before every step.
    """

    param_groups: list[dict[str, Any]]

    def step(self) -> Any:
        """Update the parameters by their gradients."""

    def zero_grad(self) -> None:
        """Drop all gradients."""

    def state_dict(self) -> dict[str, Any]:
        """`state` by parameter number, and `param_groups`."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""


class OptimizerConfig(Config):
    """What all optimizers share."""

    name: str
    learning_rate: Annotated[float, Around(5)] = Field(default=1e-3, gt=0)
    """Base learning rate; the schedule multiplies it."""
    weight_decay: Annotated[float, Between(1e-3, 0.5, logarithmic=True)] = Field(default=0.0, ge=0)
    """Pulls weights of two or more dimensions to 0; never biases or norms."""

    def resolved(self, device: torch.device) -> Self:
        """The same settings without any `auto`, fit for training on a device."""
        return self

    def build(self, named_parameters: NamedParameters) -> Optimizer:
        """An optimizer of those parameters."""
        raise NotImplementedError


def parameter_groups(named_parameters: NamedParameters, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """The parameters that learn, in a group with weight decay (matrices, filters, embeddings) and one without (norms, and biases of any shape).

    An empty group is left out.
    """
    decaying: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in named_parameters:
        if parameter.requires_grad:
            (decaying if parameter.ndim >= 2 and not name.endswith("bias") else others).append(parameter)
    groups = [{"params": decaying, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [{**group, "lr": learning_rate, "initial_lr": learning_rate} for group in groups if group["params"]]


def can_fuse(groups: list[dict[str, Any]]) -> bool:
    """Whether PyTorch has one-kernel updates for all of these parameters; they are about 3x as fast, on the CPU too."""
    return all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for group in groups for p in group["params"])


optimizers: Registry[type[OptimizerConfig]] = Registry("optimizer", "modelwright.training.optimizers")
