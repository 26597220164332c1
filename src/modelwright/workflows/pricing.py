"""Prices: what a step of each size of a model costs, as the plan tells without allocating it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from modelwright.core.errors import InputError
from modelwright.data.dataset import Dataset
from modelwright.models.family import FamilyConfig
from modelwright.models.network import meta_network
from modelwright.planning.layout import Layout
from modelwright.training.memory import held_bytes
from modelwright.workflows.expect import machine_here
from modelwright.workflows.job import Job, probe
from modelwright.workflows.outlook import Outlook
from modelwright.workflows.recipe import Recipe
from modelwright.workflows.tracing import Subject


@dataclass(frozen=True, slots=True)
class Price:
    """A size of a model, and what training it costs.

    Attributes:
        model: the family's settings.
        params: parameters of the backbone.
        flops: of the forward and backward pass of an example.
        step_seconds: of a training step.
        memory: bytes at most; None where the plan doesn't tell.
        fits: whether the machine has that memory.
    """

    model: FamilyConfig
    params: int
    flops: float
    step_seconds: float
    memory: float | None
    fits: bool


class Pricing:
    """The sizes of a recipe's model, all with the same training settings.

    Args:
        recipe: with every `auto` of its training settings resolved.
        dataset: what it learns.
    """

    def __init__(self, recipe: Recipe, dataset: Dataset) -> None:
        self._recipe, self._dataset = recipe, dataset
        self._machine = machine_here(held_bytes())
        self._factor = 1.0
        self._known: dict[str, Price] = {}

    def params(self, model: FamilyConfig) -> int:
        """Parameters of the backbone."""
        job = self._job(model)
        network = meta_network(self._dataset.schema, model, job.task.outputs, stem=job.recipe.stem, head=job.recipe.head)
        return sum(parameter.numel() for parameter in network.backbone.parameters())

    def of(self, model: FamilyConfig) -> Price:
        """The price of a size; where the plan doesn't tell its time, its steps are timed."""
        key = model.model_dump_json()
        if key not in self._known:
            self._known[key] = self._told(model)
        price = self._known[key]
        return Price(price.model, price.params, price.flops, price.step_seconds * self._factor, price.memory, price.fits)

    def correct(self, model: FamilyConfig, step_seconds: float) -> float:
        """Correct the prices of all sizes by the measured time of one size's steps.

        Returns:
            The measured time over the planned one.
        """
        off = step_seconds / self.of(model).step_seconds
        self._factor *= off
        return off

    def _job(self, model: FamilyConfig) -> Job:
        return Job.make(self._recipe.replace(model=model), self._dataset)

    def _told(self, model: FamilyConfig) -> Price:
        job = self._job(model)
        if self._machine is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    outlook = Outlook(Subject.of(job.recipe, self._dataset.schema, self._machine.kind), self._machine, Layout())
                    seconds, memory = outlook.seconds.value, outlook.memory.needed
                    return Price(model, self.params(model), job.count.training_flops, seconds, memory, memory <= self._machine.limit)
                except InputError:
                    pass
        return Price(model, self.params(model), job.count.training_flops, probe(job).step_seconds, None, True)
