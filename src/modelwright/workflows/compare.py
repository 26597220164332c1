"""The comparison: families at equal compute, weak ones dropped early, the sizes of the best one last."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from pydantic import BaseModel, ConfigDict
from rich.live import Live
from rich.table import Table

from modelwright.core.errors import DivergedError, InputError
from modelwright.core.units import format_count, format_duration
from modelwright.data.split import Split
from modelwright.evaluation.evaluate import evaluate
from modelwright.evaluation.summary import label
from modelwright.metrics.estimate import PROPORTIONS
from modelwright.planning.halving import plan_rounds, rank
from modelwright.training.trainer import FORWARD_SHARE
from modelwright.workflows.job import Job, Probe, probe
from modelwright.workflows.judge import FEWEST_JUDGED, OVERLAP, Thoroughness
from modelwright.workflows.reporter import Reporter

SIZE_SHARE = 0.2
"""Share of the comparison that goes to trying a larger size of the best family."""
FEWEST_STEPS = 20
"""A trial of fewer steps tells nothing."""
REPLICATES = 100
JUDGED_SHARE = 0.1
"""Share of a trial's time that judging it may take."""


class Trial(BaseModel):
    """A short, complete training of one candidate, and what it reached on the validation split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidate: str
    """The family, with its size if that is not the usual one."""
    seconds: float
    """What it could spend."""
    steps: int
    samples_per_second: float
    parameters: int
    value: float
    """The primary metric."""
    score: float
    """The same, turned so that more is better."""
    standard_error: float
    loss: float
    """Breaks ties between scores."""


def _affordable(candidates: dict[str, Probe], seconds: float) -> Split:
    """The validation split; of a text, as much of it as the slowest candidate can be judged on in a small part of a trial's `seconds`."""
    dataset = next(iter(candidates.values())).job.dataset
    split = dataset.splits["validation"]
    if not Thoroughness.of(dataset.schema).within_budget:
        return split
    slowest = min(timed.samples_per_second for timed in candidates.values())
    return split.sample(max(FEWEST_JUDGED, round(JUDGED_SHARE * seconds * slowest / (OVERLAP * FORWARD_SHARE))))


class Comparison:
    """Runs the rounds of a comparison, and goes on where an interrupted one stopped.

    Args:
        candidates: by name, probed.
        seconds: for all trials.
        done: trials of the interrupted comparison.
        keep: called with all trials after each one.
        reporter: whom to tell.
    """

    def __init__(
        self, candidates: dict[str, Probe], seconds: float, done: Sequence[Trial], keep: Callable[[list[Trial]], None], reporter: Reporter
    ) -> None:
        self.candidates, self.trials = dict(candidates), list(done)
        self.validation = _affordable(candidates, min(entry.seconds for entry in plan_rounds(len(candidates), (1 - SIZE_SHARE) * seconds)))
        self._seconds, self._keep, self._reporter = seconds, keep, reporter
        self._live: Live | None = None

    def run(self) -> str:
        """All rounds.

        Returns:
            The name of the best candidate.

        Raises:
            InputError: no candidate can be trained in the time, or all diverge.
        """
        console = self._reporter.console
        live = Live(self.table(), console=console, auto_refresh=False, transient=True) if console and console.is_terminal else None
        with live or nullcontext():
            self._live = live
            names = list(self.candidates)
            for entry in plan_rounds(len(names), (1 - SIZE_SHARE) * self._seconds):
                trials = [trial for name in names[: entry.entrants] if (trial := self._trial(name, entry.seconds))]
                if not trials:
                    raise InputError(
                        "no family could be trained in its share of the budget",
                        remedy="Give a larger --budget, or if they diverged a lower training.optimizer.learning_rate",
                    )
                names = [trial.candidate for trial in rank(trials)]
                last = entry.seconds
            best = self._larger(names[0], last)
        self._reporter.show(self.table())
        return best

    def curve(self, name: str) -> list[Trial]:
        """The trials of one candidate, the cheapest first."""
        return sorted((trial for trial in self.trials if trial.candidate == name), key=lambda trial: trial.seconds)

    def _larger(self, name: str, seconds: float) -> str:
        """Try the best candidate at twice its width; the better of the two."""
        job = self.candidates[name].job
        wide = job.recipe.model.scaled(width=2)
        larger = f"{name} x2"
        if wide == job.recipe.model or SIZE_SHARE * self._seconds < 0.5 * seconds:
            return name
        self.candidates[larger] = probe(Job.make(job.recipe.replace(model=wide), job.dataset))
        trial = self._trial(larger, min(seconds, SIZE_SHARE * self._seconds))
        rival = self.curve(name)[-1]
        return rank([rival, trial])[0].candidate if trial else name

    def _trial(self, name: str, seconds: float) -> Trial | None:
        """Train a candidate afresh for `seconds`; None if that is too short for it."""
        for trial in self.trials:
            if trial.candidate == name and math.isclose(trial.seconds, seconds, rel_tol=0.2):
                return trial
        timed = self.candidates[name]
        if seconds / timed.step_seconds < FEWEST_STEPS:
            return None
        job = timed.job.replace(evaluations=1, early_stopping=None, restore_best=False, compile=False)
        network = job.network()
        try:
            result = job.trainer(network, seconds=seconds, judged=False).fit()
        except DivergedError:
            self._reporter.say("dropped", f"{name} diverged")
            return None
        measured = evaluate(network, job.task, self.validation, replicates=REPLICATES).estimates
        estimate = measured[job.task.primary]
        sign = 1 if job.task.higher_is_better else -1
        tie = measured.get(job.task.tie_breaker or "")
        trial = Trial(
            candidate=name,
            seconds=seconds,
            steps=result.steps,
            samples_per_second=result.samples_per_second,
            parameters=job.count.total_parameters,
            value=estimate.value,
            score=sign * estimate.value,
            standard_error=(estimate.high - estimate.low) / 3.92,
            loss=tie.value if tie else -sign * estimate.value,
        )
        self.trials.append(trial)
        self._keep(self.trials)
        if self._live:
            self._live.update(self.table(), refresh=True)
        return trial

    def table(self) -> Table:
        """A row a candidate, a column a round."""
        columns = sorted({trial.seconds for trial in self.trials})
        metric = label(next(iter(self.candidates.values())).job.task.primary)
        table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
        for header in ("   ", "family", "parameters", "speed", *(f"{metric} in {format_duration(seconds)}" for seconds in columns)):
            table.add_column(header, justify="left" if header in ("   ", "family") else "right")
        leader = (
            rank([max(self.curve(name), key=lambda t: t.seconds) for name in self.candidates if self.curve(name)])[0].candidate
            if self.trials
            else ""
        )
        for name, timed in self.candidates.items():
            by_seconds = {trial.seconds: trial for trial in self.curve(name)}
            cells = [self._cell(by_seconds.get(seconds)) for seconds in columns]
            row = (name, format_count(timed.job.count.total_parameters), timed.job.speed(timed.samples_per_second))
            table.add_row("", *row, *cells, style="bold" if name == leader else None)
        return table

    def _cell(self, trial: Trial | None) -> str:
        if trial is None:
            return ""
        return f"{trial.value:.2%}" if next(iter(self.candidates.values())).job.task.primary in PROPORTIONS else f"{trial.value:.4g}"
