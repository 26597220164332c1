"""The trainer: *when* things happen in a training; what a step does is its step rule's matter."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from modelwright.core.batch import Batch
from modelwright.core.errors import RunInterrupted
from modelwright.training import checkpoint
from modelwright.training.config import TrainingConfig
from modelwright.training.device_peaks import peak_flops
from modelwright.training.hook import Hook, StepInfo
from modelwright.training.interrupt import StopSignal
from modelwright.training.pace import Clock, Evaluations, FixedPace, Pace, TimedPace
from modelwright.training.record import Record
from modelwright.training.result import Measurement, StopReason, TrainingResult
from modelwright.training.rule import StepOutcome, StepRule
from modelwright.training.speed import Speedometer
from modelwright.training.steps import plan_steps

Evaluate = Callable[[nn.Module], dict[str, float]]
"""From a network in evaluation mode to its metrics on the validation split, by name."""
FORWARD_SHARE = 1 / 3
"""A forward pass alone, as a share of a training step: the backward pass costs about twice as much."""


class Batches(Protocol):
    """What a trainer needs of a loader."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches in a pass over the split."""
        ...

    @property
    def split(self) -> SizedSplit:
        """Where the batches come from."""
        ...

    def batch(self, step: int) -> Batch:
        """The batch of a step, a pure function of it."""
        ...


class SizedSplit(Protocol):
    """Examples, counted."""

    def __len__(self) -> int: ...


