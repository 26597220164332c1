"""`build`: from data and a budget to a proven model."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelwright.core.config import validate
from modelwright.core.errors import InputError, RunInterrupted
from modelwright.core.run import Run
from modelwright.core.units import Budget, format_duration
from modelwright.data.dataset import Dataset
from modelwright.metrics.estimate import PROPORTIONS
from modelwright.planning.curve import CurvePoint, Forecast, forecast_error_rate, forecast_loss
from modelwright.training.machine import prepare_machine
from modelwright.workflows.candidates import candidates, plain_recipe, wanted_families
from modelwright.workflows.compare import Comparison, Trial
from modelwright.workflows.finish import Outcome
from modelwright.workflows.job import Job, Probe, probe, read
from modelwright.workflows.judge import affordable, judging_seconds
from modelwright.workflows.recipe import Recipe, apply, data_name
from modelwright.workflows.report import report_seconds
from modelwright.workflows.reporter import Reporter
from modelwright.workflows.train import BASELINE_SHARE, run_job
from modelwright.workflows.train import train as train_run

DEFAULT_BUDGET = Budget(120, "seconds")
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
    values: dict[str, Any] = {
        "name": data_name(str(data)),
        "data": {"path": str(data)},
        "training": {"budget": str(budget or DEFAULT_BUDGET)},
    }
    apply(values, settings, changes)
    asked = Budget.parse(values["training"]["budget"])
    if asked.seconds is None:
        raise InputError(
            f"build can't spend a budget of {asked}", expected="a time, like 90s, 5m or 2h", remedy="train takes other budgets"
        )
    model = values.get("model")
    named = model.get("family") if isinstance(model, dict) else model
    wanted = list(families or ([named] if named else []))
    plan = {"values": values, "families": wanted, "output": None if output is None else str(output)}
    return _build(plan, None, [], reporter, started)


def _build(plan: Mapping[str, Any], run: Run | None, done: list[Trial], reporter: Reporter, started: float) -> Outcome:
    """Read, compare, and hand the winner over.

    Args:
        plan: `values` of the recipes, `families`, `output`, and for a resumed build the comparison's `seconds` and the data's `digest`.
        run: the interrupted run, if this goes on with one.
        done: its trials.
        reporter: whom to tell.
        started: from when the budget counts.
    """
    first = plain_recipe(plan["values"], wanted_families(plan["families"], None)[0])
    dataset = read(first, reporter)
    digest = dataset.digest()
    if plan.get("digest", digest) != digest:
        raise InputError(
            "the data changed since the build began", where=first.data.path, remedy="Bring the data back, or start a new build"
        )
    plan = {**plan, "digest": digest}
    if "validation" not in dataset.splits:
        raise InputError("build needs a validation split to compare on", remedy="Leave data.validation above 0")
    names = wanted_families(plan["families"], dataset.schema)
    if not names:
        raise InputError(f"no family is known to suit a {dataset.schema.kind}", remedy="Name some with --family")
    probed = _probed(plan, names, dataset)
    plan = {**plan, "recipes": {name: timed.job.recipe.model_dump(mode="json") for name, timed in probed.items()}}
    seconds = plan.get("seconds") or _comparison_seconds(next(iter(probed.values())), started)
    new = run is None
    run = run or Run.create(first.name, None if plan["output"] is None else Path(plan["output"]))
    with run.interruptible("build", new=new):
        return _compare_and_train(run, plan, probed, seconds, done, reporter, started)


def _probed(plan: Mapping[str, Any], names: list[str], dataset: Dataset) -> dict[str, Probe]:
    """The candidates, of just the recipes that an interrupted build compared; on as much data as can be judged."""
    if saved := plan.get("recipes"):
        probed = {name: probe(Job.make(validate(Recipe, saved[name]), dataset)) for name in names}
    else:
        probed = candidates(plan["values"], names, dataset)
    within = affordable(dataset, list(probed.values()))
    held = min(timed.held for timed in probed.values())
    return {name: replace(timed, job=timed.job.on(within), held=held) for name, timed in probed.items()}


def _compare_and_train(
    run: Run, plan: Mapping[str, Any], probed: dict[str, Probe], seconds: float, done: list[Trial], reporter: Reporter, started: float
) -> Outcome:
    reporter.attach(run.log)
    reporter.say("compare", f"{' · '.join(probed)} at equal compute, {format_duration(seconds)} in all")
    best, comparison = _compare(run, plan, probed, seconds, done, reporter, started)
    timed = comparison.candidates[best]
    timed = replace(timed, job=timed.job.renamed(f"{timed.job.recipe.name}-{timed.job.family}"))
    score = _forecast(comparison, best, timed.job, started)
    details = {"winner": best, "comparison": [trial.model_dump() for trial in comparison.trials]}
    return run_job(run, timed, reporter, started, score=score, details=details)


def _comparison_seconds(timed: Probe, started: float) -> float:
    """The comparison's share of what will be left after judging and baselines.

    Raises:
        InputError: nothing is left.
    """
    budget = timed.job.training.budget.amount
    spent = time.monotonic() - started
    reserve = judging_seconds(timed.job, timed.job.network()) + BASELINE_SHARE * budget + report_seconds(budget)
    left = budget - spent - reserve
    if left < 0.2 * budget:
        raise InputError(
            f"a budget of {Budget(budget, 'seconds')} is too small: reading and probing took {spent:.1f} s, judging will take {reserve:.1f} s",
            remedy=f"Give at least {format_duration(3 * (spent + reserve))}",
        )
    return COMPARISON_SHARE * left


def _compare(
    run: Run, plan: Mapping[str, Any], probed: dict[str, Probe], seconds: float, done: list[Trial], reporter: Reporter, started: float
) -> tuple[str, Comparison]:
    """The comparison, saved after each trial, so that an interrupted one can go on."""

    def keep(trials: list[Trial]) -> None:
        state = {
            "plan": {**plan, "seconds": seconds},
            "spent": time.monotonic() - started,
            "trials": [trial.model_dump() for trial in trials],
        }
        run.write_json(run.comparison, state)

    keep(done)
    comparison = Comparison(probed, seconds, done, keep, reporter)
    try:
        return comparison.run(), comparison
    except (RunInterrupted, KeyboardInterrupt):
        keep(comparison.trials)
        raise RunInterrupted(
            f"Interrupted while comparing, after {len(comparison.trials)} trials, which are saved. Go on with: modelwright build --resume {run.path}"
        ) from None


def _forecast(comparison: Comparison, name: str, job: Job, started: float) -> Forecast | None:
    """What the winner will reach on the test split, from the trials of its family, its other size included; None without a test split.

    All of them, because the winner is the one that was luckiest on the validation split: alone, its score promises too much.
    """
    splits = job.dataset.splits
    if "test" not in splits:
        return None
    family = name.split()[0]
    trials = [trial for candidate in comparison.candidates if candidate.split()[0] == family for trial in comparison.curve(candidate)]
    trials.sort(key=lambda trial: trial.seconds)
    budget = job.training.budget.amount
    left = (1 - BASELINE_SHARE) * budget - (time.monotonic() - started)
    validation, test = len(comparison.validation), len(splits["test"])
    if job.task.primary in PROPORTIONS:
        points = [CurvePoint(trial.seconds, 1 - trial.value) for trial in trials]
        error = forecast_error_rate(points, left, validation, test, job.recipe.seed)
        return Forecast(1 - error.value, 1 - error.high, 1 - error.low)
    points = [CurvePoint(trial.seconds, trial.value) for trial in trials]
    relative = trials[-1].standard_error / max(trials[-1].value, 1e-12)
    return forecast_loss(points, left, relative, relative * math.sqrt(validation / test), job.recipe.seed)


def _resume(run: Run, reporter: Reporter, started: float) -> Outcome:
    """Go on with an interrupted build: with its comparison, or with the winner's training."""
    if run.state.is_file() or not run.comparison.is_file():
        return train_run(resume=run.path, reporter=reporter, started=started)
    try:
        state = json.loads(run.comparison.read_text(encoding="utf-8"))
        trials = [Trial.model_validate(trial) for trial in state["trials"]]
        spent, plan = float(state["spent"]), dict(state["plan"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"is damaged ({error})", where=run.comparison, remedy="Remove the folder and start again") from None
    return _build(plan, run, trials, reporter, started - spent)
