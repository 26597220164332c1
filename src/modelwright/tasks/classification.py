"""Classification: one of several classes, by softmax and cross-entropy."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from modelwright.core.schema import Feature, Schema
from modelwright.core.space import Between
from modelwright.metrics.classification import ClassificationMeter
from modelwright.metrics.meter import Meter
from modelwright.tasks.task import Prediction, Task, TaskConfig, class_prediction, tasks


@tasks.register("classification")
class ClassificationConfig(TaskConfig):
    """One of several classes; one output a class."""

    preference: ClassVar[int] = 10

    name: Literal["classification"] = "classification"  # pyright: ignore[reportIncompatibleVariableOverride]
    label_smoothing: Annotated[float, Between(0.0, 0.2)] = Field(0.0, ge=0, lt=1)
    """Share of the target's probability that is spread evenly over all classes."""

    @classmethod
    def learns(cls, target: Feature) -> bool:
        """Categories of two or more values."""
        return target.type == "category" and len(target.values) >= 2

    def build(self, schema: Schema) -> Classification:
        """The task for the classes of `schema`."""
        return Classification(schema.classes, self.label_smoothing)


class Classification(Task):
    """Softmax over C classes."""

    primary = "accuracy"
    higher_is_better = True
    tie_breaker = "log_loss"

    def __init__(self, classes: tuple[str, ...], label_smoothing: float = 0.0) -> None:
        self.classes, self.label_smoothing = classes, label_smoothing
        self.outputs = len(classes)

    def loss(self, output: Tensor, target: Tensor) -> tuple[Tensor, int]:
        """The summed cross-entropy of `output` (B, C) against class indices (B,) or probabilities (B, C), and B."""
        target = target if target.ndim == 1 else target.float()
        return F.cross_entropy(output.float(), target, reduction="sum", label_smoothing=self.label_smoothing), len(output)

    def meter(self, replicates: int = 0, seed: int = 0) -> Meter:
        """A meter of all classification metrics."""
        return ClassificationMeter(self.classes, replicates=replicates, seed=seed)

    def predict(self, output: Tensor) -> Prediction:
        """The likeliest class of each row of `output` (B, C), with all probabilities."""
        return class_prediction(output.float().softmax(1), self.classes)
