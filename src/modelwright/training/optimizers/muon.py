"""Muon: orthogonalized momentum for the hidden matrices, AdamW for everything else, as one optimizer."""

from __future__ import annotations

import re
from typing import Any, Literal

import torch
from pydantic import Field
from torch import nn

from modelwright.training.optimizer import NamedParameters, Optimizer, OptimizerConfig, can_fuse, optimizers, parameter_groups

_NOT_HIDDEN = re.compile(r"(^|\.)(stem|head)\.|embed|position|token")


@optimizers.register("muon")
class MuonConfig(OptimizerConfig):
    """`torch.optim.Muon` (Jordan et al. 2024, kellerjordan.github.io/posts/muon) with AdamW for what is no hidden matrix.

    Updates are scaled to the root mean square of AdamW's (arXiv:2502.16982, eq. 4), so that one learning rate suits both.
    """

    name: Literal["muon"] = "muon"
    learning_rate: float = Field(default=2e-3, gt=0)
    """Base learning rate of both; the schedule multiplies it."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Share, times the learning rate, by which a step shrinks weights of two or more dimensions; never biases or norms."""
    momentum: float = Field(default=0.95, ge=0, lt=1)
    """Share of the running mean of gradients that a step keeps, of the hidden matrices."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """AdamW's share of the running mean of gradients."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """AdamW's share of the running mean square."""

    def build(self, named_parameters: NamedParameters) -> Optimizer:
        """An optimizer of those parameters; plain AdamW if none of them is a hidden matrix."""
        hidden: list[nn.Parameter] = []
        others: list[tuple[str, nn.Parameter]] = []
        for name, parameter in named_parameters:
            if not parameter.requires_grad:
                continue
            if is_hidden_matrix(name, parameter):
                hidden.append(parameter)
            else:
                others.append((name, parameter))
        parts: list[torch.optim.Optimizer] = []
        if hidden:
            group = {"params": hidden, "lr": self.learning_rate, "initial_lr": self.learning_rate}
            parts.append(
                torch.optim.Muon(
                    [group],
                    lr=self.learning_rate,
                    weight_decay=self.weight_decay,
                    momentum=self.momentum,
                    adjust_lr_fn="match_rms_adamw",
                )
            )
        if others:
            groups = parameter_groups(others, self.learning_rate, self.weight_decay)
            parts.append(torch.optim.AdamW(groups, lr=self.learning_rate, betas=(self.beta1, self.beta2), fused=can_fuse(groups)))
        return Composite(parts)


def is_hidden_matrix(name: str, parameter: nn.Parameter) -> bool:
    """Whether a parameter maps features to features: two dimensions, and part of no stem, head or embedding.

    Filters of convolutions have four dimensions and are left to AdamW.
    """
    return parameter.ndim == 2 and not _NOT_HIDDEN.search(name)


class Composite:
    """Several optimizers, each of parameters of its own, that step as one."""

    def __init__(self, parts: list[torch.optim.Optimizer]) -> None:
        self.parts = parts
        self.param_groups: list[dict[str, Any]] = []
        self._collect_groups()

    def _collect_groups(self) -> None:
        # The very dicts of the parts: who sets a learning rate here sets it there.
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self) -> None:
        """Update the parameters of every part."""
        for part in self.parts:
            part.step()

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for part in self.parts:
            part.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """Like one optimizer's: parameters are numbered through all parts."""
        state: dict[int, Any] = {}
        groups: list[dict[str, Any]] = []
        start = 0
        for part in self.parts:
            own = part.state_dict()
            state.update({start + number: value for number, value in own["state"].items()})
            groups += [{**group, "params": [start + number for number in group["params"]]} for group in own["param_groups"]]
            start += _count(part)
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        start = first = 0
        for part in self.parts:
            end, last = start + _count(part), first + len(part.param_groups)
            groups = [{**g, "params": [n - start for n in g["params"]]} for g in state_dict["param_groups"][first:last]]
            state = {number - start: value for number, value in state_dict["state"].items() if start <= number < end}
            part.load_state_dict({"state": state, "param_groups": groups})
            start, first = end, last
        self._collect_groups()


def _count(optimizer: torch.optim.Optimizer) -> int:
    return sum(len(group["params"]) for group in optimizer.param_groups)
