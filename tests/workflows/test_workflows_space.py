"""Every family has a search space on every kind of data that it suits, and every point of it is a network."""

import random
from typing import ClassVar, Literal, Self

import pytest
import torch
from harness.families import SCHEMAS, small

from modelwright.core.batch import FeatureSpec, Kind
from modelwright.core.config import validate
from modelwright.core.space import Choice, Interval
from modelwright.models.family import FamilyConfig, families
from modelwright.models.linear import Linear
from modelwright.models.network import can_read, meta_network
from modelwright.tasks.task import choose_task
from modelwright.training.resolution import build_rule
from modelwright.workflows.recipe import Recipe
from modelwright.workflows.space import Space

TRAINING = {
    "optimizer": {"name": "adamw", "weight_decay": 0.05},
    "precision": "float32",
    "memory_format": "contiguous",
    "compile": False,
}
CASES = [(name, kind) for name, family in families.items() for kind, schema in SCHEMAS.items() if can_read(family, schema)]


def space(family, schema, **given):
    values = {"data": {"path": "x"}, "model": small(family), "task": choose_task(schema), "training": TRAINING}
    if schema.kind == "image":
        values["training"] = {**TRAINING, "augmentations": [{"name": "shift", "pixels": 1}, {"name": "rotate"}]}
    return Space.of(validate(Recipe, values), given)


def draw(dimension, rng):
    if isinstance(dimension, Choice):
        return rng.choice(dimension.values)
    if dimension.whole:
        return rng.randint(int(dimension.low), int(dimension.high))
    return rng.choice((dimension.low, dimension.high, rng.uniform(dimension.low, dimension.high)))


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_every_point_is_a_network_that_can_be_trained(family, kind):
    schema = SCHEMAS[kind]
    found, rng = space(family, schema), random.Random(0)
    assert "training.optimizer.learning_rate" in found.dimensions
    assert all(found.own[key] in dimension for key, dimension in found.dimensions.items())
    assert found.at(found.own) == found.recipe
    for _ in range(4):
        recipe = found.at({key: draw(dimension, rng) for key, dimension in found.dimensions.items()})
        if schema.causal:
            task, outputs = None, schema.target.vocabulary
        else:
            task = recipe.task.build(schema)
            outputs = task.outputs
        network = meta_network(schema, recipe.model, outputs)
        assert sum(parameter.numel() for parameter in network.parameters()) > 0
        if task is not None:
            build_rule(recipe.training, torch.nn.Linear(2, 2), task, 0)


def test_all_families_and_kinds_are_there():
    assert len(CASES) > 25
    assert {name for name, _ in CASES} == set(families)


def test_a_family_has_its_dials_but_one_without_any():
    assert {"width", "depth", "model.dropout"} <= space("mlp", SCHEMAS["numbers"]).dimensions.keys()
    assert not {"width", "depth"} & space("linear", SCHEMAS["numbers"]).dimensions.keys()


def test_a_size_that_is_chosen_already_is_not_searched():
    found = Space.of(space("mlp", SCHEMAS["numbers"]).recipe, {}, dials=False)
    assert not {"width", "depth"} & found.dimensions.keys()
    assert {"model.dropout", "training.batch_size"} <= found.dimensions.keys()
    assert found.wider(found.own) is None


def test_what_the_user_has_set_stays():
    given = {"model": {"family": "mlp", "width": 16}, "training": {"optimizer": {"learning_rate": 1e-3}, "batch_size": 64}}
    found = space("mlp", SCHEMAS["numbers"], **given).dimensions
    assert not {"width", "training.optimizer.learning_rate", "training.batch_size"} & found.keys()
    assert {"depth", "model.dropout", "training.optimizer.weight_decay"} <= found.keys()


def test_a_preset_decides_the_size():
    schema = SCHEMAS["text"]
    values = {"data": {"path": "x"}, "model": {"family": "transformer", "preset": "llama-1m"}, "training": TRAINING}
    found = Space.of(validate(Recipe, values), {"model": values["model"]}).dimensions
    assert not {"width", "depth"} & found.keys()
    assert {"width", "depth"} <= space("transformer", schema).dimensions.keys()


def test_twice_the_width_ends_at_the_edge_of_the_space():
    found = space("mlp", SCHEMAS["numbers"])
    wide = found.wider(found.own)
    assert wide is not None
    assert found.at(wide).model.width == 2 * found.recipe.model.width
    assert found.wider({**found.own, "width": 4.0}) is None
    linear = space("linear", SCHEMAS["numbers"])
    assert linear.wider(linear.own) is None


class NarrowConfig(FamilyConfig):
    """A family from outside, with dials of its own and nothing else."""

    consumes: ClassVar[tuple[Kind, ...]] = ("vector",)
    stems: ClassVar[tuple[str, ...]] = ("flat",)
    dials: ClassVar[dict[str, Interval]] = {"width": Interval(1, 2)}
    family: Literal["narrow"] = "narrow"
    size: int = 8

    def build(self, spec: FeatureSpec) -> Linear:
        return Linear(spec)

    def scaled(self, *, width: float = 1, depth: float = 1) -> Self:
        return self.replace(size=round(self.size * width))


def test_a_family_from_outside_brings_its_own_space():
    families.register("narrow")(NarrowConfig)
    try:
        recipe = validate(Recipe, {"data": {"path": "x"}, "model": "narrow", "training": TRAINING})
        found = Space.of(recipe, {})
        assert found.dimensions["width"] == Interval(1, 2)
        assert "depth" not in found.dimensions
        assert found.at({**found.own, "width": 2.0}).model.size == 16
    finally:
        del families._parts["narrow"]
