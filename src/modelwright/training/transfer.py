"""The transfer of hyperparameters from a smaller network, its base, to the one that is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from modelwright.core.config import Config
from modelwright.core.errors import InputError
from modelwright.models.family import FamilyConfig
from modelwright.planning.parametrization import Growth, Growths, growths, plain_name


class TransferConfig(Config):
    """Says on which network the hyperparameters were tuned.

    Initial weights, learning rates, weight decay and epsilon of each parameter then follow from how it grew (muP: Yang et al. 2022, Tensor
    Programs V; in depth CompleteP: Dey et al. 2025). With a base as large as the model nothing changes.
    """

    base: dict[str, Any]
    """Settings of the model in which the base differs, such as `{width: 64, num_heads: 2, depth: 2}`."""

    def of(self, model: FamilyConfig) -> FamilyConfig:
        """The base of a model.

        Raises:
            InputError: a setting is wrong, or something grew that hyperparameters can't follow.
        """
        if "family" in self.base and self.base["family"] != model.family:
            raise InputError(
                f"the base of the transfer is of the family {self.base['family']}", expected=f"the model's own, {model.family}"
            )
        base = model.replace(**self.base)
        model.check_base(base)
        return base


def differing(model: FamilyConfig, base: FamilyConfig) -> dict[str, Any]:
    """The settings in which a base differs from a model.

    Raises:
        InputError: they are of two families.
    """
    if type(model) is not type(base):
        raise InputError(f"hyperparameters of the family {base.family} mean nothing to the family {model.family}")
    return {name: value for name, value in base.model_dump(mode="json").items() if value != model.model_dump(mode="json")[name]}


def growths_since(base: FamilyConfig, model: FamilyConfig, build: Callable[[FamilyConfig], nn.Module]) -> dict[str, Growth]:
    """How each parameter of a model's network grew since a base.

    Args:
        base: settings of the base.
        model: settings of the model.
        build: makes the network of a family on the meta device.

    Raises:
        InputError: the networks differ in more than their sizes.
    """
    doubled = model.scaled(depth=2)
    dials = {name: value for name, value in model if getattr(doubled, name) != value}
    level = base.replace(**dials)
    return growths(build(model), build(level), None if level == base else build(base))


@torch.no_grad()
def rescale(network: nn.Module, growths: Growths) -> None:
    """Give freshly drawn weights the sizes that their growth asks for, in place."""
    for name, parameter in network.named_parameters():
        growth = growths.get(plain_name(name))
        if growth is not None and growth.initial != 1:
            parameter.mul_(growth.initial)


def score_scale(table: Growth) -> float:
    """The factor on the states that a tied table of tokens scores: with it the table may learn as an embedding does.

    1 / width in effective numbers (Yang et al. 2022, appendix B.1: a multiplier, as the weights are those of the input); less the factor that
    the forward pass has on the embedding.
    """
    return table.multiplier / table.fan_out


def summary(growths: Mapping[str, Growth]) -> dict[str, int]:
    """The number of parameters (tensors) by role, the roles that there are."""
    roles = [growth.role for growth in growths.values()]
    return {role: roles.count(role) for role in ("input", "hidden", "output", "fixed") if role in roles}
