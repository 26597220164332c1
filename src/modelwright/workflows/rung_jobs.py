"""How many rungs are trained at once: small networks leave most of a processor idle, so several beside one another take less time than in turn."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch

from modelwright.core.registry import Registry
from modelwright.models.family import FamilyConfig
from modelwright.workflows.pricing import Pricing

MOST = 4
"""Jobs at once: as many as there are sizes."""
CONTENTION = 1.25
"""How much longer steps take beside others that share caches, memory and clock; as seen with two on two cores (LOG.md)."""
STARTING = 5.0
"""Seconds that processes take to start, beside reading the data once more."""
SHORTEST = 60.0
"""Seconds of a budget from which on starting processes is affordable."""


def threads_of(jobs: int) -> int:
    """Of each of so many jobs."""
    return max(1, torch.get_num_threads() // jobs)


def lanes_of(jobs: int) -> int:
    """How many of so many jobs don't wait for each other."""
    return 1 if torch.cuda.is_available() else min(jobs, torch.get_num_threads())


def makespan(seconds: Iterable[float], jobs: int) -> float:
    """Seconds until all is done, if whatever takes longest is begun first (Graham 1969)."""
    free = [0.0] * jobs
    for each in sorted(seconds, reverse=True):
        heapq.heapreplace(free, free[0] + each)
    return max(free)


class Sharing(NamedTuple):
    """How rungs share the machine.

    Attributes:
        jobs: rungs that are trained at once.
        pricing: what a rung's steps cost then.
    """

    jobs: int
    pricing: Pricing


def ways_to_share(pricing: Pricing, models: Sequence[FamilyConfig], jobs: int | None, budget: float) -> list[Sharing]:
    """How many rungs may be trained at once, and the prices that then hold: one way, or two if it is to be seen which of them tells more.

    Args:
        pricing: of trainings that have the machine to themselves.
        models: sizes by which it is measured.
        jobs: as asked for; None for one, and several where they fit.
        budget: of the ladder, in seconds.
    """
    alone = Sharing(1, pricing)
    if jobs == 1 or (jobs is None and not _may_share(budget)):
        return [alone]
    number = min(torch.get_num_threads() if jobs is None else jobs, MOST)
    if torch.cuda.is_available():
        return [Sharing(number, pricing)]
    shared = pricing.fresh()
    with _threads(threads_of(number)):
        for model in models:
            shared.correct(model, CONTENTION * shared.measure(model))
    if jobs is not None:
        return [Sharing(number, shared)]
    fits = all(number * (pricing.of(model).memory or 0.0) < pricing.limit for model in models)
    return [alone, Sharing(number, shared)] if fits else [alone]


def _may_share(budget: float) -> bool:
    """Whether there are cores and time for several processes, and these know all that the recipe may name."""
    known = not Registry.by_hand and hasattr(os, "setpgrp")
    return known and budget >= SHORTEST and torch.get_num_threads() > 1 and not torch.cuda.is_available()


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
