"""The mean baseline: always the mean of the training targets."""

from __future__ import annotations

from typing import ClassVar, Literal

from modelwright.core.schema import Schema
from modelwright.evaluation.baseline import BaselineConfig, LabeledBatches, baselines, constant, targets
from modelwright.evaluation.evaluate import PredictFunction
from modelwright.tasks.task import Task


@baselines.register("mean")
class MeanConfig(BaselineConfig):
    """The mean of the training split, which no constant beats in squared error."""

    name: Literal["mean"] = "mean"  # pyright: ignore[reportIncompatibleVariableOverride]
    is_constant: ClassVar[bool] = True

    def suits(self, schema: Schema) -> bool:
        """Targets that are numbers."""
        return schema.target.type == "number"

    def fit(
        self, schema: Schema, task: Task, train: LabeledBatches, validation: LabeledBatches, *, seconds: float, seed: int = 0
    ) -> PredictFunction:
        """Average the targets of `train`."""
        return constant(task.as_output(targets(train).double().mean(0, keepdim=True).float()))
