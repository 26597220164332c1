"""The candidates of a build: each family's recipe, with what the user left open chosen to suit the data and the budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelwright.core.config import validate
from modelwright.core.schema import Schema
from modelwright.core.units import Budget, format_count
from modelwright.data.dataset import Dataset
from modelwright.models.family import families as known_families
from modelwright.models.network import meta_network
from modelwright.planning.size import compute_optimal_parameters, nearest_width
from modelwright.workflows.job import Job, Probe, probe
from modelwright.workflows.recipe import Recipe
from modelwright.workflows.reporter import Reporter

TRAINING_SHARE = 0.5
"""Share of a budget that is left for the winner's training, about."""
FEWEST_UPDATES = 1500
"""Updates below which a language model learns less from larger batches than from more updates."""
BATCH_TOKENS = (1024, 32_768)
"""Fewest and most tokens in a batch."""

SLOWEST = 1 / 8
"""Of the FLOPs a second of the fastest language model: one that computes less gets too little of the budget's compute to be worth a trial."""

TEXT_OPTIMIZER = {"name": "muon", "coefficients": "polar_express", "iterations": 3}
"""Of language models: as good as five iterations of the usual coefficients, and less time (see LOG.md)."""


@dataclass(frozen=True)
class Comparing:
    """How the trials of one kind of data are compared.

    Attributes:
        telling_steps: that the shortest rung should have, of a family of middling speed.
        sizes: whether a search may change them.
        slow_ones: whether families that compute much more slowly than the fastest one are worth a trial.
    """

    telling_steps: int
    sizes: bool
    slow_ones: bool

    @classmethod
    def of(cls, schema: Schema) -> Comparing:
        """What suits the kind of data."""
        return OF_TEXTS if schema.causal else OF_EXAMPLES


OF_EXAMPLES = Comparing(telling_steps=100, sizes=True, slow_ones=True)
OF_TEXTS = Comparing(telling_steps=400, sizes=False, slow_ones=False)
"""Language models overtake each other later, and their size was chosen, by the law or the user, for all of the budget's compute; short trainings favor small ones."""


def wanted_families(named: list[str], schema: Schema | None) -> list[str]:
    """The families to compare: those that are named, else those that suit the data (all of them as long as that is unknown)."""
    if named:
        return [known_families[name].model_fields["family"].default for name in named]
    return [name for name, family in known_families.items() if schema is None or schema.kind in family.suits]


def plain_recipe(values: Mapping[str, Any], family: str) -> Recipe:
    """The recipe of a candidate as the user's settings give it."""
    model = values.get("model", {})
    own = model if isinstance(model, dict) and model.get("family", family) == family else {}
    return validate(Recipe, {**values, "model": {**own, "family": family}})


def candidates(values: Mapping[str, Any], names: list[str], dataset: Dataset) -> dict[str, Probe]:
    """The candidates by family, probed.

    Args:
        values: the user's settings, nested as in a recipe.
        names: of the families.
        dataset: what they are to learn.
    """
    fit = _fit_to_text if dataset.schema.kind == "text" else _fit_to_examples
    return {name: fit(values, plain_recipe(values, name), dataset) for name in names}


def fast_enough(probed: Mapping[str, Probe], reporter: Reporter) -> dict[str, Probe]:
    """Language models without those that compute so slowly here, as some recurrent cells do on a CPU, that a trial of them would be in vain."""
    flops = {name: timed.samples_per_second * timed.job.count.training_flops for name, timed in probed.items()}
    fastest = max(flops, key=lambda name: flops[name])
    for name, speed in flops.items():
        if speed < SLOWEST * flops[fastest]:
            reporter.say(
                "left out", f"{name}: {format_count(speed)} FLOP a second here, where {fastest} does {format_count(flops[fastest])}"
            )
    return {name: timed for name, timed in probed.items() if flops[name] >= SLOWEST * flops[fastest]}


def _fit_to_examples(values: Mapping[str, Any], recipe: Recipe, dataset: Dataset) -> Probe:
    """Choose batch size, learning rate and augmentation."""
    given = values.get("training", {})
    changes: dict[str, Any] = {}
    if "batch_size" not in given:
        changes["batch_size"] = batch_size(len(dataset.train))
    if "optimizer" not in given:
        rate = known_families[recipe.model.family].learning_rate
        changes["optimizer"] = {"name": "adamw", "learning_rate": rate, "weight_decay": 0.05}
    if "augmentations" not in given and dataset.schema.kind == "image":
        pixels = max(1, round(min(dataset.schema.image.shape[1:]) / 14))
        changes["augmentations"] = ({"name": "shift", "pixels": pixels}, {"name": "rotate", "degrees": 10, "scale": 0.1})
    return probe(Job.make(recipe.replace(training=recipe.training.replace(**changes)), dataset))


def batch_size(examples: int) -> int:
    """A power of two in 16..128 that makes an epoch about twenty steps or more."""
    return min(128, max(16, 2 ** math.floor(math.log2(max(examples / 20, 1)))))


def _fit_to_text(values: Mapping[str, Any], recipe: Recipe, dataset: Dataset) -> Probe:
    """Choose the size that is best for the compute that the budget buys here, and the batch size; both from a timed step."""
    given, model = values.get("training", {}), values.get("model", {})
    context = dataset.schema.text.shape[0]
    changes: dict[str, Any] = {} if "batch_size" in given else {"batch_size": max(1, BATCH_TOKENS[0] // context)}
    if "optimizer" not in given:
        changes["optimizer"] = {**TEXT_OPTIMIZER, "learning_rate": known_families[recipe.model.family].text_learning_rate}
    recipe = recipe.replace(training=recipe.training.replace(**changes))
    timed = probe(Job.make(recipe, dataset))
    sized = isinstance(model, dict) and {"width", "depth", "preset", "channels"} & model.keys()
    seconds = TRAINING_SHARE * _seconds(recipe.training.budget)
    if not sized:
        flops = timed.job.count.training_flops * timed.samples_per_second * seconds
        recipe = _resized(timed.job, compute_optimal_parameters(flops))
        timed = probe(Job.make(recipe, dataset))
    if "batch_size" not in given:
        tokens = timed.samples_per_second * context * seconds / FEWEST_UPDATES
        rows = 2 ** math.floor(math.log2(min(max(tokens, BATCH_TOKENS[0]), BATCH_TOKENS[1]) / context)) if tokens > context else 1
        if rows != timed.job.training.batch_size:
            timed = probe(timed.job.replace(batch_size=max(1, rows)))
    return timed


def _seconds(budget: Budget) -> float:
    assert budget.seconds is not None, "a build's budget is one of time"
    return budget.seconds


def _resized(job: Job, parameters: float) -> Recipe:
    """The job's recipe with its model as wide as gives it about so many parameters, its vocabulary not counted."""
    recipe = job.recipe

    def size(factor: float) -> int:
        model = recipe.model.scaled(width=factor)
        network = meta_network(job.dataset.schema, model, job.task.outputs, stem=recipe.stem, head=recipe.head)
        return sum(parameter.numel() for parameter in network.backbone.parameters())

    return recipe.replace(model=recipe.model.scaled(width=nearest_width(size, parameters)))
