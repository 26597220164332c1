"""The Pareto front: what nothing else beats in every respect."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(points: Sequence[Sequence[float]]) -> list[bool]:
    """Which points are on the front: no other one is as good in every respect and better in one.

    Args:
        points: a row each, less of every number being better; equal rows are on the front together.
    """
    return [not any(_dominates(rival, point) for rival in points) for point in points]


def _dominates(rival: Sequence[float], point: Sequence[float]) -> bool:
    pairs = list(zip(rival, point, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
