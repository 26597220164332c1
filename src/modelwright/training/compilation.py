"""Compilation: whether `torch.compile` pays back within a run, found out in two stages, the first of which costs nothing."""

from __future__ import annotations

import math
import time

import torch
from torch import nn

from modelwright.core.batch import Batch
from modelwright.tasks.task import LossTask
from modelwright.training.objective import Objective
from modelwright.training.rule import Precision
from modelwright.training.timing import fastest_seconds, practice_step

COMPILE_SECONDS = {"cpu": 30.0, "cuda": 40.0}
"""What compiling a small network takes, as seen on machines of 2026."""
LARGEST_SHARE = 0.03
"""Share of a run that may be risked on trying."""


def choose_compilation(network: nn.Module, task: LossTask, batch: Batch, precision: Precision, expected_seconds: float) -> bool:
    """Whether compiling saves more time over the rest of the run than it costs.

    A short run is never compiled; in a long one a copy is compiled and timed against the plain network.

    Args:
        expected_seconds: how long the run takes uncompiled.
    """
    if not worth_trying(expected_seconds, next(network.parameters()).device.type):
        return False
    plain = practice_step(network, task, batch, precision)
    compiled = practice_step(network, task, batch, precision, wrap=compile_objective)
    began = time.perf_counter()
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            compiled()
    except Exception:
        return False
    cost = time.perf_counter() - began
    # A run that is worth trying for is long enough for a few steps of each, however slow they are.
    seconds = fastest_seconds({"plain": plain, "compiled": compiled}, rounds=3, patience=math.inf)
    return "compiled" in seconds and pays_back(seconds["plain"], seconds["compiled"], cost, expected_seconds - cost)


def worth_trying(expected_seconds: float, device: str) -> bool:
    """Whether a usual compilation would be a small enough share of the run to try it."""
    return COMPILE_SECONDS.get(device, max(COMPILE_SECONDS.values())) <= LARGEST_SHARE * expected_seconds


def pays_back(plain: float, compiled: float, cost: float, rest: float) -> bool:
    """Whether a rest of `rest` seconds saves more than `cost`, when a step goes from `plain` to `compiled` seconds."""
    return rest * (1.0 - compiled / plain) > cost


def compile_objective(objective: Objective) -> Objective:
    """The compiled form of an objective, its network and its loss in one; shares the network's weights."""
    return torch.compile(objective)
