"""`train`: one network as a recipe says, judged, in a run folder."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelwright.core.errors import InputError, RunInterrupted
from modelwright.core.run import Run, write_atomic
from modelwright.core.units import Budget, format_bytes, format_count, format_duration
from modelwright.data.report import write_quarantine
from modelwright.evaluation.examplewise import ErrorLog
from modelwright.evaluation.summary import Evaluation, label
from modelwright.metrics.estimate import PROPORTIONS, Estimate, show
from modelwright.models.network import Network
from modelwright.planning.range import Range
from modelwright.training.hook import Hook
from modelwright.training.hooks.metrics_log import MetricsLog
from modelwright.training.hooks.progress import ProgressBar
from modelwright.training.hooks.tensorboard import TensorBoard
from modelwright.training.machine import prepare_machine
from modelwright.training.memory import peak_bytes, reset_peak
from modelwright.training.result import TrainingResult
from modelwright.training.trainer import FORWARD_SHARE
from modelwright.training.waiting import waited_seconds
from modelwright.workflows.expect import MEMORY_SPREAD, Expectation, device_name, expect
from modelwright.workflows.finish import Outcome, keep_errors, prove, say_shipped, ship, show_evaluation
from modelwright.workflows.here import CROWDED, MEMORY, STEP, WAITING, remember
from modelwright.workflows.job import Job, Probe, probe, read
from modelwright.workflows.judge import Baselines, affordable, fit_baselines, judge, judging_seconds, what_is_judged
from modelwright.workflows.recipe import Recipe, chosen_recipe, dump_recipe, load_recipe
from modelwright.workflows.report import report_in_time, report_seconds
from modelwright.workflows.reporter import Reporter
from modelwright.workflows.samples import Samples, write

BASELINE_SHARE = 0.06
"""Share of a budget of seconds that baselines may take."""
BASELINE_SECONDS = 10.0
"""What baselines may take beside a budget that is not one of seconds."""
SAMPLE_LINES = 8
"""Lines of a language model's sample that are shown."""
TIME_SPREAD = 0.25
"""Relative half-width of the interval of a time forecast."""


def train(
    recipe: str | Path | Recipe | None = None,
    *,
    output: Path | str | None = None,
    settings: Iterable[str] = (),
    changes: Mapping[str, Any] | None = None,
    resume: Path | str | None = None,
    reporter: Reporter | None = None,
    started: float | None = None,
) -> Outcome:
    """Train one network, judge it, and write a run folder.

    Args:
        recipe: a `Recipe`, a recipe file, a ready recipe's name, or data (then `model.family` must be among the settings).
        output: the run folder to make.
        settings: `dotted.key=value` overrides.
        changes: dotted keys with values, likewise.
        resume: an interrupted run to go on with; takes nothing else.
        reporter: whom to tell; nobody by default.
        started: `time.monotonic()` from which a budget of seconds counts; now by default.

    Raises:
        InputError: recipe, data or settings are wrong.
        DivergedError: the loss stopped being a number.
        RunInterrupted: the user asked to stop; everything is saved.
    """
    started = time.monotonic() if started is None else started
    reporter = reporter or Reporter()
    prepare_machine()
    if resume is not None:
        run = Run.open(resume)
        with run.interruptible("train", new=False):
            return _resume(run, reporter, started)
    if recipe is None:
        raise InputError(
            "no recipe was given", expected="a recipe file, a ready recipe's name, or data", remedy="Or go on with a run by --resume"
        )
    chosen = recipe if isinstance(recipe, Recipe) else chosen_recipe(recipe, settings, changes or {})
    dataset = read(chosen, reporter)
    timed = probe(Job.make(chosen, dataset))
    timed = replace(timed, job=timed.job.on(affordable(dataset, [timed])))
    run = Run.create(chosen.name, None if output is None else Path(output))
    with run.interruptible("train"):
        return run_job(run, timed, reporter, started)


