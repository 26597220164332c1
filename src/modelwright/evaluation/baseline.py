"""A baseline: a simple predictor that any model worth its cost must beat."""

from __future__ import annotations

from typing import ClassVar, Protocol

from torch import Tensor

from modelwright.core.config import Config
from modelwright.core.errors import InputError
from modelwright.core.registry import Registry
from modelwright.core.schema import Schema
from modelwright.evaluation.evaluate import Batches, PredictFunction
from modelwright.tasks.task import Task


class LabeledBatches(Batches, Protocol):
    """A split, as far as fitting a baseline goes."""

    @property
    def target(self) -> Tensor | None:
        """All targets, (examples,)."""
        ...


class BaselineConfig(Config):
    """The choice of a baseline; a subclass registered under its `name` is all that a new one needs."""

    name: str
    is_constant: ClassVar[bool] = False
    """Whether it gives every example the same."""

    def suits(self, schema: Schema) -> bool:
        """Whether it can be fitted to such data, with what is installed."""
        raise NotImplementedError

    def fit(
        self, schema: Schema, task: Task, train: LabeledBatches, validation: LabeledBatches, *, seconds: float, seed: int = 0
    ) -> PredictFunction:
        """Fit it, and give it as a function from inputs to the task's output, so that the same meter judges it.

        Args:
            schema: of the data.
            task: whose output space is aimed at.
            train: to fit on.
            validation: to decide on when to stop.
            seconds: to be done in.
            seed: of whatever it draws.
        """
        raise NotImplementedError


baselines: Registry[type[BaselineConfig]] = Registry("baseline", "modelwright.evaluation.baselines")


def suitable_baselines(schema: Schema) -> list[BaselineConfig]:
    """The baselines that suit the data, with their default settings, sorted by name."""
    parts = (part() for _, part in baselines.items())  # pyright: ignore[reportCallIssue]
    return [part for part in parts if part.suits(schema)]


def targets(split: LabeledBatches) -> Tensor:
    """The targets of a whole split, (examples,).

    Raises:
        InputError: it has none.
    """
    if split.target is None or not len(split.target):
        raise InputError("the examples have no target, so that no baseline can be fitted")
    return split.target


def constant(output: Tensor) -> PredictFunction:
    """A function that gives the `output` (1, O) for every example."""
    return lambda inputs: output.expand(len(next(iter(inputs.values()))), -1)
