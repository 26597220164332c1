"""The final loss of a running training, foretold from its curve so far and the schedule that is still to come.

With S the share of all learning rates until then and D how far the rate has fallen from its peak, the curve is taken for

    log L = c0 + c1 log S + c2 D

a power law of what was learnt, and what annealing brings beyond it: the quantities of Tissue et al. (2024), Scaling law with learning rate
annealing, in a form that is linear and so has its uncertainty in closed form. A young curve, and one whose rate has not fallen yet, leaves the
coefficients to their prior, which is wide; that the form is only a form is allowed for by an error that grows with what is still to come. Examples
that are seen again and again are learnt by heart in the end, and then the loss falls faster than any power law: this is allowed for by the number
of epochs. The allowances were set on real curves, and their coverage is measured on others: `benchmarks/final_loss.py`.

Letters: P points, C coefficients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from modelwright.planning.range import Range

PRIOR_MEAN = np.array([0.0, -0.35, -0.3])
PRIOR_SPREAD = np.array([10.0, 0.35, 0.4])
"""Of c0, c1 and c2."""
MODEL_ERROR = 0.18
"""Error of the form, for each unit of the log of S, and of D, that is still to come."""
BY_HEART, BY_HEART_SPREAD = 4.5, 2.0
"""How much lower the log of the loss ends, and the standard deviation of that, where all is learnt by heart; seen from the beginning of a run."""
BY_HEART_EPOCHS = 10.0
"""Passes over the data after which learning by heart is well under way."""
FLOOR = 0.02
"""Relative error that even the last step leaves."""
POINTS = 60
"""The curve is averaged over so many parts of equal progress."""
ALIKE = 3.0
"""Neighboring points of a curve are so alike that they count as one in so many."""
RECENT = 6
"""The last sixth of the points tells how far the curve has left the form."""
FEWEST, EARLIEST = 6, 0.03
"""Points, and progress, before which nothing is foretold."""
BURN_IN = 0.1
"""The first tenth of what has been seen tells nothing of the rest."""
GRID = 400
TAIL = 0.05
"""Share of a run whose mean loss is called the final one."""
HALF_WIDTH = 1.96


def foretell(progress: Sequence[float], losses: Sequence[float], schedule: Callable[[float], float], epochs: float = 0.0) -> Range | None:
    """The final loss.

    Args:
        progress: of each reading, in 0..1, increasing.
        losses: read there.
        schedule: from progress to the factor of the learning rate.
        epochs: passes over the training data that the whole run will make.

    Returns:
        None as long as there is too little to go by, or where a loss is not above 0.
    """
    x, y = np.asarray(progress, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if not len(x) or x[-1] < EARLIEST or (y <= 0).any():
        return None
    now = float(x[-1])
    x, y = _averaged(x[x >= BURN_IN * now], y[x >= BURN_IN * now], now)
    if len(x) < FEWEST:
        return None
    features = _features(schedule)
    seen, last, end = features(x), features(np.array([now]))[0], features(np.array([1 - TAIL / 2]))[0]
    mean, covariance, noise = _posterior(seen, np.log(y), weights=x / now)
    recent = np.log(y[-max(4, len(y) // RECENT) :]) - seen[-max(4, len(y) // RECENT) :] @ mean
    drift = float(recent.mean()) * len(recent) / (len(recent) + ALIKE)
    ahead = np.abs(end - last)[1:].sum() * max(0.0, 1 - now) ** 0.25 if now < 1 else 0.0
    spread = np.sqrt(end @ covariance @ end + (MODEL_ERROR * ahead) ** 2 + FLOOR**2 + noise**2 / max(1.0, TAIL * len(x) / ALIKE))
    heart, left = 1 - np.exp(-max(0.0, epochs - 1) / BY_HEART_EPOCHS), max(0.0, 1 - now)
    spread = np.hypot(spread, BY_HEART_SPREAD * heart * np.sqrt(left))
    center = float(end @ mean) + drift - BY_HEART * heart * left**2
    return Range(*(float(np.exp(center + side * HALF_WIDTH * spread)) for side in (0, -1, 1)))


def _averaged(x: np.ndarray, y: np.ndarray, now: float) -> tuple[np.ndarray, np.ndarray]:
    """Means over parts of equal progress; those without readings are left out."""
    parts = np.minimum((x / now * POINTS).astype(int), POINTS - 1)
    counts = np.bincount(parts, minlength=POINTS)
    filled = counts > 0
    return tuple(np.bincount(parts, values, POINTS)[filled] / counts[filled] for values in (x, y))  # type: ignore[return-value]


def _features(schedule: Callable[[float], float]) -> Callable[[np.ndarray], np.ndarray]:
    """From progress (P,) to 1, log S and D (P, 3)."""
    grid = np.linspace(0, 1, GRID + 1)
    rates = np.array([schedule(float(place)) for place in grid])
    area = np.concatenate([[0.0], np.cumsum((rates[1:] + rates[:-1]) / 2)])
    area = np.maximum(area / max(area[-1], 1e-12), 1e-6)
    peak = np.maximum.accumulate(rates)
    fallen = 1 - rates / np.maximum(peak, 1e-12)
    fallen[peak <= 0] = 0.0

    def features(x: np.ndarray) -> np.ndarray:
        return np.stack([np.ones_like(x), np.log(np.interp(x, grid, area)), np.interp(x, grid, fallen)], axis=1)

    return features


def _posterior(seen: np.ndarray, logs: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean (C,) and covariance (C, C) of the coefficients, and the standard deviation of a point around the curve."""
    precision_prior = np.diag(PRIOR_SPREAD**-2.0)
    noise = 0.3
    mean, covariance = PRIOR_MEAN, np.diag(PRIOR_SPREAD**2)
    for _ in range(8):
        scale = weights / (ALIKE * noise**2)
        precision = precision_prior + (seen * scale[:, None]).T @ seen
        covariance = np.linalg.inv(precision)
        mean = covariance @ (precision_prior @ PRIOR_MEAN + (seen * scale[:, None]).T @ logs)
        residuals = logs - seen @ mean
        freedom = max(len(logs) - 2.0, 1.0)
        noise = max(float(np.sqrt((weights * residuals**2).sum() / weights.mean() / freedom)), 1e-3)
    return mean, covariance, noise
