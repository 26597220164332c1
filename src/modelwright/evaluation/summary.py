"""The summary of a model: what was measured on each split, what its baselines reach there, and in one sentence what that means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelwright.evaluation.comparison import Comparison
from modelwright.evaluation.evaluate import Measured
from modelwright.metrics.estimate import Estimate, label, show
from modelwright.tasks.task import Task

Estimates = dict[str, Estimate]


@dataclass(frozen=True)
class Evaluation:
    """All that was measured of a model.

    Attributes:
        primary: the metric that decides.
        higher_is_better: of the primary metric.
        splits: the model's estimates, by split (`train`, `validation`, `test`) and metric.
        baselines: each baseline's estimates on the judged split, by name and metric.
        details: by split, what is more than one number.
        comparisons: for baselines compared example by example, how much better the model is.
    """

    primary: str
    higher_is_better: bool
    splits: dict[str, Estimates]
    baselines: dict[str, Estimates] = field(default_factory=dict)
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    comparisons: dict[str, Comparison] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        task: Task,
        splits: Mapping[str, Measured],
        baselines: Mapping[str, Measured] | None = None,
        comparisons: Mapping[str, Comparison] | None = None,
    ) -> Evaluation:
        """Gather what was measured of the model on each split, and of each baseline on the judged split."""
        return cls(
            primary=task.primary,
            higher_is_better=task.higher_is_better,
            splits={name: measured.estimates for name, measured in splits.items()},
            baselines={name: measured.estimates for name, measured in (baselines or {}).items()},
            details={name: measured.details for name, measured in splits.items()},
            comparisons=dict(comparisons or {}),
        )

    @property
    def judged(self) -> str:
        """The split that decides: test, else validation, else the last one."""
        return next((name for name in ("test", "validation") if name in self.splits), list(self.splits)[-1])

    @property
    def score(self) -> Estimate:
        """The primary metric on the judged split."""
        return self.splits[self.judged][self.primary]

    @property
    def gap(self) -> dict[str, float]:
        """How far the primary metric on `train` and on `validation` is above that on `test`, for the splits there are."""
        if "test" not in self.splits:
            return {}
        test = self.splits["test"][self.primary].value
        return {f"{name}-test": self.splits[name][self.primary].value - test for name in ("train", "validation") if name in self.splits}

    @property
    def best_baseline(self) -> str | None:
        """The name of the baseline with the best primary metric; None if there is no baseline."""
        sign = 1 if self.higher_is_better else -1
        known = {name: sign * estimates[self.primary].value for name, estimates in self.baselines.items() if self.primary in estimates}
        return max(known, key=known.__getitem__) if known else None

    def first_line(self) -> str:
        """What matters most: the baseline that is better, if there is one; else what was reached, and what the best baseline reaches."""
        name = self.best_baseline
        reached, metric = show(self.primary, self.score), label(self.primary)
        if name is None:
            return f"The model reaches {metric} {reached} on the {self.judged} split."
        baseline = self.baselines[name][self.primary]
        theirs, apart = show(self.primary, baseline), self._distinguishable(name)
        ahead = (baseline.value - self.score.value) * (1 if self.higher_is_better else -1)
        if ahead > 0:
            degree = "is better than the model" if apart else "is better than the model, though not distinguishably"
            return f"The baseline {name} {degree}: {metric} {theirs} against {reached} on the {self.judged} split."
        doubt = "" if apart else ", not distinguishable from it"
        return f"The model reaches {metric} {reached} on the {self.judged} split; the best baseline, {name}, {theirs}{doubt}."

    def _distinguishable(self, name: str) -> bool:
        """By the paired comparison if there was one; else whether each value lies outside the other's interval."""
        if name in self.comparisons:
            return self.comparisons[name].distinguishable
        one, other = self.score, self.baselines[name][self.primary]
        return not (one.low <= other.value <= one.high or other.low <= one.value <= other.high)

    def to_json(self) -> dict[str, Any]:
        """What `evaluation.json` holds: `splits` and `baselines` (metric to value, low, high), `details`, `gap`, `comparisons` and more."""
        return {
            "summary": self.first_line(),
            "primary": self.primary,
            "higher_is_better": self.higher_is_better,
            "splits": {name: _write(estimates) for name, estimates in self.splits.items()},
            "baselines": {name: _write(estimates) for name, estimates in self.baselines.items()},
            "gap": self.gap,
            "comparisons": {name: comparison.to_json() for name, comparison in self.comparisons.items()},
            "details": self.details,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Evaluation:
        """The evaluation that `to_json` wrote."""
        return cls(
            primary=values["primary"],
            higher_is_better=values["higher_is_better"],
            splits={name: _read(estimates) for name, estimates in values["splits"].items()},
            baselines={name: _read(estimates) for name, estimates in values["baselines"].items()},
            details=dict(values["details"]),
            comparisons={name: Comparison.from_json(row) for name, row in values["comparisons"].items()},
        )


def _write(estimates: Estimates) -> dict[str, dict[str, float]]:
    return {metric: estimate.to_dict() for metric, estimate in estimates.items()}


def _read(values: Mapping[str, Mapping[str, float]]) -> Estimates:
    return {metric: Estimate.from_dict(estimate) for metric, estimate in values.items()}