def run_job(
    run: Run,
    timed: Probe,
    reporter: Reporter,
    started: float,
    *,
    score: Range | None = None,
    details: Mapping[str, Any] | None = None,
) -> Outcome:
    """Forecast, train, prove and ship a probed job in a new run folder.

    Args:
        run: an empty run folder.
        timed: the job, resolved.
        reporter: whom to tell.
        started: `time.monotonic()` from which a budget of seconds counts.
        score: forecast of the primary metric on the test split, if there is one.
        details: more for the outcome and the run's state.
    """
    job = timed.job
    reporter.attach(run.log)
    write_atomic(run.recipe, dump_recipe(job.recipe))
    if job.dataset.report.quarantine:
        write_quarantine(job.dataset.report, run.quarantine)
    expected = expect(timed)
    baselines = fit_baselines(job, _baseline_seconds(job))
    network = job.network()
    seconds = _training_seconds(job, network, baselines, started, reported=run.comparison.is_file())
    state = {
        "digest": job.dataset.digest(),
        "report": job.dataset.report.to_dict(),
        "data_schema": job.dataset.schema.model_dump(mode="json"),
        "held_out": job.dataset.held_out_sizes,
        "training_seconds": seconds,
        "details": dict(details or {}),
        "plain": {} if expected is None else expected.plain,
    }
    run.write_json(run.state, state)
    if (told := what_is_judged(job.dataset)) is not None:
        reporter.say("note", told)
    _forecast(run, timed, seconds, score, expected, reporter)
    state["memory_counted"] = reset_peak()
    result = _fit(run, job, network, seconds, reporter, resume=False)
    return _finish(run, job, network, result, baselines, reporter, started, state)


def _baseline_seconds(job: Job) -> float:
    """What all baselines together may take."""
    budget = job.training.budget.seconds
    return BASELINE_SECONDS if budget is None else BASELINE_SHARE * budget


def _training_seconds(job: Job, network: Network, baselines: Baselines, started: float, *, reported: bool) -> float | None:
    """What a budget of seconds leaves for the loop, judging and, if there is to be one, the report set aside; None for another budget.

    Raises:
        InputError: it leaves nothing.
    """
    budget = job.training.budget.seconds
    if budget is None:
        return None
    spent = time.monotonic() - started
    reserve = judging_seconds(job, network, baselines) + (report_seconds(budget) if reported else 0.0)
    left = budget - spent - reserve
    if left < 0.05 * budget:
        raise InputError(
            f"a budget of {Budget(budget, 'seconds')} is spent before training: reading and preparing took {spent:.1f} s, judging needs {reserve:.1f} s",
            remedy=f"Give at least {format_duration(2 * (spent + reserve))}",
        )
    return left


def _forecast(run: Run, timed: Probe, seconds: float | None, score: Range | None, planned: Expectation | None, reporter: Reporter) -> None:
    """Write down, and say, what is expected."""
    job, ledger = timed.job, run.ledger
    ledger.forecast("parameters", "1", job.count.total_parameters, job.count.total_parameters, job.count.total_parameters)
    expected = timed.training_seconds(seconds)
    low, high = (0.9, 1.02) if expected == seconds else (1 - TIME_SPREAD, 1 + TIME_SPREAD)
    ledger.forecast("training time", "s", expected, low * expected, high * expected)
    parts = [f"{job.family} {format_count(job.count.total_parameters)} parameters"]
    if score is not None:
        metric = job.task.primary
        ledger.forecast(f"test {metric}", _unit(job), score.value, score.low, score.high)
        shown = show(metric, Estimate(score.value, score.low, score.high))
        parts.append(f"test {label(metric)} {shown}")
    if planned is not None:
        ledger.forecast(STEP, "s", planned.seconds.value, planned.seconds.low, planned.seconds.high)
        ledger.forecast(MEMORY, "B", planned.memory, planned.memory / MEMORY_SPREAD, planned.memory * MEMORY_SPREAD)
        parts.append(format_bytes(planned.memory))
    parts += [f"{format_duration(expected)} of training", job.speed(timed.samples_per_second), job.training.precision]
    reporter.say("forecast", " · ".join(parts))


def _hooks(run: Run, job: Job, reporter: Reporter) -> list[Hook]:
    """What watches the run."""
    board = TensorBoard(run.tensorboard, notice=lambda line: reporter.say("note", line), schedule=job.training.schedule.build())
    hooks: list[Hook] = [MetricsLog(run.metrics), board]
    if reporter.visible:
        hooks.append(ProgressBar(" train    ", percent=job.task.primary in PROPORTIONS))
    return hooks


