"""An estimate: a measured number with its 95 % confidence interval, and the ways to such an interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Z = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution: 95 % lie within plus and minus this."""

_HALF_NORMAL = (2.2414027276049473, 0.031337984671474466)
"""The 97.5 % and the 2.5 % quantile of the absolute value of a standard normal number."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured value inside its 95 % confidence interval.

    `low` and `high` equal `value` where no interval was asked for (no replicates).

    Raises:
        ValueError: a number is not finite, or the value lies outside the interval.
    """

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.value, self.low, self.high))) or not self.low <= self.value <= self.high:
            raise ValueError(f"no estimate: {self.value} in [{self.low}, {self.high}]")

    def to_dict(self) -> dict[str, float]:
        """`{"value", "low", "high"}`, for JSON."""
        return {"value": self.value, "low": self.low, "high": self.high}

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> Estimate:
        """The estimate that `to_dict` wrote."""
        return cls(float(values["value"]), float(values["low"]), float(values["high"]))

    def percent(self) -> str:
        """As people read a proportion: `98.6 % (98.1-99.0)`."""
        scaled = [100 * bound for bound in (self.value, self.low, self.high)]
        decimals = min(2, max(1, _decimals(scaled[2] - scaled[1], scaled[0])))
        value, *bounds = (f"{number:.{decimals}f}" for number in scaled)
        return f"{value} %" + (f" ({'-'.join(bounds)})" if self.low < self.high else "")

    def number(self) -> str:
        """With as many digits as the interval allows: `0.011 (0.009-0.014)`."""
        decimals = _decimals(self.high - self.low, self.value)
        value, *bounds = (_short(number, decimals) for number in (self.value, self.low, self.high))
        return value + (f" ({' to '.join(bounds) if self.low < 0 else '-'.join(bounds)})" if self.low < self.high else "")


PROPORTIONS = frozenset({"accuracy", "balanced_accuracy", "precision", "recall", "f1"})
"""Metrics that are shown in percent."""


LABELS = {
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "roc_auc": "ROC-AUC",
    "bits_per_byte": "bits per byte",
    "log_loss": "log loss",
    "calibration_error": "calibration error",
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R²",
}
"""Metrics whose name is shown otherwise than it is written in files."""


def label(metric: str) -> str:
    """The name of a metric as people read it."""
    return LABELS.get(metric, metric)


def show(metric: str, estimate: Estimate) -> str:
    """The `estimate` of that `metric` as people read it: in percent or as a number."""
    return estimate.percent() if metric in PROPORTIONS else estimate.number()


def _decimals(width: float, value: float) -> int:
    """Decimals that tell apart the ends of an interval of this `width`, or show three digits of the value if there is none."""
    if width > 0:
        return max(0, math.ceil(0.3 - math.log10(width)))
    return max(0, 2 - math.floor(math.log10(abs(value)))) if value else 1


def _short(number: float, decimals: int) -> str:
    return f"{number:,.{decimals}f}" if decimals <= 6 and abs(number) < 1e7 else f"{number:.2e}"


def exactly(value: float) -> Estimate:
    """An estimate without an interval."""
    return Estimate(value, value, value)


def wilson(value: float, n: float) -> Estimate:
    """The score interval of a proportion `value` of `n` independent trials; [0, 1] when there are none.

    It keeps its coverage near 0 and 1, and never has a width of zero. Source: Wilson (1927), Probable inference, the law of succession, and
    statistical inference; Brown, Cai and DasGupta (2001), Interval estimation for a binomial proportion.
    """
    value = min(max(value, 0.0), 1.0)
    if n <= 0:
        return Estimate(value, 0.0, 1.0)
    center = (value * n + Z * Z / 2) / (n + Z * Z)
    half = Z / (n + Z * Z) * math.sqrt(value * (1 - value) * n + Z * Z / 4)
    return Estimate(value, max(0.0, min(value, center - half)), min(1.0, max(value, center + half)))


def proportion(value: float, replicates: Tensor, n: float) -> Estimate:
    """The interval of a measure in 0..1 that is no plain proportion, such as the mean recall of several classes.

    The variance of the bootstrap tells how many independent trials would be as uncertain, `value (1 - value) / variance`, and the score
    interval of that many is taken, as is done for surveys: Korn and Graubard (1998), Confidence intervals for proportions with small expected
    number of positive counts estimated from survey data. When there is no mistake to resample, the bootstrap's variance is zero; the
    number of trials is therefore at most `n`.

    Args:
        value: the measure.
        replicates: (R,) the same of resampled examples; NaN where it is undefined. None at all means that no interval is asked for.
        n: how many examples the measure rests on when none is mistaken.
    """
    value = min(max(value, 0.0), 1.0)
    if not len(replicates):
        return exactly(value)
    return wilson(value, min(n, effective_trials(value, replicates)))


def effective_trials(value: float, replicates: Tensor) -> float:
    """How many Bernoulli trials of mean `value` have a variance like that of `replicates` (R,); infinity if they don't vary."""
    defined = replicates[~replicates.isnan()]
    variance = float(defined.var(correction=0)) if len(defined) > 1 else 0.0
    return value * (1 - value) / variance if variance > 1e-18 else math.inf


def percentile(value: float, replicates: Tensor, n: int, *, lowest: float = 0.0, highest: float = math.inf) -> Estimate:
    """The percentile interval of a mean-like measure, widened for few examples.

    The distances from the value are stretched by `t / z * sqrt(n / (n - 1))`, as in Hesterberg (2015), What teachers should know about the
    bootstrap, section 4.3. A single example can't be resampled: its interval supposes a normal error of mean zero.

    Args:
        value: the measure.
        replicates: (R,) the same of resampled examples; NaN where it is undefined. None at all means that no interval is asked for.
        n: number of examples.
        lowest: the measure can't be lower.
        highest: the measure can't be higher.
    """
    if not len(replicates):
        return exactly(value)
    low, high = _quantiles(value, replicates) if n > 1 else (value / _HALF_NORMAL[0], value / _HALF_NORMAL[1])
    stretch = _stretch(n) if n > 1 else 1.0
    low, high = value - stretch * max(0.0, value - low), value + stretch * max(0.0, high - value)
    return Estimate(value, max(min(value, lowest), low), min(max(value, highest), high))


def reflected(value: float, replicates: Tensor, n: int) -> Estimate:
    """The basic (reverse percentile) interval of a measure in 0..1 that noise pushes upwards, such as the calibration error.

    Resampling pushes it upwards once more, by as much, so that the percentiles are mirrored at the value. Source: Davison and Hinkley (1997),
    Bootstrap methods and their application, section 2.4. The value itself stays inside. Arguments as for `percentile`.
    """
    if not len(replicates):
        return exactly(value)
    if n == 1:
        return Estimate(value, 0.0, 1.0)
    low, high = _quantiles(value, replicates)
    return percentile(value, torch.tensor([2 * value - high, 2 * value - low], dtype=torch.float64), n, highest=1.0)


def _quantiles(value: float, replicates: Tensor) -> tuple[float, float]:
    defined = replicates[~replicates.isnan()].double()
    if not len(defined):
        return value, value
    low, high = torch.quantile(defined, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def _stretch(n: int) -> float:
    """Student's t over the normal quantile, by its Cornish-Fisher expansion, times the bias of the bootstrap's standard error."""
    freedom = n - 1
    t = Z + (Z**3 + Z) / (4 * freedom) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * freedom**2)
    return t / Z * math.sqrt(n / freedom)
