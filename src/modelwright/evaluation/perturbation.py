"""A perturbation: what may happen to an input on its way to a model (noise, a blurred picture, a typo), at several strengths.

Letters: B batch.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, nn

from modelwright.core.config import Config
from modelwright.core.randomness import generator
from modelwright.core.registry import Registry
from modelwright.core.schema import Schema
from modelwright.data.split import Split
from modelwright.evaluation.evaluate import Batches, evaluate
from modelwright.metrics.estimate import Estimate
from modelwright.tasks.task import Task


class PerturbationConfig(Config):
    """A way to perturb inputs; a subclass registered under its `name` is all that a new one needs."""

    reads: ClassVar[str]
    """The kind of data it is for: `image`, `table` or `text`."""
    title: ClassVar[str]
    """What it is called when spoken of."""
    unit: ClassVar[str]
    """What its strengths are in, as an axis says it."""

    name: str
    strengths: tuple[float, ...]
    """Increasing; 0, which leaves the inputs as they are, goes without saying."""

    def suits(self, schema: Schema) -> bool:
        """Whether it does anything to such data."""
        return schema.kind == self.reads

    def perturb(self, split: Split, strength: float, random: Generator) -> Batches:
        """The split with perturbed inputs; its targets stay."""
        raise NotImplementedError


perturbations: Registry[type[PerturbationConfig]] = Registry("perturbation", "modelwright.evaluation.perturbations")


@dataclass(frozen=True)
class Course:
    """How the primary metric goes as a perturbation gets stronger.

    Attributes:
        name: what the perturbation is called.
        unit: of its strengths.
        points: strength and estimate; the first one is of strength 0.
    """

    name: str
    unit: str
    points: tuple[tuple[float, Estimate], ...]

    def to_json(self) -> dict[str, Any]:
        """`name`, `unit` and `points`."""
        return {"name": self.name, "unit": self.unit, "points": [{"strength": s, **estimate.to_dict()} for s, estimate in self.points]}


def robustness(
    network: nn.Module, task: Task, split: Split, *, deadline: float = float("inf"), replicates: int = 200, seed: int = 0
) -> list[Course]:
    """The course of every perturbation that suits the data.

    Args:
        network: judged in float32.
        task: whose primary metric is told.
        split: with targets.
        deadline: `time.monotonic()` after which nothing is begun; a course that is not whole by then is left out.
        replicates: of the bootstrap.
        seed: decides what is drawn; the same for every strength.
    """
    courses = []
    for _, part in perturbations.items():
        perturbation = part()  # pyright: ignore[reportCallIssue]
        if not perturbation.suits(split.schema):
            continue
        points: list[tuple[float, Estimate]] = []
        last: Batches | None = None
        for strength in (0.0, *perturbation.strengths):
            if time.monotonic() > deadline:
                return courses
            perturbed = perturbation.perturb(split, strength, generator(seed, "perturbation", perturbation.name))
            if last is not None and _same(last, perturbed):
                # Less than a pixel more, or the like.
                continue
            last = perturbed
            points.append((strength, evaluate(network, task, perturbed, replicates=replicates, seed=seed).estimates[task.primary]))
        courses.append(Course(perturbation.title, perturbation.unit, tuple(points)))
    return courses


def _same(first: Batches, second: Batches) -> bool:
    """Whether two splits in memory have the same inputs."""
    if not (isinstance(first, Split) and isinstance(second, Split)):
        return False
    pairs = [(value, second.inputs[name]) for name, value in first.inputs.items()]
    return all(torch.equal(one.nan_to_num(), other.nan_to_num()) for one, other in pairs)
