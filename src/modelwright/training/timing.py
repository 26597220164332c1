"""Timing: what a training step costs, measured on copies, so that nothing of the run is touched."""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from modelwright.core.batch import Batch
from modelwright.tasks.task import LossTask
from modelwright.training.objective import Objective, objective_of
from modelwright.training.rule import Precision

Step = Callable[[], None]

FEWEST = 2
"""Examples on which a step is timed, at least, where a batch has them: batch norm knows no spread of a single one."""


def practice_step(
    network: nn.Module,
    task: LossTask,
    batch: Batch,
    precision: Precision,
    wrap: Callable[[Objective], Objective] | None = None,
) -> Step:
    """Forward and backward pass on a copy of the network; the update, the same for every candidate, is left out."""
    practice = copy.deepcopy(network).train()
    objective = objective_of(practice, task)
    objective = objective if wrap is None else wrap(objective)
    device = next(practice.parameters()).device
    there = batch.to(device)
    assert there.target is not None, "training needs a target"
    target: Tensor = there.target

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            total, count = objective(there.inputs, target)
        (total / count).backward()
        practice.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return step


def fastest_seconds(steps: Mapping[str, Step], *, rounds: int = 4, patience: float = 1.5) -> dict[str, float]:
    """The shortest time of each step over several rounds, in which all take turns, so that a busy machine disturbs all alike.

    Each step first runs once, unmeasured, to warm up. One that fails then, or whose turn comes after the patience has run out, is left out
    of the result, unless it is the first. The state of all random generators is as before.

    Args:
        rounds: at most so many.
        patience: seconds after which nothing new is begun; the whole takes at most about twice as long.
    """
    start = time.perf_counter()
    best: dict[str, float] = {}
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        for name, step in steps.items():
            if best and (time.perf_counter() - start > patience or not _runs(step)):
                continue
            if not best:
                step()
            best[name] = math.inf
        for _ in range(rounds if len(best) > 1 else 0):
            for name in best:
                began = time.perf_counter()
                steps[name]()
                best[name] = min(best[name], time.perf_counter() - began)
            if time.perf_counter() - start > patience:
                break
    return best


def seconds_per_step(network: nn.Module, task: LossTask, batch: Batch, precision: Precision) -> float:
    """About how long a practice step takes on a batch, told by one on an eighth of it. Random generators stay as they are."""
    eighth = batch.first(max(FEWEST, -(-batch.size // 8)))
    step = practice_step(network, task, eighth, precision)
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        step()
        began = time.perf_counter()
        step()
        return (time.perf_counter() - began) * batch.size / eighth.size


def _runs(step: Step) -> bool:
    """Whether a step can be done at all: some layers lack some number formats."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            step()
    except (RuntimeError, NotImplementedError):
        return False
    return True
