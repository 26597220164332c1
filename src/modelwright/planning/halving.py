"""Successive halving: how a search spends its time (Jamieson & Talwalkar 2016), and which trials go on (Li et al. 2020, ASHA)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

KEPT = 2
"""Of so many trials at a rung one goes on, and so many go on at least."""


@dataclass(frozen=True, slots=True)
class Round:
    """One round of a comparison.

    Attributes:
        entrants: how many candidates are tried in it.
        seconds: what each of them may spend.
    """

    entrants: int
    seconds: float


def plan_rounds(candidates: int, seconds: float) -> list[Round]:
    """Rounds of equal cost, each with half of the entrants of the one before, the last with two.

    Args:
        candidates: how many there are at first; at least one.
        seconds: for all rounds together.
    """
    if candidates < 2:
        return [Round(candidates, seconds)]
    entrants = [candidates]
    while entrants[-1] > 2:
        entrants.append(max(2, entrants[-1] // KEPT))
    return [Round(n, seconds / len(entrants) / n) for n in entrants]


def planned_trials(families: int, seconds: float) -> int:
    """How many trials a search of `seconds` begins with: one a family and, with more time, others.

    Their number grows with the root of the time, and so does the length of each: of 20 s, 3 trials; of 10 minutes, 17; of 10 hours, 134.
    """
    return max(families, round(math.sqrt(seconds / 2)))


class Scored(Protocol):
    """What a candidate showed: a score, higher being better, its standard error, and a loss that breaks ties."""

    @property
    def score(self) -> float:
        """More is better."""
        ...

    @property
    def standard_error(self) -> float:
        """Of the score."""
        ...

    @property
    def loss(self) -> float:
        """Less is better."""
        ...


S = TypeVar("S", bound=Scored)


def rank(trials: Sequence[S]) -> list[S]:
    """Best first. Trials within one standard error of the best score are told apart by their loss, which varies less."""
    best = max(trials, key=lambda trial: trial.score)
    near = [trial for trial in trials if trial.score >= best.score - best.standard_error]
    far = [trial for trial in trials if trial.score < best.score - best.standard_error]
    return sorted(near, key=lambda trial: trial.loss) + sorted(far, key=lambda trial: -trial.score)


def survives(trial: S, rivals: Sequence[S]) -> bool:
    """Whether a trial goes on after a rung: it is in the better half of all that were seen there, or one of two.

    Args:
        trial: what it showed at the rung.
        rivals: what all showed there so far, itself included.
    """
    ahead = next(place for place, seen in enumerate(rank(rivals)) if seen is trial)
    return ahead < max(KEPT, len(rivals) // KEPT)