class Trainer:
    """Trains a step rule's network within a budget.

    Args:
        config: budget, evaluations, stopping, checkpoints.
        rule: what a step does.
        loader: the training batches.
        evaluate: judges the evaluation network; None for a training without evaluations.
        primary: the metric of `evaluate` that decides.
        higher_is_better: the direction of `primary`.
        tie_breaker: the metric that decides where the primary one is equal, less of it being better.
        clearly_better: whether one network beats another by more than chance; unless it stops early, the best weights are restored only if they so beat the last.
        evaluation_samples: examples that `evaluate` goes through; with it the number of evaluations can be kept within their share.
        flops_per_sample: of forward and backward pass, for a budget of FLOPs and the share of the peak that is reached.
        tokens_per_sample: for a budget of tokens.
        deadline: for a budget of seconds: the time of `clock` at which the loop must have ended; without it, the budget counts from `fit`.
        hooks: watch the run.
        checkpoints: folder of the checkpoints; without it none are written.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        config: TrainingConfig,
        rule: StepRule,
        loader: Batches,
        *,
        evaluate: Evaluate | None = None,
        primary: str | None = None,
        higher_is_better: bool = True,
        tie_breaker: str | None = None,
        clearly_better: Callable[[nn.Module, nn.Module], bool] | None = None,
        evaluation_samples: int = 0,
        flops_per_sample: float | None = None,
        tokens_per_sample: float | None = None,
        deadline: float | None = None,
        hooks: Sequence[Hook] = (),
        checkpoints: Path | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        assert evaluate is None or primary is not None, "an evaluation needs a primary metric"
        self._config, self._rule, self._loader, self._evaluate = config, rule, loader, evaluate
        self._clearly_better = clearly_better
        self._hooks, self._checkpoints, self._clock, self._deadline = tuple(hooks), checkpoints, clock, deadline
        samples_per_step = len(loader.split) / loader.steps_per_epoch
        self._evaluations = Evaluations(config.evaluations, config.evaluation_share, FORWARD_SHARE * evaluation_samples / samples_per_step)
        self._total_steps = plan_steps(
            config.budget,
            samples_per_epoch=len(loader.split),
            steps_per_epoch=loader.steps_per_epoch,
            flops_per_sample=flops_per_sample,
            tokens_per_sample=tokens_per_sample,
            most_steps=config.most_steps(loader.steps_per_epoch),
        )
        self._record = Record(primary, higher_is_better, tie_breaker)
        self._speedometer = Speedometer(flops_per_sample, self._peak() if hooks and flops_per_sample else None)
        self._pace: Pace | None = None
        self._outcome = StepOutcome(math.nan, math.nan, math.nan)
        self._session = self._saved = 0.0

    def fit(self, *, resume: bool = False, until: float = 1.0, max_seconds: float = math.inf) -> TrainingResult:
        """Train until the budget is spent, or gains end, and leave the best weights in the rule's network.

        Args:
            resume: go on from the newest good checkpoint, if there is one.
            until: stop when this share of the run is done; a later call goes on from there. The schedule is that of the whole run.
            max_seconds: stop after so much time in this call, likewise.

        Raises:
            DivergedError: the loss or the gradient is no finite number.
            RunInterrupted: the user asked to stop; the state is saved if there is a folder for it.
            InputError: a checkpoint can't be written, or is of a run of another length.
        """
        self._start(resume)
        with StopSignal() as signal, self._watched():
            reason = self._loop(until, self._clock() + max_seconds, signal)
            if self._evaluate is not None and (not self._record.history or self._record.history[-1].step < self._record.step):
                self._measure()
            if signal.requested:
                raise self._interrupted()
            self._save()
        self._record.seconds = self._seconds()
        if reason in ("budget", "early stopping"):
            self._rule.adopt(self._weights_to_keep(reason))
        return self._record.result(reason)

    def _loop(self, until: float, limit: float, signal: StopSignal) -> StopReason:
        """The one training loop.

        while the budget lasts:
            learn from the batch of this step
            tell the hooks
            evaluate, if due; stop if gains have ended
            stop if the user asks for it
            save, if due
            stop if the asked share of the run, or time, is done
        """
        assert self._pace is not None
        pace, record = self._pace, self._record
        while not pace.finished(record.step):
            batch = self._speedometer.load(self._loader, record.step)
            self._outcome = self._rule.step(batch, record.step, pace.progress(record.step), pace.progress(record.step + 1))
            self._speedometer.stepped(batch)
            record.count(batch.size, self._outcome.loss)
            pace.stepped(record.step)
            self._tell_step()
            if pace.evaluation_due(record.step, record.evaluated_progress):
                self._measure()
                if self._gains_ended():
                    return "early stopping"
            if signal.requested:
                raise self._interrupted()
            if self._checkpoint_due():
                self._save()
            if pace.progress(record.step) >= until and not pace.finished(record.step):
                return "share"
            if self._clock() >= limit:
                return "seconds"
        return "budget"

    def _peak(self) -> float | None:
        return peak_flops(next(self._rule.network.parameters()).device, "bfloat16" if self._config.precision == "bfloat16" else "float32")

    def _weights_to_keep(self, reason: StopReason) -> dict[str, Tensor] | None:
        """The best weights if they are to be restored, as always after early stopping; None for the last ones."""
        best, last = self._record.best_weights, self._rule.evaluation_network()
        if not self._config.restore_best or best is None:
            return None
        if self._clearly_better is None or reason == "early stopping":
            return best
        rival = copy.deepcopy(last)
        rival.load_state_dict(best)
        return best if self._clearly_better(rival, last) else None

    def _start(self, resume: bool) -> None:
        found = checkpoint.latest(self._checkpoints) if resume and self._checkpoints is not None else None
        if found is not None:
            self._record.load_state(found.state["record"])
            self._rule.load_state(found.state["rule"])
        self._session = self._clock() - self._record.seconds
        if self._pace is None or found is not None:
            self._pace = self._new_pace()
        if found is not None:
            self._pace.load_state(found.state["pace"])
        self._saved = self._clock()
        self._pace.begin(self._record.step)

    def _new_pace(self) -> Pace:
        evaluations = self._evaluations if self._evaluate is not None else None
        if self._total_steps is not None:
            return FixedPace(self._total_steps, evaluations)
        spent = self._record.seconds
        deadline = self._deadline if self._deadline is not None else self._clock() + self._config.budget.amount - spent
        interval = self._config.checkpoint_interval if self._checkpoints is not None else math.inf
        most = self._config.most_steps(self._loader.steps_per_epoch)
        return TimedPace(deadline, self._clock, evaluations=evaluations, save_interval=interval, spent=spent, most_steps=most)

    def _measure(self) -> None:
        assert self._evaluate is not None
        assert self._pace is not None
        network = self._rule.evaluation_network()
        with self._set_aside():
            metrics = self._evaluate(network)
        self._pace.evaluated()
        info = self._info(metrics)
        self._record.measure(Measurement(info.step, info.progress, info.seconds, info.samples, metrics), network)
        for hook in self._hooks:
            hook.on_evaluation(info)

    def _gains_ended(self) -> bool:
        patience = self._config.early_stopping
        return patience is not None and self._record.stale_evaluations >= patience

    def _checkpoint_due(self) -> bool:
        return self._checkpoints is not None and self._clock() - self._saved >= self._config.checkpoint_interval

    def _save(self) -> None:
        if self._checkpoints is None or self._pace is None:
            return
        with self._set_aside():
            self._record.seconds = self._seconds()
            state = {"record": self._record.state(), "rule": self._rule.state(), "pace": self._pace.state()}
            checkpoint.save(self._checkpoints, self._record.step, state)
        self._saved = self._clock()
        self._pace.saved()

    def _interrupted(self) -> RunInterrupted:
        self._save()
        kept = f"its state lies in {self._checkpoints}" if self._checkpoints is not None else "nothing was to be saved"
        return RunInterrupted(f"Interrupted after step {self._record.step}; {kept}.")

    @contextmanager
    def _set_aside(self) -> Iterator[None]:
        """Count the time of the block as no training."""
        start = self._clock()
        try:
            yield
        finally:
            self._record.aside_seconds += self._clock() - start

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            for hook in self._hooks:
                hook.on_start(self._info())
            yield
        finally:
            for hook in self._hooks:
                hook.on_end(self._info())

    def _tell_step(self) -> None:
        if self._hooks:
            info = self._info()
            for hook in self._hooks:
                hook.on_step(info)

    def _seconds(self) -> float:
        return self._clock() - self._session

    def _info(self, metrics: dict[str, float] | None = None) -> StepInfo:
        assert self._pace is not None
        step = self._record.step
        return StepInfo(
            step=step,
            total_steps=self._pace.total_steps,
            epoch=step / self._loader.steps_per_epoch,
            progress=self._pace.progress(step),
            samples=self._record.samples,
            seconds=self._seconds(),
            loss=self._outcome.loss,
            learning_rate=self._outcome.learning_rate,
            grad_norm=self._outcome.grad_norm,
            metrics=metrics,
            primary=self._record.primary,
            speed=self._speedometer.read(),
        )
