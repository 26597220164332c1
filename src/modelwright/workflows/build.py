"""`build`: from data and a budget to a proven model."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelwright.core.errors import InputError
from modelwright.core.run import Run
from modelwright.core.units import Budget, format_duration
from modelwright.metrics.estimate import PROPORTIONS, label
from modelwright.planning.curve import CurvePoint, forecast_error_rate, forecast_loss
from modelwright.planning.range import Range
from modelwright.training.machine import prepare_machine
from modelwright.workflows.board import Board
from modelwright.workflows.contest import Asked, Contest, Found
from modelwright.workflows.finish import Outcome
from modelwright.workflows.halving_rungs import trained
from modelwright.workflows.job import Probe, probe
from modelwright.workflows.judge import judging_seconds
from modelwright.workflows.length import best_length, lengths, may_be_too_long
from modelwright.workflows.report import report_seconds
from modelwright.workflows.reporter import Reporter
from modelwright.workflows.study import JOURNAL, TrialResult, import_ahead
from modelwright.workflows.train import BASELINE_SHARE, run_job
from modelwright.workflows.train import train as train_run

DEFAULT_BUDGET = Budget(120, "seconds")
TRIALS = "trials.journal"
"""The file of a build's study: an Optuna journal, which needs no database and is read in no time."""
COMPARISON_SHARE = 0.35
"""Share of what is left after reading that the comparison may take."""


def build(
    data: str | None = None,
    *,
    budget: str | Budget | None = None,
    families: Sequence[str] | None = None,
    output: Path | str | None = None,
    settings: Iterable[str] = (),
    changes: Mapping[str, Any] | None = None,
    resume: Path | str | None = None,
    reporter: Reporter | None = None,
    started: float | None = None,
) -> Outcome:
    """Compare the families that suit the data, forecast the winner's score, train it, prove it on the test split once.

    Args:
        data: a file, a folder, or the name of a set.
        budget: in seconds (`90s`, `5m`, `2h`), everything included.
        families: compare only these.
        output: the run folder to make.
        settings: `dotted.key=value` overrides of every candidate's recipe.
        changes: dotted keys with values, likewise.
        resume: an interrupted build to go on with; takes nothing else.
        reporter: whom to tell.
        started: `time.monotonic()` from which the budget counts; now by default.

    Raises:
        InputError: data, budget or settings are wrong.
        RunInterrupted: the user asked to stop; everything is saved.
    """
    started = time.monotonic() if started is None else started
    reporter = reporter or Reporter()
    prepare_machine()
    if resume is not None:
        return _resume(Run.open(resume), reporter, started)
    if data is None:
        raise InputError("no data was given", expected="a file, a folder, or a set's name", remedy="Or go on with a build by --resume")
    asked = Asked.of("build", data, budget or DEFAULT_BUDGET, families, output, settings, changes)
    return _build(asked, None, reporter, started)


def _build(asked: Asked, run: Run | None, reporter: Reporter, started: float) -> Outcome:
    """Read, compare, and hand the winner over.

    Args:
        asked: by the user.
        run: the interrupted run, if this goes on with one.
        reporter: whom to tell.
        started: from when the budget counts.
    """
    import_ahead(JOURNAL)
    contest = Contest.of(asked, None if run is None else _storage(run), reporter)
    if run is not None:
        # What had to be read and timed again is not counted twice.
        started = time.monotonic() - asked.spent
    if asked.seconds is None:
        contest = contest.within(COMPARISON_SHARE * left_for_training(contest.any_probe, started))
    new = run is None
    run = run or Run.create(contest.name, None if asked.output is None else Path(asked.output))
    with run.interruptible("build", new=new):
        reporter.attach(run.log)
        seconds = format_duration(contest.asked.seconds or 0.0)
        reporter.say("compare", f"{' · '.join(contest.probed)} at equal compute, {seconds} in all")
        found = contest.search(run, _storage(run), reporter, started)
        reporter.show(Board(found.job, found.plan.rungs, reporter).table(found.trials))
        return train_winner(run, found, reporter, started)


def _storage(run: Run) -> str:
    return f"{JOURNAL}{run.path / TRIALS}"


