"""Significance: whether a difference is more than chance, and what is left of that when many differences are looked at.

Letters: N examples, R rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from modelwright.core.randomness import generator
from modelwright.evaluation.comparison import Errors, mcnemar
from modelwright.metrics.bootstrap import PoissonWeights
from modelwright.metrics.estimate import Estimate, percentile

ROUNDS = 4000
"""Of a permutation test: a p-value is a multiple of one in so many."""
CHUNK = 1 << 22
"""Signs that are drawn at once."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better the first of two predictors is, in the unit of their errors.

    Attributes:
        advantage: more is better for the first; a paired bootstrap's interval.
        p_value: two-sided, that chance alone makes such a difference.
        examples: that both were judged on.
    """

    advantage: Estimate
    p_value: float
    examples: int


def paired(first: Errors, second: Errors, *, replicates: int = 1000, seed: int = 0) -> Difference:
    """Compare two predictors on the same examples: by McNemar's exact test for mistakes, else by flipping signs at random.

    The advantage is in accuracy, in the root mean squared error (standard deviations of the target), or in nats a token.

    Raises:
        ValueError: the errors are not of the same examples.
    """
    if first.kind != second.kind or len(first) != len(second) or not torch.equal(first.counts, second.counts):
        raise ValueError("errors of different examples can't be paired")
    weights = PoissonWeights(replicates, seed).draw(len(first))
    scored, *sums = torch.stack([first.counts, first.values, second.values]) @ weights
    means = [total / scored for total in sums]
    if first.kind == "squared errors":
        means = [mean.sqrt() for mean in means]
    advantage = means[1] - means[0]
    interval = percentile(float(advantage[0]), advantage[1:], len(first), lowest=-np.inf)
    if first.kind == "mistakes":
        ahead, behind = int((first.values < second.values).sum()), int((second.values < first.values).sum())
        return Difference(interval, mcnemar(ahead, behind), len(first))
    return Difference(interval, sign_flips(second.values - first.values, seed), len(first))


def sign_flips(differences: torch.Tensor, seed: int = 0, rounds: int = ROUNDS) -> float:
    """The two-sided p-value that `differences` (N,) are as often above 0 as below, by as much.

    Source: Fisher (1935), The design of experiments, section 21; with the observed signs among the drawn ones, so that it is never 0.
    """
    differences = differences.double()
    observed = abs(float(differences.sum()))
    if not differences.any():
        return 1.0
    random, extreme = generator(seed, "sign flips"), 0
    at_once = max(1, CHUNK // len(differences))
    for start in range(0, rounds, at_once):
        signs = torch.randint(0, 2, (min(at_once, rounds - start), len(differences)), generator=random, dtype=torch.int8) * 2 - 1
        extreme += int(((signs.double() @ differences).abs() >= observed * (1 - 1e-12)).sum())
    return (1 + extreme) / (1 + rounds)


def groups_against_rest(values: torch.Tensor, members: torch.Tensor, seed: int = 0, rounds: int = 2000) -> list[float]:
    """The two-sided p-value, for each group, that its mean differs from that of the rest by chance: the values are dealt out again.

    Source: Fisher (1935), as above; one deal serves all groups.

    Args:
        values: (N,).
        members: (N, S) bool, a column a group.
        seed: of the deals.
        rounds: deals.
    """
    values, members = values.double() - values.double().mean(), members.double()
    if not values.any():
        return [1.0] * members.shape[1]
    observed = (values @ members).abs() * (1 - 1e-12)
    random, extreme = generator(seed, "groups"), torch.zeros(members.shape[1], dtype=torch.int64)
    at_once = max(1, CHUNK // len(values))
    for start in range(0, rounds, at_once):
        dealt = values[torch.rand(min(at_once, rounds - start), len(values), generator=random).argsort(1)]
        extreme += ((dealt @ members).abs() >= observed).sum(0)
    return ((1 + extreme) / (1 + rounds)).tolist()


def holm(p_values: Sequence[float], comparisons: int | None = None) -> list[float]:
    """The p-values, corrected so that of all differences that are none, any at all is called one in 5 % of cases at most.

    Source: Holm (1979), A simple sequentially rejective multiple test procedure.

    Args:
        p_values: of the differences that are looked at.
        comparisons: how many could have been; as many as are looked at by default.
    """
    comparisons = len(p_values) if comparisons is None else comparisons
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, reached = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        reached = max(reached, min(1.0, (comparisons - rank) * p_values[place]))
        corrected[place] = reached
    return corrected
