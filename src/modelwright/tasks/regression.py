"""Regression: a number, learnt standardized, predicted and measured in its own unit."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from modelwright.core.schema import Feature, Schema
from modelwright.metrics.meter import Meter
from modelwright.metrics.regression import RegressionMeter
from modelwright.tasks.task import Prediction, Task, TaskConfig, tasks


@tasks.register("regression")
class RegressionConfig(TaskConfig):
    """A number; one output."""

    preference: ClassVar[int] = 10

    name: Literal["regression"] = "regression"  # pyright: ignore[reportIncompatibleVariableOverride]
    huber_delta: float | None = Field(None, gt=0)
    """Errors beyond this many standard deviations of the target count linearly (Huber, 1964); None: all count squared."""

    @classmethod
    def learns(cls, target: Feature) -> bool:
        """Numbers."""
        return target.type == "number"

    def build(self, schema: Schema) -> Regression:
        """The task for the number that is the target of `schema`."""
        target = schema.target
        return Regression(target.mean[0], target.scale[0], self.huber_delta)


class Regression(Task):
    """The squared error of a standardized number.

    Args:
        mean: of the target on the training split, in its own unit.
        scale: the target's standard deviation there.
        huber_delta: where the loss turns linear, in standard deviations; None: nowhere.
    """

    outputs = 1
    primary = "rmse"
    higher_is_better = False

    def __init__(self, mean: float, scale: float, huber_delta: float | None = None) -> None:
        self.mean, self.scale, self.huber_delta = mean, scale, huber_delta

    def loss(self, output: Tensor, target: Tensor) -> tuple[Tensor, int]:
        """The summed squared (or Huber) error of `output` (B, 1) against the standardized `target` (B,), and B."""
        prediction, target = output.float().squeeze(1), target.float()
        if self.huber_delta is None:
            return F.mse_loss(prediction, target, reduction="sum"), len(output)
        return F.huber_loss(prediction, target, reduction="sum", delta=self.huber_delta), len(output)

    def meter(self, replicates: int = 0, seed: int = 0) -> Meter:
        """A meter of the errors in the target's own unit."""
        return RegressionMeter(self.mean, self.scale, replicates=replicates, seed=seed)

    def predict(self, output: Tensor) -> Prediction:
        """The number of each row of `output` (B, 1), in the target's own unit, (B,) float64: float32 keeps too few digits of a large mean."""
        return Prediction(output.double().squeeze(1) * self.scale + self.mean)
