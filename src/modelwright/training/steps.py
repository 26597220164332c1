"""The steps that a budget buys, where it is not a budget of seconds."""

from __future__ import annotations

import math
import sys

from modelwright.core.errors import InputError
from modelwright.core.units import Budget


def plan_steps(
    budget: Budget,
    *,
    samples_per_epoch: int,
    steps_per_epoch: int,
    flops_per_sample: float | None = None,
    tokens_per_sample: float | None = None,
    most_steps: int = sys.maxsize,
) -> int | None:
    """The number of steps that a budget buys, at least one; None for a budget of seconds.

    Args:
        flops_per_sample: of forward and backward pass together; needed for a budget of FLOPs.
        tokens_per_sample: needed for a budget of tokens.
        most_steps: that there may be, whatever the budget.

    Raises:
        InputError: the budget's unit means nothing here.
    """
    if budget.unit == "seconds":
        return None
    samples_per_step = samples_per_epoch / steps_per_epoch
    per_step = {
        "steps": 1.0,
        "epochs": 1.0 / steps_per_epoch,
        "samples": samples_per_step,
        "flops": None if flops_per_sample is None else flops_per_sample * samples_per_step,
        "tokens": None if tokens_per_sample is None else tokens_per_sample * samples_per_step,
    }[budget.unit]
    if per_step is None:
        raise InputError(
            f"a budget of {budget} can't be counted: the {budget.unit} of an example are unknown",
            remedy="Give the budget in seconds, epochs, steps or samples",
        )
    return min(max(1, math.floor(budget.amount / per_step + 1e-9)), most_steps)
