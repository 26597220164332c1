"""The record: what a run has counted and measured so far, its best weights included."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from torch import Tensor, nn

from modelwright.training.result import Measurement, StopReason, TrainingResult

_LOSS_MEMORY = 0.98


class Record:
    """Counts of steps, samples and seconds, the evaluations, and the weights of the best one.

    Args:
        primary: name of the metric that decides; None if nothing is evaluated.
        higher_is_better: its direction.
        tie_breaker: metric that decides between equal values of the primary one, less of it being better.
    """

    def __init__(self, primary: str | None, higher_is_better: bool, tie_breaker: str | None = None) -> None:
        self.primary, self._sign, self._tie_breaker = primary, 1.0 if higher_is_better else -1.0, tie_breaker
        self.step = 0
        self.samples = 0
        self.seconds = 0.0
        self.aside_seconds = 0.0
        self.history: list[Measurement] = []
        self.best: Measurement | None = None
        self.best_weights: dict[str, Tensor] | None = None
        self._loss, self._loss_weight = 0.0, 0.0

    def count(self, samples: int, loss: float) -> None:
        """A step was done on so many examples."""
        self.step += 1
        self.samples += samples
        self._loss = _LOSS_MEMORY * self._loss + loss
        self._loss_weight = _LOSS_MEMORY * self._loss_weight + 1.0

    def measure(self, measurement: Measurement, network: nn.Module) -> None:
        """An evaluation of this network was done; its weights are kept if it is the best so far."""
        assert self.primary in measurement.metrics, f"the evaluation lacks its primary metric {self.primary}"
        self.history.append(measurement)
        if math.isnan(measurement.metrics[self.primary]) or (self.best is not None and self._rank(measurement) <= self._rank(self.best)):
            return
        self.best = measurement
        if self.best_weights is None:
            self.best_weights = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        for name, tensor in network.state_dict().items():
            self.best_weights[name].copy_(tensor.detach())

    def _rank(self, measurement: Measurement) -> tuple[float, float]:
        """Greater for the better of two measurements."""
        assert self.primary is not None
        tie = 0.0 if self._tie_breaker is None else measurement.metrics.get(self._tie_breaker, 0.0)
        return self._sign * measurement.metrics[self.primary], -tie

    @property
    def stale_evaluations(self) -> int:
        """Evaluations in a row without a gain."""
        return sum(1 for measurement in self.history if self.best is None or measurement.step > self.best.step)

    @property
    def evaluated_progress(self) -> float:
        """Progress at the last evaluation, or 0."""
        return self.history[-1].progress if self.history else 0.0

    def result(self, stop_reason: StopReason) -> TrainingResult:
        """All of it, as it stands."""
        return TrainingResult(
            steps=self.step,
            seconds=self.seconds,
            samples=self.samples,
            stop_reason=stop_reason,
            best=self.best,
            history=tuple(self.history),
            samples_per_second=self.samples / max(self.seconds - self.aside_seconds, 1e-9),
            train_loss=self._loss / self._loss_weight if self._loss_weight else math.nan,
        )

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep."""
        return {
            "step": self.step,
            "samples": self.samples,
            "seconds": self.seconds,
            "aside_seconds": self.aside_seconds,
            "loss": [self._loss, self._loss_weight],
            "history": [asdict(measurement) for measurement in self.history],
            "best": None if self.best is None else asdict(self.best),
            "best_weights": self.best_weights,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.step, self.samples, self.seconds = state["step"], state["samples"], state["seconds"]
        self.aside_seconds = state["aside_seconds"]
        self._loss, self._loss_weight = state["loss"]
        self.history = [Measurement(**values) for values in state["history"]]
        self.best = None if state["best"] is None else Measurement(**state["best"])
        self.best_weights = state["best_weights"]
