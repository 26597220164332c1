"""Successive halving: how a comparison spends its share of a budget (Jamieson & Talwalkar 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar


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
        entrants.append(max(2, entrants[-1] // 2))
    return [Round(n, seconds / len(entrants) / n) for n in entrants]


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
