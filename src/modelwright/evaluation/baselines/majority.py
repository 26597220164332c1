"""The majority baseline: always the most frequent class, with the frequencies of the classes as probabilities."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch

from modelwright.core.schema import Schema
from modelwright.evaluation.baseline import BaselineConfig, LabeledBatches, baselines, constant, targets
from modelwright.evaluation.evaluate import PredictFunction
from modelwright.tasks.task import Task


@baselines.register("majority")
class MajorityConfig(BaselineConfig):
    """The most frequent class of the training split."""

    name: Literal["majority"] = "majority"  # pyright: ignore[reportIncompatibleVariableOverride]
    is_constant: ClassVar[bool] = True

    def suits(self, schema: Schema) -> bool:
        """Targets that are classes."""
        return schema.target.type == "category"

    def fit(
        self, schema: Schema, task: Task, train: LabeledBatches, validation: LabeledBatches, *, seconds: float, seed: int = 0
    ) -> PredictFunction:
        """Count the classes of `train`; a class that doesn't occur counts as seen once."""
        counts = torch.bincount(targets(train), minlength=len(schema.classes)).clamp(min=1).float()
        return constant(task.as_output((counts / counts.sum())[None]))