def _fit(run: Run, job: Job, network: Network, seconds: float | None, reporter: Reporter, *, resume: bool) -> TrainingResult:
    samples = Samples(run.samples, job)
    hooks = [samples, *_hooks(run, job, reporter)]
    trainer = job.trainer(network, seconds=seconds, hooks=hooks, checkpoints=run.checkpoints, observe=samples)
    waited = waited_seconds()
    try:
        result = trainer.fit(resume=resume)
    except RunInterrupted as stop:
        raise RunInterrupted(f"{str(stop).rstrip('.')}. Go on with: modelwright train --resume {run.path}") from None
    best = f" · best {label(job.task.primary)} on validation {result.best.metrics[job.task.primary]:.4g}" if result.best else ""
    reporter.say("train", f"{result.steps:,} steps in {format_duration(result.seconds)} · {job.speed(result.samples_per_second)}{best}")
    if waited is not None:
        _measure_waiting(run, ((waited_seconds() or waited) - waited) / max(result.seconds, 1e-9), reporter)
    return result


def _measure_waiting(run: Run, share: float, reporter: Reporter) -> None:
    """Write down the share of the training's time in which other programs had its processor, and say so where they had it long."""
    run.ledger.measure(WAITING, "1", share)
    if share > CROWDED:
        reporter.say(
            "note", f"other programs kept this training waiting for {share:.0%} of its time; its speed tells nothing for later forecasts"
        )


def _finish(
    run: Run,
    job: Job,
    network: Network,
    result: TrainingResult,
    baselines: Baselines,
    reporter: Reporter,
    started: float,
    state: Mapping[str, Any],
) -> Outcome:
    ledger = run.ledger
    ledger.measure(STEP, "s", job.training.batch_size / result.samples_per_second)
    if state.get("memory_counted") and peak_bytes():
        ledger.measure(MEMORY, "B", peak_bytes())
    errors = ErrorLog(job.task)
    evaluation = judge(job, network, baselines, errors)
    size = ship(run, job, network, evaluation)
    keep_errors(run, job, errors)
    ledger.measure("parameters", "1", sum(p.numel() for p in network.parameters()))
    ledger.measure("training time", "s", result.seconds)
    _measure_scores(run, job, evaluation)
    prove(run, evaluation, reporter)
    say_shipped(run, size, reporter)
    reporter.show(f" {evaluation.first_line()}")
    if job.dataset.schema.causal:
        lines = [line for line in write(job, network).splitlines() if line.strip()]
        reporter.say("sample", "\n".join(lines[:SAMPLE_LINES]))
    ledger.measure("total time", "s", time.monotonic() - started)
    if run.comparison.is_file():
        report_in_time(run, job, network, reporter, started, each=FORWARD_SHARE / result.samples_per_second)
        ledger.measure("total time", "s", time.monotonic() - started)
    seconds = time.monotonic() - started
    remember(run, job.family, device_name(), state.get("plain", {}))
    more = {
        "family": job.family,
        "steps": result.steps,
        "stop_reason": result.stop_reason,
        "training_seconds": result.seconds,
        "samples_per_second": result.samples_per_second,
    }
    return Outcome(run, evaluation, seconds, {**state["details"], **more})


def _measure_scores(run: Run, job: Job, evaluation: Evaluation) -> None:
    run.ledger.measure(f"{evaluation.judged} {evaluation.primary}", _unit(job), evaluation.score.value)


def _unit(job: Job) -> str:
    """The unit of the primary metric: that of the target, or 1 for a share of examples and for the losses of a text."""
    return "1" if job.task.primary in PROPORTIONS or job.dataset.schema.causal else job.dataset.schema.target.name


def _resume(run: Run, reporter: Reporter, started: float) -> Outcome:
    """Go on with an interrupted run; one that is done already is shown."""
    if run.evaluation.exists():
        evaluation = Evaluation.from_json(json.loads(run.evaluation.read_text(encoding="utf-8")))
        reporter.say("done", f"{run.path} is finished already")
        show_evaluation(evaluation, reporter)
        return Outcome(run, evaluation, 0.0, {})
    if not run.state.is_file():
        compared = f"Go on with: modelwright build --resume {run.path}" if run.comparison.is_file() else None
        raise InputError("was stopped before training began", where=run.path, remedy=compared or "Remove the folder and start again")
    recipe = load_recipe(run.recipe)
    dataset = read(recipe, reporter)
    state = json.loads(run.state.read_text(encoding="utf-8"))
    if dataset.digest() != state["digest"]:
        raise InputError("the data changed since the run began", where=recipe.data.path, remedy="Bring the data back, or start a new run")
    job = replace(Job.make(recipe, dataset.cut(state["held_out"])), start=run.start if run.start.exists() else None)
    reporter.attach(run.log)
    baselines = fit_baselines(job, _baseline_seconds(job))
    network = job.network()
    result = _fit(run, job, network, state["training_seconds"], reporter, resume=True)
    return _finish(run, job, network, result, baselines, reporter, started, state)
