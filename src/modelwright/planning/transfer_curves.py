"""What a transfer check finds: how far the parts of a network move at each width, and the loss by learning rate."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FLAT = (-0.5, 0.25)
"""Slopes, in powers of the width, that count as flat: initial scores, which vanish with the width, leave some fall in small networks."""
GOOD, FAIR = 0.005, 0.02
"""Share of the best loss by which that of the transferred rate may lie above it, to transfer, and to nearly do so."""


@dataclass(frozen=True)
class Coordinates:
    """How far the parts of a network moved in a few steps, at each width.

    Attributes:
        widths: factors of the base's width.
        changes: by part, the root mean square of what its output changed, at each width; infinite where training diverged.
    """

    widths: tuple[float, ...]
    changes: dict[str, list[float]]

    @property
    def slopes(self) -> dict[str, float]:
        """The power of the width with which each part's change grows; 0 is flat."""
        return {name: _slope(self.widths, values) for name, values in self.changes.items()}

    @property
    def flat(self) -> bool:
        """Whether all of them are flat."""
        return all(FLAT[0] <= slope <= FLAT[1] for slope in self.slopes.values())

    def to_json(self) -> dict[str, Any]:
        """`{"flat", "parts": {name: {"changes", "slope"}}}`."""
        slopes = self.slopes
        parts = {name: {"changes": _finite(values), "slope": _finite([slopes[name]])[0]} for name, values in self.changes.items()}
        return {"flat": self.flat, "parts": parts}


@dataclass(frozen=True)
class Curves:
    """The loss after some steps by learning rate, at each width.

    Attributes:
        widths: factors of the base's width, the base's own (1) first.
        rates: learning rates, rising.
        losses: for each width, rate and seed; infinite where training diverged.
    """

    widths: tuple[float, ...]
    rates: tuple[float, ...]
    losses: list[list[list[float]]]

    def mean(self, width: int, rate: int) -> float:
        """The mean over the seeds, by number of the width and of the rate."""
        return statistics.fmean(self.losses[width][rate])

    def best(self, width: int) -> int:
        """The number of the rate with the lowest mean loss."""
        return min(range(len(self.rates)), key=lambda rate: self.mean(width, rate))

    def excess(self, width: int) -> float:
        """By what share the loss at the base's best rate lies above the lowest one at that width; infinite if it diverged there."""
        lowest = self.mean(width, self.best(width))
        here = self.mean(width, self.best(0))
        return here / lowest - 1 if math.isfinite(here) else math.inf

    def noise(self, width: int) -> float:
        """The standard error of `excess`, from the seeds; 0 for one seed."""
        pairs = list(zip(self.losses[width][self.best(0)], self.losses[width][self.best(width)], strict=True))
        differences = [here - lowest for here, lowest in pairs]
        if len(pairs) < 2 or not all(map(math.isfinite, differences)):
            return 0.0
        return statistics.stdev(differences) / math.sqrt(len(pairs)) / self.mean(width, self.best(width))

    @property
    def at_edge(self) -> bool:
        """Whether the base's best rate is the lowest or highest one tried, so that a better one may lie beyond."""
        return self.best(0) in (0, len(self.rates) - 1)

    @property
    def verdict(self) -> str:
        """What the widest network says, in words."""
        width = len(self.widths) - 1
        excess, noise = self.excess(width), self.noise(width)
        if not math.isfinite(self.mean(0, self.best(0))):
            return "unknown: the base diverges at every rate"
        if not math.isfinite(excess):
            return f"does not transfer: at {self.widths[width]:g}x the base's best rate diverges"
        found = "transfers" if excess <= GOOD else "nearly transfers" if excess <= FAIR else "does not transfer"
        spread = f" ± {noise:.2%}" if noise else ""
        return f"{found}: at {self.widths[width]:g}x the base's best rate is {excess:.2%}{spread} above the best there"

    def to_json(self) -> dict[str, Any]:
        """`{"rates", "widths": [{"width", "losses", "best_rate", "excess", "noise"}], "verdict"}`."""
        rows = [
            {
                "width": factor,
                "losses": [_finite(seeds) for seeds in self.losses[width]],
                "best_rate": self.rates[self.best(width)],
                "excess": _finite([self.excess(width)])[0],
                "noise": self.noise(width),
            }
            for width, factor in enumerate(self.widths)
        ]
        return {"rates": list(self.rates), "widths": rows, "at_edge": self.at_edge, "verdict": self.verdict}


def _slope(widths: Sequence[float], values: Sequence[float]) -> float:
    """Of the least-squares line through the logarithms."""
    if not all(math.isfinite(value) for value in values):
        return math.inf
    if not all(values):
        return 0.0 if not any(values) else math.inf
    return statistics.linear_regression([math.log(width) for width in widths], [math.log(value) for value in values]).slope


def _finite(values: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]
