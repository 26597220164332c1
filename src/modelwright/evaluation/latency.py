"""Latency: how long a network takes to answer, for one example and for many at once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from modelwright.nn.mode import evaluating

FEWEST, MOST = 3, 50
"""Answers that are timed."""


@dataclass(frozen=True, slots=True)
class Latency:
    """The time of an answer.

    Attributes:
        batch: examples that were asked at once.
        median: seconds.
        slow: seconds that 95 % of the answers stay below.
        answers: that were timed.
    """

    batch: int
    median: float
    slow: float
    answers: int

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return {"batch": self.batch, "median": self.median, "slow": self.slow, "answers": self.answers}


def latency(network: nn.Module, inputs: dict[str, Tensor], *, seconds: float = 0.3) -> Latency:
    """Time the network on `inputs`, after it has seen them once, for about so many seconds."""
    times: list[float] = []
    deadline = time.perf_counter() + seconds
    with torch.inference_mode(), evaluating(network):
        for answer in range(1 + MOST):
            began = time.perf_counter()
            network(inputs)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if answer > 0:
                times.append(time.perf_counter() - began)
            if len(times) >= FEWEST and time.perf_counter() > deadline:
                break
    times.sort()
    return Latency(len(next(iter(inputs.values()))), median(times), times[min(len(times) - 1, round(0.95 * len(times)))], len(times))
