"""The objective: what a step lowers, from a batch to a sum of losses and a count, penalties of the network's parts included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from modelwright.tasks.task import LossTask

Objective = Callable[[dict[str, Tensor], Tensor], tuple[Tensor, Any]]
"""From inputs by name and a target to the sum of the losses, and how many they are."""


def objective_of(network: nn.Module, task: LossTask) -> Objective:
    """The task's objective on a network, plus the `penalty` of each module that has one, as often as losses are counted.

    A module with an attribute `penalty` (the balance of experts, for example) leaves a scalar there in every forward pass in training, on the
    scale of the mean loss.
    """
    penalized = penalized_modules(network)

    def objective(inputs: dict[str, Tensor], target: Tensor) -> tuple[Tensor, Any]:
        total, count = task.objective(network, inputs, target)
        for module in penalized:
            if module.penalty is not None:
                total = total + module.penalty * count
        return total, count

    return objective


def penalized_modules(network: nn.Module) -> list[Any]:
    """The modules that may have a penalty."""
    return [module for module in network.modules() if hasattr(module, "penalty")]
