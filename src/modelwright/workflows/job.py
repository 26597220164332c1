"""A job: what a recipe becomes once its data is there. The parts meet here, for every verb that trains."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import median

import torch

from modelwright.core.errors import InputError
from modelwright.core.units import Budget, format_bytes, format_count
from modelwright.data.dataset import Dataset, load
from modelwright.data.loader import Loader
from modelwright.data.token_split import TokenSplit
from modelwright.evaluation.comparison import compare
from modelwright.evaluation.evaluate import as_function, evaluate
from modelwright.models.family import FamilyConfig
from modelwright.models.network import Network, build_network, choose_stem, meta_network
from modelwright.nn.token_head import TokenHead
from modelwright.planning.count import Count, count
from modelwright.planning.parametrization import Growth
from modelwright.serving.bundle import load_bundle
from modelwright.tasks.task import Task, choose_task
from modelwright.training.config import TrainingConfig
from modelwright.training.hook import Hook
from modelwright.training.memory import held_bytes
from modelwright.training.resolution import build_rule, resolve
from modelwright.training.steps import plan_steps
from modelwright.training.trainer import Trainer
from modelwright.training.transfer import growths_since, rescale, score_scale
from modelwright.workflows.recipe import Recipe
from modelwright.workflows.reporter import Reporter
from modelwright.workflows.room import make_room

PROBE_SECONDS = 0.4
"""Time to spend on timing the steps of a network."""
PROBE_STEPS = 12
CLEARLY = 1.28
"""Standard errors by which one network must beat another; by chance alone it would in one case of ten."""


def device() -> torch.device:
    """Where networks are trained: an accelerator if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def read(recipe: Recipe, reporter: Reporter) -> Dataset:
    """Read the recipe's data and say what it is.

    Raises:
        InputError: the data can't be learnt from.
    """
    dataset = load(recipe.data, recipe.seed)
    reporter.say("read", summary(dataset))
    for note in dataset.report.notes:
        reporter.say("", note)
    return dataset


def summary(dataset: Dataset) -> str:
    """A data set in one line."""
    schema = dataset.schema
    if schema.kind == "text":
        return _text_summary(dataset)
    if schema.kind == "image":
        channels, height, width = schema.image.shape
        what = f"{'grey' if channels == 1 else 'color'} images {height}x{width}"
    else:
        what = f"rows of {len(schema.inputs)} columns"
    asked = f"{len(schema.classes)} classes" if schema.classes else f"target {schema.target.name}"
    sizes = " / ".join(f"{len(split):,} {name}" for name, split in dataset.splits.items())
    return f"{sum(map(len, dataset.splits.values())):,} {what}, {asked} · {sizes}"


def _text_summary(dataset: Dataset) -> str:
    splits = {name: split for name, split in dataset.splits.items() if isinstance(split, TokenSplit)}
    sizes = " / ".join(f"{format_count(split.tokens)} {name}" for name, split in splits.items())
    text = sum(split.bytes for split in splits.values())
    return f"{format_bytes(text)} of text, {dataset.schema.text.vocabulary:,} different tokens · tokens: {sizes}"


