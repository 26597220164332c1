"""A task: what is learnt. How many outputs it needs, its loss, its metrics, and what an output says to a person.

Legend: B batch, C classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from modelwright.core.config import Config
from modelwright.core.errors import InputError
from modelwright.core.registry import Registry
from modelwright.core.schema import Feature, Schema, describe
from modelwright.metrics.meter import Meter


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a network says about B examples.

    Attributes:
        value: (B,) int64 class indices, or (B,) float64 numbers in the target's own unit.
        probabilities: (B, C) float32, rows summing to one; None for numbers.
        classes: names of the C classes; empty for numbers.
    """

    value: Tensor
    probabilities: Tensor | None = None
    classes: tuple[str, ...] = ()

    @property
    def labels(self) -> list[str]:
        """The name of each predicted class; empty for numbers."""
        return [self.classes[index] for index in self.value.tolist()] if self.classes else []

    def to_rows(self) -> list[dict[str, Any]]:
        """One row an example, ready for JSON: `{"label", "confidence", "probabilities": {class: p}}`, or `{"value"}`."""
        if self.probabilities is None:
            return [{"value": value} for value in self.value.tolist()]
        rows = zip(self.labels, self.probabilities.tolist(), strict=True)
        return [{"label": label, "confidence": max(row), "probabilities": dict(zip(self.classes, row, strict=True))} for label, row in rows]


class LossTask(ABC):
    """What training needs of a task."""

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> tuple[Tensor, Any]:
        """The sum of the examples' losses, in float32 whatever the network computes in, and their count.

        Args:
            output: (B, O) of the network.
            target: (B,) as a batch holds it, or soft ones as mixing makes them.
        """

    def objective(self, network: Any, inputs: dict[str, Tensor], target: Tensor) -> tuple[Tensor, Any]:
        """What training lowers: the sum of the losses of what the network makes of `inputs`, and the count to divide it by.

        A task overrides it where it can do with less than the whole output.

        Args:
            network: from the inputs of a batch to its output (B, O).
            inputs: by name.
            target: as `loss` takes it.
        """
        return self.loss(network(inputs).float(), target)


class Task(LossTask):
    """What is learnt.

    Attributes:
        outputs: the width of the head's output, O.
        primary: name of the metric that decides between models.
        higher_is_better: of the primary metric.
        tie_breaker: name of a metric, less of it being better, that decides where the primary one is equal; None for none.
    """

    outputs: int
    primary: str
    higher_is_better: bool
    tie_breaker: str | None = None

    @abstractmethod
    def meter(self, replicates: int = 0, seed: int = 0) -> Meter:
        """A new meter; `replicates` of the bootstrap, 0 for values without intervals."""

    @abstractmethod
    def predict(self, output: Tensor) -> Prediction:
        """What the `output` (B, O) says, on the output's device."""

    def as_output(self, belief: Tensor) -> Tensor:
        """The output (B, O) that a network would give if it held the `belief`; so a baseline is judged like a network.

        Args:
            belief: (B, C) probabilities, none of them 0 or 1, or (B,) standardized numbers.
        """
        return belief[:, None] if belief.ndim == 1 else belief.log()


class TaskConfig(Config):
    """The choice of a task; a subclass registered under its `name` is all that a new task needs."""

    preference: ClassVar[int] = 0
    """Of the tasks that can learn a target, the one of the highest preference is chosen when none is named."""

    name: str

    @classmethod
    def learns(cls, target: Feature) -> bool:
        """Whether this is a task for such a target."""
        raise NotImplementedError

    def build(self, schema: Schema) -> Task:
        """The task for the target of `schema`, as fitted on the training split."""
        raise NotImplementedError


tasks: Registry[type[TaskConfig]] = Registry("task", "modelwright.tasks")


def choose_task(schema: Schema, config: TaskConfig | None = None) -> TaskConfig:
    """The given task if it can learn the target, or the preferred one that can.

    Raises:
        InputError: the given task can't learn the target, or no known task can; names those that fit.
    """
    fitting = [part for _, part in tasks.items() if part.learns(schema.target)]
    names = ", ".join(str(part.model_fields["name"].default) for part in fitting)
    what = f"the target {schema.target.name!r} ({describe(schema.target)})"
    if config is not None:
        if config.learns(schema.target):
            return config
        raise InputError(f"the task {config.name} can't learn {what}", expected=f"one of {names}" if names else None)
    if not fitting:
        raise InputError(f"no task can learn {what}", expected="a category of two or more values, or a number")
    return max(fitting, key=lambda part: part.preference)()  # pyright: ignore[reportCallIssue]


def class_prediction(probabilities: Tensor, classes: tuple[str, ...]) -> Prediction:
    """The likeliest class by `probabilities` (B, C)."""
    return Prediction(probabilities.argmax(1), probabilities, classes)


def smoothed(target: Tensor, classes: int, label_smoothing: float) -> Tensor:
    """The target as probabilities (B, C) float32, a share of `label_smoothing` of them spread evenly over the classes.

    Source: Szegedy et al. (2016), Rethinking the Inception architecture for computer vision, section 7.
    """
    hard = torch.nn.functional.one_hot(target, classes).float() if target.ndim == 1 else target.float()
    return hard * (1 - label_smoothing) + label_smoothing / classes
