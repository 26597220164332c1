"""How long a search's winner is trained: few examples are learnt by heart in a training as long as the budget.

Trainings of a few passes over the data, each complete, are held against each other on the validation split. Where the longest of them is the best one,
the winner gets all that is left of the budget.
"""

from __future__ import annotations

from collections.abc import Callable

from modelwright.core.errors import DivergedError
from modelwright.workflows.job import Job, Probe
from modelwright.workflows.study import TrialResult

FEW = 5000
"""Most training examples of which a training may be too long; of more there is a validation split that tells when weights were best."""
LENGTHS = (1, 4, 16, 64, 256)
"""Passes over the training examples that are tried."""
FEWEST_STEPS = 50
"""Of a length that is tried: fewer are good by luck at most."""
LONGEST = 0.25
"""Of the passes for which there is time: most that are tried, so that together they take no more than a third of it."""

Train = Callable[[Job, float], TrialResult | None]
"""Trains a job for at most some seconds, and judges it; None if that was too short for it."""


def lengths(timed: Probe, seconds: float) -> list[int]:
    """The passes that are worth a try where there are so many seconds for training; none where there is nothing to choose from."""
    job = timed.job
    if len(job.dataset.train) > FEW or job.training.max_epochs is not None:
        return []
    steps = job.loader.steps_per_epoch
    tried = [epochs for epochs in LENGTHS if FEWEST_STEPS <= epochs * steps <= LONGEST * seconds / timed.step_seconds]
    return tried if len(tried) > 1 else []


def best_length(timed: Probe, tried: list[int], train: Train) -> tuple[int, TrialResult] | None:
    """The passes after which a training is best, and what it showed; None if the longest one is, so that longer ones may be better still.

    One training is better than another where it is as good by the primary metric and better by the loss. A longer one is taken unless a shorter one
    is better.

    Args:
        timed: the winner.
        tried: passes, the fewest first.
        train: does a training.
    """
    shown: list[tuple[int, TrialResult]] = []
    for epochs in tried:
        seconds = epochs * timed.job.loader.steps_per_epoch * timed.step_seconds
        try:
            result = train(timed.job.replace(max_epochs=epochs), 2 * seconds)
        except DivergedError:
            continue
        if result is not None:
            shown.append((epochs, result))
    if len(shown) < 2 or _better(shown[-1][1], shown[-2][1]):
        return None
    best = shown[-1]
    for row in reversed(shown):
        if _better(row[1], best[1]):
            best = row
    return best


def _better(one: TrialResult, other: TrialResult) -> bool:
    return one.score >= other.score and one.loss < other.loss