@dataclass(frozen=True)
class Job:
    """A recipe in which nothing about the network is left open, with its data and task.

    Attributes:
        recipe: complete.
        dataset: what is learnt from.
        task: what is learnt.
        start: bundle whose weights the network begins with; None for fresh ones.
    """

    recipe: Recipe
    dataset: Dataset
    task: Task
    start: Path | None = None

    @classmethod
    def make(cls, recipe: Recipe, dataset: Dataset) -> Job:
        """Fill in what the recipe leaves open: the task and the stem.

        Raises:
            InputError: a part doesn't fit the data or another part.
        """
        task = choose_task(dataset.schema, recipe.task)
        stem = recipe.stem or choose_stem(dataset.schema, recipe.model)
        job = cls(recipe.replace(task=task, stem=stem), dataset, task.build(dataset.schema))
        if recipe.transfer is not None:
            job = job._with_scores_in_place()
        for augmentation in recipe.training.augmentations:
            augmentation.check(dataset.schema)
        # Parts that don't fit together, and a budget that can't be counted, are found now.
        job._meta(job.recipe.model)
        _ = job.planned_steps
        return job

    def _with_scores_in_place(self) -> Job:
        """The same job with the scale that its head needs as its model grew."""
        recipe, network = self.recipe, self._meta(self.recipe.model)
        if not recipe.training.optimizer.transfers:
            raise InputError(f"the optimizer {recipe.training.optimizer.name} doesn't say how its settings transfer", where="transfer")
        tied = isinstance(network.head, TokenHead) and network.head.tied
        if not tied or recipe.head.scale != "auto":
            return self
        scale = score_scale(self.growths["stem.table"])
        return self if scale == 1 else Job(recipe.replace(head=recipe.head.replace(scale=scale)), self.dataset, self.task)

    @cached_property
    def growths(self) -> dict[str, Growth]:
        """How each parameter grew since the network on which the recipe's settings were tuned; empty where they are right as they are.

        Raises:
            InputError: the base doesn't fit the model.
        """
        recipe = self.recipe
        return {} if recipe.transfer is None else growths_since(recipe.transfer.of(recipe.model), recipe.model, self._meta)

    def _meta(self, model: FamilyConfig) -> Network:
        """The network of a family in place of the recipe's, on the meta device."""
        return meta_network(self.dataset.schema, model, self.task.outputs, stem=self.recipe.stem, head=self.recipe.head)

    def replace(self, **training: object) -> Job:
        """The same job with some training settings changed."""
        return replace(self, recipe=self.recipe.replace(training=self.recipe.training.replace(**training)))

    def on(self, dataset: Dataset) -> Job:
        """The same job on another cut of its data."""
        return replace(self, dataset=dataset)

    def renamed(self, name: str) -> Job:
        """The same job under another name."""
        return replace(self, recipe=self.recipe.replace(name=name))

    @property
    def family(self) -> str:
        """The name of the recipe's family."""
        return self.recipe.model.family

    @property
    def training(self) -> TrainingConfig:
        """How the network is trained."""
        return self.recipe.training

    @cached_property
    def count(self) -> Count:
        """Parameters and FLOPs, from the network on the meta device."""
        network = self._meta(self.recipe.model)
        examples = self.dataset.train.gather(torch.zeros(2, dtype=torch.int64))
        return count(network, {name: tensor.to("meta") for name, tensor in examples.inputs.items() if name != "documents"})

    @property
    def planned_steps(self) -> int | None:
        """Steps that the budget buys; None for a budget of seconds.

        Raises:
            InputError: the budget's unit means nothing here.
        """
        return plan_steps(
            self.training.budget,
            samples_per_epoch=len(self.dataset.train),
            steps_per_epoch=self.loader.steps_per_epoch,
            flops_per_sample=self.count.training_flops if self.training.budget.unit == "flops" else None,
            tokens_per_sample=self.tokens_per_sample,
            most_steps=self.training.most_steps(self.loader.steps_per_epoch),
        )

    @cached_property
    def loader(self) -> Loader:
        """The training batches."""
        return Loader(self.dataset.train, self.training.batch_size, self.recipe.seed, self.training.augmentations)

    @property
    def tokens_per_sample(self) -> int | None:
        """Tokens of an example of text; None for other data."""
        schema = self.dataset.schema
        return schema.text.shape[0] if schema.kind == "text" else None

    def speed(self, samples_per_second: float) -> str:
        """A throughput as people read it: tokens a second of a text, else examples."""
        tokens = self.tokens_per_sample
        return f"{format_count(samples_per_second * (tokens or 1))} {'examples' if tokens is None else 'tokens'}/s"

    def network(self) -> Network:
        """The network as training begins with it, on the device."""
        if self.start is not None:
            return load_bundle(self.start).network.to(device())
        recipe = self.recipe
        network = build_network(self.dataset.schema, recipe.model, self.task.outputs, stem=recipe.stem, head=recipe.head, seed=recipe.seed)
        rescale(network, self.growths)
        return network.to(device())

    def validate(self, network: torch.nn.Module) -> dict[str, float]:
        """The metrics on the validation split, without intervals; in the number format of training."""
        precision = "bfloat16" if self.training.precision == "bfloat16" else "float32"
        measured = evaluate(network, self.task, self.dataset.splits["validation"], replicates=0, precision=precision)
        return {name: estimate.value for name, estimate in measured.estimates.items()}

    def clearly_better(self, network: torch.nn.Module, rival: torch.nn.Module) -> bool:
        """Whether a network beats its rival on the validation split by more than chance, compared example by example."""
        advantage = compare(as_function(network), as_function(rival), self.task, self.dataset.splits["validation"]).advantage
        return advantage.value > CLEARLY * (advantage.high - advantage.low) / 3.92

    def trainer(
        self,
        network: Network,
        *,
        seconds: float | None = None,
        hooks: Sequence[Hook] = (),
        checkpoints: Path | None = None,
        observe: Callable[[torch.nn.Module], None] = lambda network: None,
        judged: bool = True,
    ) -> Trainer:
        """The trainer of a job whose training settings are resolved.

        Args:
            network: to train, in place.
            seconds: what the loop may take, in place of the recipe's budget.
            hooks: watch the run.
            checkpoints: their folder.
            observe: gets the network to look at, in evaluation mode, at every evaluation.
            judged: whether there are evaluations, on the validation split.
        """

        def judge(judged: torch.nn.Module) -> dict[str, float]:
            observe(judged)
            return self.validate(judged)

        validation = self.dataset.splits.get("validation") if judged else None
        # The best of several evaluations of a text is hardly the luckiest one, and comparing token by token would be dear.
        cautious = validation is not None and not self.dataset.schema.causal
        make_room(self.recipe, self.dataset.schema, network, self.loader.batch(0).inputs)
        config = self.training if seconds is None else self.training.replace(budget=Budget(seconds, "seconds"))
        return Trainer(
            config,
            build_rule(config, network, self.task, self.recipe.seed, self.growths),
            self.loader,
            evaluate=None if validation is None else judge,
            primary=None if validation is None else self.task.primary,
            tie_breaker=self.task.tie_breaker,
            clearly_better=self.clearly_better if cautious else None,
            higher_is_better=self.task.higher_is_better,
            evaluation_samples=0 if validation is None else validation.judged,
            flops_per_sample=self.count.training_flops,
            tokens_per_sample=self.tokens_per_sample,
            hooks=hooks,
            checkpoints=checkpoints,
        )


