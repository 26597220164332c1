"""How many rungs are trained at once: small networks leave most of a processor idle, so several beside one another take less time than in turn."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch

from modelwright.models.family import FamilyConfig
from modelwright.workflows.pricing import Pricing

MOST = 4
"""Jobs at once if nobody says how many: as many as there are sizes at the least."""
GAIN = 1.2
"""From which on several at once are worth their starting."""
SHORTEST = 60.0
"""Seconds of a budget from which on starting processes is affordable."""


def threads_of(jobs: int) -> int:
    """Of each of so many jobs."""
    return max(1, torch.get_num_threads() // jobs)


def makespan(seconds: Iterable[float], jobs: int) -> float:
    """Seconds until all is done, if whatever takes longest is begun first (Graham 1969)."""
    free = [0.0] * jobs
    for each in sorted(seconds, reverse=True):
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def shared_pricing(pricing: Pricing, models: Sequence[FamilyConfig], jobs: int | None, budget: float) -> tuple[int, Pricing]:
    """How many rungs are trained at once, and the prices that then hold.

    Args:
        pricing: of trainings that have the machine to themselves.
        models: sizes by which it is measured.
        jobs: as asked for; None takes several where they are worth it.
        budget: of the ladder, in seconds.
    """
    cores = torch.get_num_threads()
    if jobs == 1 or (jobs is None and (torch.cuda.is_available() or cores == 1 or budget < SHORTEST)):
        return 1, pricing
    number = min(cores, MOST) if jobs is None else jobs
    shared = pricing.fresh()
    with _threads(threads_of(number)):
        gains = [number * pricing.of(model).step_seconds / shared.measure(model) for model in models]
    worth = jobs is not None or math.prod(gains) > GAIN ** len(gains)
    return (number, shared) if worth else (1, pricing)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
