"""Learning curves: what score more compute will bring, with an interval that says how sure that is.

A score is extrapolated as an error that falls with compute as a power law, err(c) = err(c0) (c / c0)^-b. The exponent is estimated from the
curve but held near what learning curves of small data sets show (Viering & Loog 2022, "The Shape of Learning Curves", section 4): a few
noisy points can't fix it. The interval adds what a finite validation set leaves open, the spread of the exponent, and the luck of the draw
of the test set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modelwright.planning.range import Range

EXPONENT_MEAN, EXPONENT_SPREAD = 0.2, 0.2
"""Normal prior of the exponent b, cut at 0: more compute on the same data helps by little, and seldom hurts."""
POINT_NOISE = 0.25
"""Standard deviation of log error between two trainings that differ by seed alone, beside the sampling of the validation set."""
DRAWS = 20_000


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A complete short training: its compute (any unit) and the validation error it reached."""

    compute: float
    error: float


def forecast_error_rate(points: Sequence[CurvePoint], compute: float, validation_size: int, test_size: int, seed: int = 0) -> Range:
    """The error rate (0..1) on `test_size` unseen examples after training with `compute`.

    Args:
        points: error rates of short trainings of the same recipe, measured on `validation_size` examples.

    Raises:
        ValueError: there are no points.
    """
    last = _last(points)
    random = np.random.default_rng(seed)
    exponent = _exponents(points, validation_size, random)
    # The points saw the same validation examples, so together they weigh as much as one; those of more compute weigh more.
    weights = np.array([point.compute for point in points]) / sum(point.compute for point in points)
    wrong = validation_size * float(weights @ [point.error for point in points])
    worse = sum(weight * (point.compute / last.compute) ** -exponent for weight, point in zip(weights, points, strict=True))
    rate = random.gamma(wrong + 0.5, 1 / (validation_size * worse))
    noise = np.exp(_noise(random) - POINT_NOISE**2 / 2)
    reached = np.clip(rate * noise * _improvement(exponent, last, compute), 0, 1)
    draws = random.binomial(test_size, reached) / test_size
    return Range(float(reached.mean()), *map(float, np.quantile(draws, (0.025, 0.975))))


def forecast_loss(points: Sequence[CurvePoint], compute: float, relative_error: float, test_relative_error: float, seed: int = 0) -> Range:
    """A positive error such as RMSE on the test set after training with `compute`.

    Args:
        points: that error of short trainings of the same recipe.
        relative_error: standard error of the last point, relative to it.
        test_relative_error: the same for a test set of its size.

    Raises:
        ValueError: there are no points.
    """
    last = _last(points)
    random = np.random.default_rng(seed)
    sampling = random.normal(0, np.hypot(relative_error, test_relative_error), DRAWS)
    reached = last.error * np.exp(_noise(random) / 5) * _improvement(_exponents(points, None, random), last, compute)
    draws = reached * np.exp(sampling)
    return Range(float(np.median(reached)), *map(float, np.quantile(draws, (0.025, 0.975))))


def _last(points: Sequence[CurvePoint]) -> CurvePoint:
    if not points:
        raise ValueError("a forecast needs at least one point of the learning curve")
    return max(points, key=lambda point: point.compute)


def _noise(random: np.random.Generator) -> np.ndarray:
    return random.normal(0, POINT_NOISE, DRAWS)


def _exponents(points: Sequence[CurvePoint], validation_size: int | None, random: np.random.Generator) -> np.ndarray:
    """Draws of the exponent b: from the prior and, where there are several points, from their slope."""
    precision, weighted = EXPONENT_SPREAD**-2, EXPONENT_MEAN * EXPONENT_SPREAD**-2
    if len(points) > 1:
        floor = 0.5 / validation_size if validation_size else 1e-12
        x = np.log([point.compute for point in points])
        y = np.log([max(point.error, floor) for point in points])
        centered = x - x.mean()
        spread = float(centered @ centered)
        if spread > 0:
            slope = -float(centered @ y) / spread
            sampling = 0.0 if validation_size is None else 1 / max(validation_size * np.exp(y.min()), 0.5)
            slope_precision = spread / (POINT_NOISE**2 + sampling)
            precision, weighted = precision + slope_precision, weighted + slope_precision * slope
    return np.clip(random.normal(weighted / precision, precision**-0.5, DRAWS), 0, None)


def _improvement(exponent: np.ndarray, last: CurvePoint, compute: float) -> np.ndarray:
    """What is left of an error when compute grows from that of the last point: (compute / last)^-b."""
    return np.exp(-exponent * np.log(max(compute / last.compute, 1.0)))
