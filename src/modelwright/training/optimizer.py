"""An optimizer: what turns gradients into new weights. Each has its configuration here by name, and in `optimizers/` by file."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Annotated, Any, ClassVar, Protocol, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from modelwright.core.config import Config
from modelwright.core.registry import Registry
from modelwright.core.space import Around, Between
from modelwright.planning.parametrization import Factors, Growth, Growths, plain_name

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

    transfers: ClassVar[bool] = False
    """Whether `build` takes growths, so that settings tuned on a smaller network hold."""
    adaptive: ClassVar[bool] = True
    """Whether steps don't depend on the gradient's size."""

    name: str
    learning_rate: Annotated[float, Around(5)] = Field(default=1e-3, gt=0)
    """Base learning rate; the schedule multiplies it."""
    weight_decay: Annotated[float, Between(1e-3, 0.5, logarithmic=True)] = Field(default=0.0, ge=0)
    """Pulls weights of two or more dimensions to 0; never biases or norms."""

    def resolved(self, device: torch.device) -> Self:
        """The same settings without any `auto`, fit for training on a device."""
        return self

    def times(self, factor: float) -> Self:
        """The same settings with every learning rate `factor` times as high."""
        return self.replace(learning_rate=self.learning_rate * factor)

    def build(self, named_parameters: NamedParameters, growths: Growths | None = None) -> Optimizer:
        """An optimizer of those parameters.

        Args:
            named_parameters: those that require no gradient are left out.
            growths: since the network on which the settings were tuned; only where the optimizer transfers.
        """
        raise NotImplementedError


def as_tuned(name: str) -> Factors:
    """The factors of parameters for which the settings are right as they are."""
    return Factors()


def factors_by_name(growths: Growths | None, rule: Callable[[Growth], Factors]) -> Callable[[str], Factors]:
    """From a parameter's name, as wrappers may have it, to its factors; a parameter of which no growth is known keeps the settings."""
    if not growths:
        return as_tuned
    return lambda name: rule(growths.get(plain_name(name), Growth()))


def parameter_groups(
    named_parameters: NamedParameters,
    learning_rate: float,
    weight_decay: float,
    factors: Callable[[str], Factors] = as_tuned,
    epsilon: float | None = None,
) -> list[dict[str, Any]]:
    """The parameters that learn, in a group with weight decay (matrices, filters, embeddings) and one without (norms, and biases of any shape).

    An empty group is left out. Each is divided by the parameters' factors; those whose rate is nearest to the base rate come first.

    Args:
        named_parameters: of a network.
        learning_rate: the base rate.
        weight_decay: of those that decay.
        factors: from a parameter's name.
        epsilon: put into the groups whose factors change it.
    """
    decaying: dict[Factors, list[Tensor]] = defaultdict(list)
    others: dict[Factors, list[Tensor]] = defaultdict(list)
    for name, parameter in named_parameters:
        if parameter.requires_grad:
            (decaying if parameter.ndim >= 2 and not name.endswith("bias") else others)[factors(name)].append(parameter)
    groups = []
    for kind, decay in ((decaying, weight_decay), (others, 0.0)):
        for own, parameters in kind.items():
            rate = learning_rate * own.learning_rate
            group = {"params": parameters, "weight_decay": decay * own.weight_decay, "lr": rate, "initial_lr": rate}
            if epsilon is not None and own.epsilon != 1:
                group["eps"] = epsilon * own.epsilon
            groups.append(group)
    return sorted(groups, key=lambda group: abs(math.log(group["lr"] / learning_rate)))


def can_fuse(groups: list[dict[str, Any]]) -> bool:
    """Whether PyTorch has one-kernel updates for all of these parameters; they are about 3x as fast, on the CPU too."""
    return all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for group in groups for p in group["params"])


optimizers: Registry[type[OptimizerConfig]] = Registry("optimizer", "modelwright.training.optimizers")
