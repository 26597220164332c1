"""Binary classification: one of two classes, by one log-odds output and binary cross-entropy."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from modelwright.core.schema import Feature, Schema
from modelwright.core.space import Between
from modelwright.metrics.classification import ClassificationMeter
from modelwright.metrics.meter import Meter
from modelwright.tasks.task import Prediction, Task, TaskConfig, class_prediction, smoothed, tasks


@tasks.register("binary")
class BinaryConfig(TaskConfig):
    """One of two classes; one output, the log-odds of the second class."""

    preference: ClassVar[int] = 20

    name: Literal["binary"] = "binary"  # pyright: ignore[reportIncompatibleVariableOverride]
    label_smoothing: Annotated[float, Between(0.0, 0.2)] = Field(0.0, ge=0, lt=1)
    """Share of the target's probability that is spread evenly over both classes."""

    @classmethod
    def learns(cls, target: Feature) -> bool:
        """Categories of two values."""
        return target.type == "category" and len(target.values) == 2

    def build(self, schema: Schema) -> Binary:
        """The task for the two classes of `schema`; the second one is the positive one."""
        return Binary(schema.classes, self.label_smoothing)


class Binary(Task):
    """The log-odds of the second of two classes. Same probabilities as a softmax over the logits (0, output)."""

    outputs = 1
    primary = "accuracy"
    higher_is_better = True
    tie_breaker = "log_loss"

    def __init__(self, classes: tuple[str, ...], label_smoothing: float = 0.0) -> None:
        assert len(classes) == 2, classes
        self.classes, self.label_smoothing = classes, label_smoothing

    def loss(self, output: Tensor, target: Tensor) -> tuple[Tensor, int]:
        """The summed binary cross-entropy of `output` (B, 1) against class indices (B,) or probabilities (B, 2), and B."""
        positive = smoothed(target, 2, self.label_smoothing)[:, 1]
        return F.binary_cross_entropy_with_logits(output.float().squeeze(1), positive, reduction="sum"), len(output)

    def meter(self, replicates: int = 0, seed: int = 0) -> Meter:
        """A meter of all classification metrics; precision, recall and F1 are those of the second class."""
        return ClassificationMeter(self.classes, replicates=replicates, seed=seed)

    def predict(self, output: Tensor) -> Prediction:
        """The likelier class of each row of `output` (B, 1), with both probabilities."""
        logit = output.float()
        return class_prediction(torch.cat([torch.sigmoid(-logit), torch.sigmoid(logit)], dim=1), self.classes)

    def as_output(self, belief: Tensor) -> Tensor:
        """The log-odds (B, 1) of the probabilities (B, 2)."""
        return (belief[:, 1:] / belief[:, :1]).log()
