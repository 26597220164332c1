"""Rungs: a trial's short, complete training, and what it shows on the validation split."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from modelwright.core.errors import DivergedError, InputError
from modelwright.core.units import format_duration
from modelwright.data.split import Split
from modelwright.evaluation.comparison import errors_of, pack
from modelwright.evaluation.evaluate import evaluate
from modelwright.evaluation.latency import latency
from modelwright.models.network import Network
from modelwright.training.result import TrainingResult
from modelwright.workflows.job import Job, Probe
from modelwright.workflows.judge import Thoroughness, judging_precision
from modelwright.workflows.reporter import Reporter
from modelwright.workflows.space import Space
from modelwright.workflows.study import Trial, TrialResult

FEWEST_STEPS = 20
"""A training of fewer steps tells nothing."""
REPLICATES = 100
JUDGED_SHARE, LATENCY_SHARE = 0.1, 0.02
"""Shares: of the shortest rung that judging may take where the validation split is large, and of a rung that timing one example may take."""
LATENCY_SECONDS = 0.05
"""For timing answers to one example, at most."""


def judged_examples(probed: Mapping[str, Probe], seconds: float) -> int:
    """Those of the validation split; of a large one, as many as the slowest family can be judged on in a small part of a rung's `seconds`."""
    dataset = next(iter(probed.values())).job.dataset
    split = dataset.splits["validation"]
    care = Thoroughness.of(dataset.schema)
    return min(len(split), max(care.fewest, round(JUDGED_SHARE * seconds / care.seconds_each(list(probed.values())))))


class Rungs:
    """Trains and judges trials.

    Args:
        probed: each family's own recipe, with its data.
        spaces: of the families.
        validation: what trials are judged on.
        folder: for checkpoints of long rungs.
        reporter: is told what can't be trained.
    """

    def __init__(
        self, probed: Mapping[str, Probe], spaces: Mapping[str, Space], validation: Split, folder: Path, reporter: Reporter
    ) -> None:
        self.probed, self._spaces, self.validation, self.folder, self._reporter = probed, spaces, validation, folder, reporter

    def job(self, trial: Trial) -> Job:
        """The job of a trial, its settings resolved as its family's own were.

        Raises:
            InputError: the settings don't go together.
        """
        return Job.make(self._spaces[trial.family].at(trial.settings), self.probed[trial.family].job.dataset)

    def __call__(self, trial: Trial, rung: int, seconds: float) -> TrialResult | None:
        """Train a trial afresh for `seconds`, and judge it; None if that is too short for it, or it can't be trained."""
        timed = self.probed[trial.family]
        if trial.settings == self._spaces[trial.family].own and seconds / timed.step_seconds < FEWEST_STEPS:
            return self._drop(trial, f"makes fewer than {FEWEST_STEPS} steps in {format_duration(seconds)}")
        checkpoints = self.folder / f"trial-{trial.number}-{rung}" if seconds > timed.job.training.checkpoint_interval else None
        try:
            found = trained(self.job(trial), self.validation, rung, seconds, checkpoints)
            if found is None:
                return self._drop(trial, f"makes fewer than {FEWEST_STEPS} steps in {format_duration(seconds)}")
        except DivergedError:
            return self._drop(trial, "diverged")
        except RuntimeError as error:
            if not isinstance(error, torch.OutOfMemoryError) and "allocate" not in str(error):
                raise
            return self._drop(trial, "is too large for the memory")
        except InputError as error:
            return self._drop(trial, str(error))
        if checkpoints is not None:
            shutil.rmtree(checkpoints, ignore_errors=True)
        return found

    def _drop(self, trial: Trial, why: str) -> None:
        """Say that a trial can't be trained."""
        self._reporter.say("dropped", f"{trial.label} {why}")


def trained(job: Job, validation: Split, rung: int, seconds: float, checkpoints: Path | None = None) -> TrialResult | None:
    """What a job shows after a training of `seconds`; of another budget, where its recipe says so, if that ends by then.

    Args:
        job: its training settings are resolved.
        validation: what it is judged on.
        rung: for the result.
        seconds: for the training.
        checkpoints: their folder; for a training of seconds.

    Returns:
        None if there was no time for enough steps.

    Raises:
        DivergedError: the loss or an output is no finite number.
    """
    job, timed = job.replace(evaluations=1, early_stopping=None, restore_best=False, compile=False), job.training.budget.seconds is not None
    network = job.network()
    trainer = job.trainer(network, seconds=seconds if timed else None, judged=False, checkpoints=checkpoints)
    result = trainer.fit(resume=True, max_seconds=math.inf if timed else seconds)
    if result.steps < FEWEST_STEPS or result.stop_reason != "budget":
        return None
    took = seconds if timed and job.training.max_epochs is None else result.seconds
    return _judge(job, network, validation, rung, took, result)


def _judge(job: Job, network: Network, validation: Split, rung: int, seconds: float, result: TrainingResult) -> TrialResult:
    """What a trained network shows.

    Raises:
        DivergedError: an output is no finite number.
    """
    task, errors = job.task, list[Tensor]()
    measured = evaluate(
        network,
        task,
        validation,
        replicates=REPLICATES,
        precision=judging_precision(job),
        observe=lambda output, target: errors.append(errors_of(task, output, target).values),
    ).estimates
    estimate = measured[task.primary]
    sign = 1 if task.higher_is_better else -1
    tie = measured.get(task.tie_breaker or "")
    return TrialResult(
        rung=rung,
        seconds=seconds,
        steps=result.steps,
        samples_per_second=result.samples_per_second,
        flops=float(result.steps * job.training.batch_size * job.count.training_flops),
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        score=sign * estimate.value,
        standard_error=(estimate.high - estimate.low) / 3.92,
        loss=tie.value if tie else -sign * estimate.value,
        parameters=job.count.total_parameters,
        size=sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values()),
        latency=_latency(job, network, LATENCY_SHARE * seconds),
        errors=pack(torch.cat(errors)),
    )


def _latency(job: Job, network: Network, most: float) -> float:
    """Median seconds of a forward pass on one example, timed for about `most` seconds."""
    batch = job.dataset.splits["validation"].gather(torch.zeros(1, dtype=torch.int64))
    return latency(network, batch.to(next(network.parameters()).device).inputs, seconds=min(most, LATENCY_SECONDS)).median
