"""Significance: whether a difference is more than chance, and what is left of that when many differences are looked at.

Letters: N examples, S groups.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from modelwright.core.randomness import generator

LEVEL = 0.05
"""Chance of calling any two different that are not."""
ROUNDS, ROUNDS_A_GROUP = 2000, 40
"""Deals of a permutation test, and for each of many groups: a corrected p-value can't be less than their number over that of the deals."""
CHUNK = 1 << 22
"""Values that are dealt out at once."""


def paired_p_value(first: Tensor, second: Tensor) -> float:
    """How likely so large a difference of two predictors' mean error is by chance alone.

    McNemar's exact test for right or wrong answers. Else the paired t-test, which for errors of forecasts is that of Diebold and Mariano
    (1995), Comparing predictive accuracy, section 1.1.

    Args:
        first: (N,) errors of one on each example.
        second: (N,) those of the other on the same examples.
    """
    difference = first.double() - second.double()
    if all(bool(((errors == 0) | (errors == 1)).all()) for errors in (first, second)):
        return mcnemar(int((difference < 0).sum()), int((difference > 0).sum()))
    n = len(difference)
    if n < 2:
        return 1.0
    spread = float(difference.std()) / math.sqrt(n)
    if spread == 0:
        return 1.0 if float(difference.mean()) == 0 else 0.0
    return _two_sided(float(difference.mean()) / spread, n - 1)


def mcnemar(first_alone: int, second_alone: int) -> float:
    """The two-sided exact p-value that two classifiers are right equally often.

    Only examples that one of them alone has right tell anything: under the hypothesis they fall to either like coin tosses. Source: McNemar
    (1947), Note on the sampling error of the difference between correlated proportions or percentages; exact by the binomial distribution.

    Args:
        first_alone: examples that only the first has right.
        second_alone: examples that only the second has right.
    """
    n, fewer = first_alone + second_alone, min(first_alone, second_alone)
    tail = sum(math.exp(_log_binomial(n, k) - n * math.log(2)) for k in range(fewer + 1))
    return min(1.0, 2 * tail)


def holm(p_values: Sequence[float], comparisons: int | None = None) -> list[float]:
    """The p-values, corrected so that of all differences that are none, any at all is called one in 5 % of cases at most.

    Source: Holm (1979), A simple sequentially rejective multiple test procedure.

    Args:
        p_values: of the comparisons that are looked at.
        comparisons: how many there could have been, such as all pairs where the best one is compared with the others: which one is best was
            seen on the same examples. By default those that are looked at.
    """
    count = max(len(p_values), comparisons or 0)
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected, reached = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        reached = max(reached, min(1.0, (count - rank) * p_values[place]))
        corrected[place] = reached
    return corrected


def groups_against_rest(values: Tensor, members: Tensor, seed: int = 0) -> list[float]:
    """The two-sided p-value, for each group, that its mean differs from that of the rest by chance: the values are dealt out again.

    Source: Fisher (1935), The design of experiments, section 21; with the observed deal among the drawn ones, so that it is never 0.

    Args:
        values: (N,).
        members: (N, S) bool, a column a group; one deal serves all.
        seed: of the deals.
    """
    values, members = values.double() - values.double().mean(), members.double()
    if not values.any():
        return [1.0] * members.shape[1]
    observed = (values @ members).abs() * (1 - 1e-12)
    random, extreme = generator(seed, "groups"), torch.zeros(members.shape[1], dtype=torch.int64)
    rounds, at_once = max(ROUNDS, ROUNDS_A_GROUP * members.shape[1]), max(1, CHUNK // len(values))
    for start in range(0, rounds, at_once):
        deals = [torch.randperm(len(values), generator=random) for _ in range(min(at_once, rounds - start))]
        extreme += ((values[torch.stack(deals)] @ members).abs() >= observed).sum(0)
    return ((1 + extreme) / (1 + rounds)).tolist()


def _two_sided(t: float, freedom: int) -> float:
    """The two-sided p-value of Student's t, by the normal approximation of Wallace (1959), Bounds on normal approximations to Student's."""
    z = (8 * freedom + 1) / (8 * freedom + 3) * math.sqrt(freedom * math.log1p(t * t / freedom))
    return math.erfc(z / math.sqrt(2))


def _log_binomial(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