def train_winner(run: Run, found: Found, reporter: Reporter, started: float) -> Outcome:
    """Forecast the best trial's score and train it afresh, with what is left of the budget.

    Args:
        run: its folder.
        found: by the search.
        reporter: whom to tell.
        started: from when the budget counts.
    """
    job = found.job
    timed = probe(job.renamed(f"{job.recipe.name}-{job.family}"))
    timed, shown = _as_long_as_is_good(timed, found, reporter, started)
    score = _forecast(found, timed, started, shown)
    trials = [trial.model_dump(exclude={"results": {"__all__": {"errors"}}}) for trial in found.trials]
    return run_job(run, timed, reporter, started, score=score, details={"winner": found.best.label, "comparison": trials})


def _as_long_as_is_good(timed: Probe, found: Found, reporter: Reporter, started: float) -> tuple[Probe, TrialResult | None]:
    """The winner, with as many passes over few examples as are best and what it showed after them; as it is, and None, where the budget decides."""
    job = timed.job
    if not may_be_too_long(job):
        return timed, None
    left = job.training.budget.amount - (time.monotonic() - started) - _reserve(timed)
    tried = lengths(timed, left)
    if not tried:
        return timed, None
    reporter.say("length", f"tries {', '.join(map(str, tried[:-1]))} and {tried[-1]} passes over the training examples")
    validation = job.dataset.splits["validation"].sample(found.judged)
    best = best_length(timed, tried, left, lambda job, seconds: trained(job, validation, 0, seconds))
    if best is None:
        reporter.say("", "none of them says that the budget is too long")
        return timed, None
    epochs, shown = best
    metric = f"{label(job.task.primary)} on validation {shown.value:.4g}"
    reporter.say("", f"more of them are no better: training ends after {epochs} ({metric})")
    return replace(timed, job=job.replace(max_epochs=epochs)), shown


def left_for_training(timed: Probe, started: float) -> float:
    """What will be left of the budget after judging and baselines.

    Raises:
        InputError: nothing is left.
    """
    budget, spent, reserve = timed.job.training.budget.amount, time.monotonic() - started, _reserve(timed)
    left = budget - spent - reserve
    if left < 0.2 * budget:
        raise InputError(
            f"a budget of {Budget(budget, 'seconds')} is too small: reading and probing took {spent:.1f} s, judging will take {reserve:.1f} s",
            remedy=f"Give at least {format_duration(3 * (spent + reserve))}",
        )
    return left


def _reserve(timed: Probe) -> float:
    """Seconds of the budget that judging, baselines and the report will take."""
    budget = timed.job.training.budget.amount
    return judging_seconds(timed.job, timed.job.network()) + BASELINE_SHARE * budget + report_seconds(budget)


def _forecast(found: Found, timed: Probe, started: float, shown: TrialResult | None) -> Range | None:
    """What the winner will reach on the test split, from the rungs of the trials like it; None without a test split.

    All of them, because the winner is the one that was luckiest on the validation split: alone, its score promises too much. What a training of the
    very length has `shown` takes their place, where there was one; it may be lucky too.
    """
    job = timed.job
    splits = job.dataset.splits
    if "test" not in splits:
        return None
    rungs = sorted(found.curve(), key=lambda result: result.seconds) if shown is None else [shown]
    budget = job.training.budget.amount
    left = timed.training_seconds((1 - BASELINE_SHARE) * budget - (time.monotonic() - started)) if shown is None else shown.seconds
    validation, test = found.judged, len(splits["test"])
    if job.task.primary in PROPORTIONS:
        points = [CurvePoint(result.seconds, 1 - result.value) for result in rungs]
        error = forecast_error_rate(points, left, validation, test, job.recipe.seed)
        return Range(1 - error.value, 1 - error.high, 1 - error.low)
    points = [CurvePoint(result.seconds, result.value) for result in rungs]
    relative = rungs[-1].standard_error / max(rungs[-1].value, 1e-12)
    return forecast_loss(points, left, relative, relative * math.sqrt(validation / test), job.recipe.seed)


def _resume(run: Run, reporter: Reporter, started: float) -> Outcome:
    """Go on with an interrupted build: with its comparison, or with the winner's training."""
    if run.state.is_file() or not run.comparison.is_file():
        return train_run(resume=run.path, reporter=reporter, started=started)
    asked = Asked.saved(run, "build")
    return _build(asked, run, reporter, started)
