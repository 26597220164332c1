"""Points: runs done or to come, as numbers of parameters, examples or tokens, and operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np

AXES = ("params", "data", "compute", "unique")
"""Parameters; tokens or examples trained on, repetitions counted; FLOPs of the training; tokens or examples that are different."""
FLOPS_PER_PARAMETER = 6.0
"""Of training, a token (Kaplan et al. 2020, section 2.1)."""


class Points:
    """Columns of equal length, by axis; those of `AXES` that are known.

    Args:
        axes: positive numbers by axis. Where parameters and data are there and compute isn't, or one of them with compute, the third follows.
        flops: operations that a parameter and a token cost, for that.
    """

    def __init__(self, axes: Mapping[str, np.ndarray], flops: float = FLOPS_PER_PARAMETER) -> None:
        known = {axis: np.asarray(axes[axis], dtype=float) for axis in AXES if axis in axes}
        if "compute" not in known and {"params", "data"} <= known.keys():
            known["compute"] = flops * known["params"] * known["data"]
        elif "compute" in known and "params" in known and "data" not in known:
            known["data"] = known["compute"] / (flops * known["params"])
        elif "compute" in known and "data" in known and "params" not in known:
            known["params"] = known["compute"] / (flops * known["data"])
        self.axes = known

    def __len__(self) -> int:
        return len(next(iter(self.axes.values())))

    def __getitem__(self, axis: str) -> np.ndarray:
        return self.axes[axis]

    def __contains__(self, axis: str) -> bool:
        return axis in self.axes

    def take(self, chosen: np.ndarray) -> Self:
        """The points of an index or a mask."""
        return type(self)({axis: column[chosen] for axis, column in self.axes.items()})

    def with_axis(self, axis: str, column: np.ndarray) -> Self:
        """The same points with one more axis."""
        return type(self)({**self.axes, axis: column})

    def ratio_spread(self) -> float:
        """The most data of a parameter over the least."""
        ratio = self["data"] / self["params"]
        return float(ratio.max() / ratio.min())

    def center(self) -> dict[str, float]:
        """The geometric mean of every axis; different data is counted in the unit of all data."""
        means = {axis: float(np.exp(np.log(column).mean())) for axis, column in self.axes.items()}
        return {**means, "unique": means["data"]} if "unique" in means and "data" in means else means

    def over(self, center: Mapping[str, float]) -> Self:
        """The same in units of `center`, so that powers of them are near 1; without the axes that it doesn't have."""
        return type(self)({axis: column / center[axis] for axis, column in self.axes.items() if axis in center})


def sizes(column: np.ndarray, factor: float = 1.15) -> np.ndarray:
    """The number (n,) of each point's size, from the smallest on; those within `factor` of the smallest one of a size are of that size."""
    order = np.argsort(column, kind="stable")
    numbers = np.empty(len(column), dtype=int)
    number, smallest = -1, -np.inf
    for place in order:
        if column[place] > factor * smallest:
            number, smallest = number + 1, column[place]
        numbers[place] = number
    return numbers
