"""A family, a task, a source and an optimizer from outside the package: registered by decorators, used by name in a recipe, no file edited."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import modelwright as mw
from modelwright.core.batch import Features, FeatureSpec, Kind
from modelwright.core.schema import Feature, Schema
from modelwright.data.config import DataConfig
from modelwright.data.examples import Examples, Origins
from modelwright.data.source import sources
from modelwright.metrics.meter import Meter
from modelwright.metrics.regression import RegressionMeter
from modelwright.models.family import Backbone, FamilyConfig, families
from modelwright.tasks.task import Prediction, Task, TaskConfig, tasks
from modelwright.training.optimizer import NamedParameters, Optimizer, OptimizerConfig, optimizers, parameter_groups


class Waves:
    """A source: points on a plane, made rather than read, whose target is a wave over it."""

    accepts = "waves:N, N points of a wave"
    names = ()

    def recognizes(self, argument: str) -> float:
        """Sure of its own scheme."""
        return float(argument.startswith("waves:"))

    def read(self, argument: str, config: DataConfig) -> Examples:
        """The points."""
        number = int(argument.removeprefix("waves:"))
        x, y = np.random.default_rng(0).uniform(-1, 1, (2, number))
        return Examples(
            {"x": x, "y": y, "height": np.sin(3 * x) + y}, Origins.within(argument, "point", np.arange(1, number + 1)), target="height"
        )


class GatedConfig(FamilyConfig):
    """A family: one gated layer."""

    consumes: ClassVar[tuple[Kind, ...]] = ("vector",)
    stems: ClassVar[tuple[str, ...]] = ("flat", "one_hot")
    family: Literal["gated"] = "gated"
    width: int = 32

    def build(self, spec: FeatureSpec) -> Gated:
        """The layer for vectors like `spec`."""
        return Gated(spec.width, self.width)

    def scaled(self, *, width: float = 1, depth: float = 1) -> Self:
        """Wider; it has no depth."""
        return self.replace(width=max(1, round(self.width * width)))


class Gated(Backbone):
    """Vector (B, D) -> vector (B, width)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.gives = FeatureSpec("vector", width)
        self.project = nn.Linear(inputs, 2 * width)

    def forward(self, features: Features) -> Features:
        """One half of a linear map, gated by the other."""
        return Features(F.glu(self.project(features.x)))


class MedianConfig(TaskConfig):
    """A task: the median of a number rather than its mean."""

    name: Literal["median"] = "median"  # pyright: ignore[reportIncompatibleVariableOverride]

    @classmethod
    def learns(cls, target: Feature) -> bool:
        """Numbers."""
        return target.type == "number"

    def build(self, schema: Schema) -> Median:
        """The task for the target of `schema`."""
        return Median(schema.target.mean[0], schema.target.scale[0])


class Median(Task):
    """Absolute error of a standardized number."""

    outputs = 1
    primary = "mae"
    higher_is_better = False

    def __init__(self, mean: float, scale: float) -> None:
        self.mean, self.scale = mean, scale

    def loss(self, output: Tensor, target: Tensor) -> tuple[Tensor, int]:
        """Summed absolute errors, and B."""
        return F.l1_loss(output.squeeze(1), target, reduction="sum"), len(output)

    def meter(self, replicates: int = 0, seed: int = 0) -> Meter:
        """That of regression."""
        return RegressionMeter(self.mean, self.scale, replicates=replicates, seed=seed)

    def predict(self, output: Tensor) -> Prediction:
        """In the target's own unit."""
        return Prediction(output.squeeze(1) * self.scale + self.mean)


class AdagradConfig(OptimizerConfig):
    """An optimizer that the package doesn't have."""

    name: Literal["adagrad"] = "adagrad"  # pyright: ignore[reportIncompatibleVariableOverride]
    learning_rate: float = 0.1

    def build(self, named_parameters: NamedParameters) -> Optimizer:
        """Adagrad of those parameters."""
        return torch.optim.Adagrad(parameter_groups(named_parameters, self.learning_rate, self.weight_decay))


PARTS: list[tuple[Any, str, Any]] = [
    (sources, "waves", Waves),
    (families, "gated", GatedConfig),
    (tasks, "median", MedianConfig),
    (optimizers, "adagrad", AdagradConfig),
]


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    """The parts are there for these tests alone."""
    for registry, name, part in PARTS:
        registry.register(name)(part)
    yield
    for registry, name, _ in PARTS:
        del registry._parts[name]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe that names nothing but parts from outside."""
    path = tmp_path / "outside.yaml"
    path.write_text(
        "data: {path: 'waves:600'}\n"
        "model: {family: gated, width: 24}\n"
        "task: median\n"
        "baselines: false\n"
        "training: {budget: 20 epochs, batch_size: 32, optimizer: adagrad, evaluations: 2, precision: float32, memory_format: contiguous, compile: 'off'}\n"
    )
    return path


def test_parts_from_outside_stand_in_the_registries():
    for registry, name, part in PARTS:
        assert name in registry
        assert registry[name] is part
        assert len(registry.items()) > 1


def test_a_recipe_takes_them_by_name(recipe: Path):
    read = mw.load_recipe(recipe)
    assert read.model == GatedConfig(width=24)
    assert read.task == MedianConfig()
    assert read.training.optimizer == AdagradConfig()
    assert mw.Recipe.model_validate(read.model_dump(mode="json")) == read


def test_a_run_is_made_of_them(recipe: Path, tmp_path: Path):
    output = tmp_path / "run"
    mw.train(str(recipe), output=output)
    measured = json.loads((output / "evaluation.json").read_text())["splits"]["test"]
    assert measured["r2"]["value"] > 0.8
    written = mw.load_recipe(output / "recipe.yaml")
    assert (written.model, written.task, written.training.optimizer) == (GatedConfig(width=24), MedianConfig(), AdagradConfig())
