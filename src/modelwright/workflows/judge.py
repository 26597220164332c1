"""Judging: the finished model on every split, its baselines beside it, and the test split once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from torch import nn

from modelwright.core.errors import DivergedError
from modelwright.core.schema import Schema
from modelwright.data.dataset import Dataset
from modelwright.data.split import Split
from modelwright.evaluation.baseline import suitable_baselines
from modelwright.evaluation.comparison import compare
from modelwright.evaluation.evaluate import Measured, Observer, PredictFunction, as_function, evaluate, measure
from modelwright.evaluation.examplewise import ErrorLog
from modelwright.evaluation.summary import Evaluation
from modelwright.models.linear import LinearConfig
from modelwright.models.network import can_read
from modelwright.training.trainer import FORWARD_SHARE
from modelwright.workflows.job import Job, Probe, probe

REPLICATES = 200
OTHER_SECONDS = 1.5
"""For writing the bundle and leaving the process, as seen on machines of 2026."""
FEWEST_JUDGED = 128
"""Windows of a text that suffice for a look beside, and that are judged at least."""
JUDGING_SHARE = 0.1
"""Share of a budget of seconds that judging may take, where held-out splits are so large that they can be cut."""


@dataclass(frozen=True, slots=True)
class Thoroughness:
    """How much is judged of one kind of data.

    Attributes:
        training: examples of the training split that the gap is measured on, at most.
        beside: examples that baselines are judged on and compared with the model on; None: the whole split.
        timed: examples from which the time of judging is foretold.
        fewest: examples of a held-out split that are left at least where a budget of seconds is short for it.
        overlap: how often an example is read in a pass; windows of a text overlap by half.
        as_trained: whether the number format is that of training, rather than float32.
        passes: over each split, comparisons included; those on a part of a split are counted apart.
    """

    training: int
    beside: int | None
    timed: int
    fewest: int
    overlap: int
    as_trained: bool
    passes: Mapping[str, int]

    @classmethod
    def of(cls, schema: Schema) -> Thoroughness:
        """What suits the kind of data."""
        return SPARING if schema.kind == "text" else THOROUGH

    def seconds_each(self, timed: Sequence[Probe]) -> float:
        """About what a pass over an example takes the slowest of the networks."""
        return FORWARD_SHARE * self.overlap / min(probe.samples_per_second for probe in timed)


THOROUGH = Thoroughness(10_000, None, 256, fewest=10_000, overlap=1, as_trained=False, passes={"train": 1, "validation": 3, "test": 2})
"""Measured; the best weights compared with the last; the best baseline with the model."""
SPARING = Thoroughness(
    FEWEST_JUDGED, FEWEST_JUDGED, 16, fewest=FEWEST_JUDGED, overlap=2, as_trained=True, passes={"train": 1, "validation": 1, "test": 1}
)
"""A window of text is dear. bfloat16 changes its loss in the fifth digit and takes a third of the time."""

Baselines = dict[str, PredictFunction]
"""Fitted baselines, by name."""


def fit_baselines(job: Job, seconds: float) -> Baselines:
    """Fit every baseline that suits the data: simple predictors, and the linear family unless it is the model itself.

    Args:
        seconds: for all of them together.
    """
    splits = job.dataset.splits
    chosen = suitable_baselines(job.dataset.schema) if job.recipe.baselines else []
    linear = bool(job.recipe.baselines) and job.family != "linear" and can_read(LinearConfig, job.dataset.schema)
    share = seconds / max(1, len(chosen) + linear)
    predictors: Baselines = {
        baseline.name: baseline.fit(
            job.dataset.schema, job.task, splits["train"], splits.get("validation", splits["train"]), seconds=share, seed=job.recipe.seed
        )
        for baseline in chosen
    }
    if linear:
        with suppress(DivergedError):
            predictors["linear"] = _linear(job, share)
    return predictors


def _linear(job: Job, seconds: float) -> PredictFunction:
    """The linear family, trained for `seconds` on the same data."""
    deadline = time.monotonic() + seconds
    recipe = job.recipe.replace(model=LinearConfig(), stem=None, transfer=None)
    plain = Job.make(recipe, job.dataset).replace(
        augmentations=(), compile=False, precision="float32", ema=None, accumulation=1, max_epochs=None, evaluations=5
    )
    timed = probe(plain)
    network = timed.job.network()
    timed.job.trainer(network, seconds=max(deadline - time.monotonic(), 0.2)).fit()
    return as_function(network)


def affordable(dataset: Dataset, timed: Sequence[Probe]) -> Dataset:
    """The data set with its validation and test split cut to what can be judged in a small share of the budget.

    Only a budget of seconds cuts: to judge every token of a large text, or a million images, takes longer than many a training. What is left is
    evenly spread over the split.

    Args:
        dataset: whole.
        timed: the networks that may be judged; the slowest one counts.
    """
    budget, care = timed[0].job.training.budget.seconds, Thoroughness.of(dataset.schema)
    if budget is None:
        return dataset
    each = care.seconds_each(timed)
    sizes = dataset.held_out_sizes
    share = JUDGING_SHARE * budget / (each * max(1, sum(care.passes[name] * size for name, size in sizes.items())))
    if share >= 1:
        return dataset
    return dataset.cut({name: max(care.fewest, round(share * size)) for name, size in sizes.items()})


def what_is_judged(dataset: Dataset) -> str | None:
    """A sentence about how much of the held-out splits is judged, where `affordable` cut some; not of a text, of which usually a part is."""
    if dataset.schema.kind == "text":
        return None
    whole = dataset.report.splits
    parts = [f"{size:,} of {whole[name]:,} {name}" for name, size in dataset.held_out_sizes.items() if size < whole.get(name, 0)]
    return f"judged on {' and '.join(parts)} examples, evenly spread, as the budget is short" if parts else None


def judged_splits(job: Job) -> dict[str, Split]:
    """The splits that a model is judged on: a part of the training split, and all that the data set has of the others."""
    most = Thoroughness.of(job.dataset.schema).training
    return {name: split.sample(most) if name == "train" else split for name, split in job.dataset.splits.items()}


def _beside(job: Job, split: Split) -> Split:
    """What baselines are judged on."""
    size = Thoroughness.of(job.dataset.schema).beside
    return split if size is None else split.sample(size)


def judge(job: Job, network: nn.Module, baselines: Baselines, errors: ErrorLog | None = None) -> Evaluation:
    """Measure the model on every split and the baselines on the one that decides; this is where the test split is touched.

    Args:
        job: whose model and splits.
        network: the finished one.
        baselines: fitted ones.
        errors: keeps the error of each example of the split that decides.
    """
    splits = judged_splits(job)
    seed = job.recipe.seed
    decides = deciding(splits)
    observers = {decides: errors.update} if errors is not None else {}
    measured = {name: _evaluate(job, network, split, observers.get(name)) for name, split in splits.items()}
    judged = _beside(job, splits[decides])
    beside = {name: measure(predict, job.task, judged, replicates=REPLICATES, seed=seed) for name, predict in baselines.items()}
    first = Evaluation.of(job.task, measured, beside)
    best = first.best_baseline
    if best is None:
        return first
    comparison = compare(as_function(network), baselines[best], job.task, judged, seed=seed)
    return Evaluation.of(job.task, measured, beside, {best: comparison})


def deciding(splits: Mapping[str, Split]) -> str:
    """The name of the split that decides: test, else validation, else the last one."""
    return next((name for name in ("test", "validation") if name in splits), list(splits)[-1])


def _evaluate(job: Job, network: nn.Module, split: Split, observe: Observer | None = None) -> Measured:
    return evaluate(
        network, job.task, split, replicates=REPLICATES, seed=job.recipe.seed, precision=judging_precision(job), observe=observe
    )


def judging_precision(job: Job) -> Literal["float32", "bfloat16"]:
    """The number format in which the job's networks are judged."""
    as_trained = Thoroughness.of(job.dataset.schema).as_trained
    return "bfloat16" if as_trained and job.training.precision == "bfloat16" else "float32"


def judging_seconds(job: Job, network: nn.Module, baselines: Baselines | None = None) -> float:
    """About how long `judge` and writing the bundle will take: a small part of it is done, on the validation split, and timed."""
    care, splits = Thoroughness.of(job.dataset.schema), judged_splits(job)
    part = job.dataset.splits.get("validation", job.dataset.train).sample(care.timed)
    each = _seconds(lambda: _evaluate(job, network, part, ErrorLog(job.task).update)) / len(part)
    total = each * sum(care.passes[name] * len(split) for name, split in splits.items())
    if care.beside is not None:
        compared = len(_beside(job, list(splits.values())[-1]))
        total += 2 * each * compared
        for predict in (baselines or {}).values():
            total += 2 * compared * _seconds(lambda predict=predict: measure(predict, job.task, part, replicates=0)) / len(part)
    return OTHER_SECONDS + 1.2 * total


def _seconds(work: Callable[[], object]) -> float:
    """What something takes that was done once before."""
    work()
    began = time.monotonic()
    work()
    return time.monotonic() - began
