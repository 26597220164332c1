"""The weight average: an exponential moving average (EMA) of the weights, which is judged and shipped in their place."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class WeightAverage:
    """The weights averaged over the run so far, with a half-life that is a share of the run.

    After progress p the weights after progress q count as 0.5 ** ((p - q) / half_life): the same average for every length of a run, and
    for a run whose number of steps is planned anew. It is a true mean from the first step on (corrected for its start as Adam is,
    arXiv:1412.6980, section 3), so the initial weights have no share in it. Floating-point buffers, as BatchNorm's running
    statistics, are averaged too; whole-number ones and masks of infinities are taken as they are.

    Args:
        network: what is averaged.
        half_life: share of the run, above 0.
    """

    def __init__(self, network: nn.Module, half_life: float) -> None:
        assert half_life > 0
        self._half_life = half_life
        self._mean = copy.deepcopy(network).requires_grad_(False).eval()
        for module in self._mean.modules():
            # Fused kernels of recurrent layers want their weights in one piece, which copying has broken.
            if isinstance(module, nn.RNNBase):
                module.flatten_parameters()
        live, mean = network.state_dict(keep_vars=True), self._mean.state_dict(keep_vars=True)
        # A mask of infinities is not averaged: the difference of two infinities is no number.
        names = [name for name, tensor in live.items() if tensor.is_floating_point() and bool(tensor.isfinite().all())]
        # The parameters themselves: recurrent layers on an accelerator put other storage under them, of which an alias would know nothing.
        self._live, self._averaged = [live[name] for name in names], [mean[name] for name in names]
        self._copied = [(mean[name], live[name]) for name in live if name not in set(names)]

    @torch.no_grad()
    def update(self, start: float, end: float) -> None:
        """Take in the weights after a step that took the run from progress `start` to `end`."""
        torch._foreach_lerp_(self._averaged, self._live, self.weight(start, end))  # pyright: ignore[reportPrivateImportUsage]

    def weight(self, start: float, end: float) -> float:
        """The share of the newest weights in the average after the step."""
        # Sum over all steps of what each is worth telescopes, so there is no count to keep.
        kept, span = 0.5 ** ((end - start) / self._half_life), 1.0 - 0.5 ** (end / self._half_life)
        return 1.0 if start <= 0.0 or span <= 0.0 else min(1.0, (1.0 - kept) / span)

    @torch.no_grad()
    def network(self) -> nn.Module:
        """The averaged network, in evaluation mode."""
        for mean, live in self._copied:
            mean.copy_(live)
        return self._mean

    def state(self) -> dict[str, Any]:
        """The averaged weights."""
        return dict(self._mean.state_dict())

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._mean.load_state_dict(state)
