"""Metrics of regression: mean absolute error, root mean squared error, R²."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from modelwright.metrics.bootstrap import PoissonWeights
from modelwright.metrics.estimate import Estimate, percentile
from modelwright.metrics.meter import Meter, require_finite


class RegressionMeter(Meter):
    """Measures predictions of a standardized number, in the number's own unit.

    `r2` is left out where it is undefined: for fewer than two examples, or targets that are all equal.

    Args:
        mean: of the target, which a standardized target of 0 stands for.
        scale: the target's standard deviation, which a standardized target of 1 is away from the mean.
        replicates: of the bootstrap; 0 for values without intervals.
        seed: of the bootstrap.
    """

    def __init__(self, mean: float, scale: float, *, replicates: int = 0, seed: int = 0) -> None:
        self._mean, self._scale = mean, scale
        self._weights = PoissonWeights(replicates, seed)
        self._sums = torch.zeros(6, 1 + replicates, dtype=torch.float64)
        self.count = 0

    def update(self, output: Tensor, target: Tensor) -> None:
        """Take in the `output` (B, 1) and the `target` (B,), both standardized.

        Raises:
            DivergedError: an output is not a finite number.
        """
        require_finite(output)
        y = target.detach().cpu().double()
        error = output.detach().cpu().double().squeeze(1) - y
        statistics = torch.stack([torch.ones_like(y), error, error.abs(), error.square(), y, y.square()])
        self._sums += statistics @ self._weights.draw(len(y))
        self.count += len(y)

    def compute(self) -> dict[str, Estimate]:
        """`mae` and `rmse` in the target's unit, and `r2`.

        Raises:
            InputError: no example was seen.
        """
        self._require_examples()
        n, _, absolute, squared, y, y_squared = self._sums
        mae, rmse = self._scale * absolute / n, self._scale * (squared / n).sqrt()
        metrics = {"mae": mae, "rmse": rmse}
        estimates = {name: percentile(float(values[0]), values[1:], self.count) for name, values in metrics.items()}
        deviation = y_squared - y.square() / n
        varied = deviation > 1e-12 * y_squared
        if self.count > 1 and varied[0]:
            r2 = torch.where(varied, 1 - squared / deviation, math.nan)
            estimates["r2"] = percentile(float(r2[0]), r2[1:], self.count, lowest=-math.inf, highest=1.0)
        return estimates

    def details(self) -> dict[str, Any]:
        """`count`, the `mean_error` (prediction less target) and the mean of the target, `target_mean`."""
        self._require_examples()
        mean_error, target_mean = (float(self._sums[row, 0]) / self.count for row in (1, 4))
        return {"count": self.count, "mean_error": self._scale * mean_error, "target_mean": self._mean + self._scale * target_mean}
