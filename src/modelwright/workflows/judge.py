"""Judging: the finished model on every split, its baselines beside it, and the test split once."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from torch import nn

from modelwright.core.errors import DivergedError
from modelwright.evaluation.baseline import suitable_baselines
from modelwright.evaluation.comparison import compare
from modelwright.evaluation.evaluate import PredictFunction, as_function, evaluate, measure
from modelwright.evaluation.summary import Evaluation
from modelwright.models.linear import LinearConfig
from modelwright.workflows.job import Job, probe

REPLICATES = 200
OTHER_SECONDS = 1.5
"""For writing the bundle and leaving the process, as seen on machines of 2026."""
MOST_JUDGED = 10_000
"""Examples of the training split that the gap is measured on, at most."""


Baselines = dict[str, PredictFunction]
"""Fitted baselines, by name."""


def fit_baselines(job: Job, seconds: float) -> Baselines:
    """Fit every baseline that suits the data: simple predictors, and the linear family unless it is the model itself.

    Args:
        seconds: for all of them together.
    """
    splits = job.dataset.splits
    chosen = suitable_baselines(job.dataset.schema) if job.recipe.baselines else []
    linear = bool(job.recipe.baselines) and job.family != "linear" and job.dataset.schema.kind != "text"
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
    recipe = job.recipe.replace(model=LinearConfig(), stem=None)
    plain = Job.make(recipe, job.dataset).replace(
        augmentations=(), compile=False, precision="float32", ema=None, accumulation=1, evaluations=5
    )
    timed = probe(plain)
    network = timed.job.network()
    timed.job.trainer(network, seconds=max(deadline - time.monotonic(), 0.2)).fit()
    return as_function(network)


def _most_of_training(job: Job) -> int:
    """Examples of the training split that the gap is measured on; of a text, where one is dear, no more than of the other splits."""
    if job.dataset.schema.kind != "text":
        return MOST_JUDGED
    return min(MOST_JUDGED, max((len(split) for name, split in job.dataset.splits.items() if name != "train"), default=MOST_JUDGED))


def judge(job: Job, network: nn.Module, baselines: Baselines) -> Evaluation:
    """Measure the model on every split and the baselines on the one that decides; this is where the test split is touched."""
    most = _most_of_training(job)
    splits = {name: split.sample(most) if name == "train" else split for name, split in job.dataset.splits.items()}
    seed = job.recipe.seed
    measured = {name: evaluate(network, job.task, split, replicates=REPLICATES, seed=seed) for name, split in splits.items()}
    judged = splits["test"] if "test" in splits else list(splits.values())[-1]
    beside = {name: measure(predict, job.task, judged, replicates=REPLICATES, seed=seed) for name, predict in baselines.items()}
    first = Evaluation.of(job.task, measured, beside)
    best = first.best_baseline
    if best is None:
        return first
    comparison = compare(as_function(network), baselines[best], job.task, judged, seed=seed)
    return Evaluation.of(job.task, measured, beside, {best: comparison})


def judging_seconds(job: Job, network: nn.Module) -> float:
    """About how long `judge` and writing the bundle will take: a small part of it is done, on the validation split, and timed."""
    part = job.dataset.splits.get("validation", job.dataset.train).sample(8 if job.dataset.schema.kind == "text" else 256)
    timed: Callable[[], object] = lambda: evaluate(network, job.task, part, replicates=REPLICATES)  # noqa: E731
    timed()
    began = time.monotonic()
    timed()
    each = (time.monotonic() - began) / len(part)
    passes = {"train": 1, "validation": 3, "test": 2}  # measured; the best weights compared with the last; the best baseline with the model
    total = sum(
        passes[name] * (min(len(split), _most_of_training(job)) if name == "train" else len(split))
        for name, split in job.dataset.splits.items()
    )
    return OTHER_SECONDS + 1.2 * each * total