@dataclass(frozen=True)
class Probe:
    """What a few real steps showed.

    Attributes:
        job: the job with every `auto` of its training settings resolved by measurement.
        step_seconds: median time of a training step.
        held: bytes that the process held before.
    """

    job: Job
    step_seconds: float
    held: int = 0

    @property
    def samples_per_second(self) -> float:
        """Training throughput."""
        return self.job.training.batch_size / self.step_seconds

    def training_seconds(self, left: float | None = None) -> float:
        """How long the recipe's training takes; for a budget in seconds that budget, or what is `left` of it, if it may pass over the data so often."""
        training, steps = self.job.training, self.job.planned_steps
        each = self.step_seconds * (1 + training.evaluation_share / 2)
        if steps is not None:
            return steps * each
        seconds = training.budget.amount if left is None else left
        return min(seconds, training.most_steps(self.job.loader.steps_per_epoch) * each)


def probe(job: Job) -> Probe:
    """Resolve a job's training settings and time its steps, on weights that are thrown away."""
    held = held_bytes()
    network = job.network()
    batch = job.loader.batch(0)
    make_room(job.recipe, job.dataset.schema, network, batch.inputs)
    resolved = job.replace(
        **dict(resolve(job.training, network, job.task, batch, seconds=job.training.budget.seconds, steps=job.planned_steps))
    )
    rule = build_rule(resolved.training, copy.deepcopy(network), job.task, job.recipe.seed, job.growths)
    seconds: list[float] = []
    deadline = time.perf_counter() + PROBE_SECONDS
    while not seconds or (len(seconds) < PROBE_STEPS and time.perf_counter() < deadline):
        began = time.perf_counter()
        step = len(seconds)
        rule.step(resolved.loader.batch(step), step, 0.0, 0.0)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return Probe(resolved, median(seconds[1:] or seconds), held)
