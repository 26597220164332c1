"""`select`: which family, with which settings, is best on some data for a budget."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelwright.core.errors import InputError, import_extra
from modelwright.core.run import Run, write_atomic
from modelwright.core.units import Budget, format_duration
from modelwright.metrics.estimate import Estimate, show
from modelwright.training.machine import prepare_machine
from modelwright.workflows.build import COMPARISON_SHARE, left_for_training, train_winner
from modelwright.workflows.candidates import plain_recipe
from modelwright.workflows.contest import Asked, Contest, Found
from modelwright.workflows.finish import Outcome
from modelwright.workflows.pareto_plot import draw
from modelwright.workflows.recipe import Recipe, dump_recipe
from modelwright.workflows.reporter import Reporter
from modelwright.workflows.standings import Standings
from modelwright.workflows.study import import_ahead
from modelwright.workflows.train import train as train_run

REPORT_SECONDS = 2.0
"""For drawing the plot and writing the report, as seen on machines of 2026."""
LEAST_SHARE = 0.2
"""A budget of which less is left for the search than this is too small."""
STUDY, PLOT = "study.sqlite3", "pareto.png"
"""Files of the folder."""


@dataclass(frozen=True)
class Selection:
    """What a search came to.

    Attributes:
        folder: where everything lies.
        report: as in its `trials.json`.
        seconds: from the beginning of the command to its end.
        outcome: of the winner's training, if that was asked for.
    """

    folder: Path
    report: dict[str, Any]
    seconds: float
    outcome: Outcome | None = None

    def to_json(self) -> dict[str, Any]:
        """`folder`, `recipe`, `seconds`, the report, and `outcome`."""
        outcome = None if self.outcome is None else self.outcome.to_json()
        return {
            "folder": str(self.folder),
            "recipe": str(Run(self.folder).recipe),
            "seconds": self.seconds,
            **self.report,
            "outcome": outcome,
        }


def select(
    data: str | None = None,
    *,
    budget: str | Budget | None = None,
    families: Sequence[str] | None = None,
    output: Path | str | None = None,
    storage: str | None = None,
    study: str | None = None,
    train: bool = False,
    settings: Iterable[str] = (),
    changes: Mapping[str, Any] | None = None,
    resume: Path | str | None = None,
    reporter: Reporter | None = None,
    started: float | None = None,
) -> Selection:
    """Compare families and their settings at equal compute, and recommend a recipe.

    Args:
        data: a file, a folder, or the name of a set.
        budget: in seconds (`90s`, `5m`, `2h`), everything included.
        families: compare only these.
        output: the folder to make.
        storage: an Optuna storage URL, or `journal:PATH`, that several processes share; a SQLite file in the folder by default.
        study: its name in a shared storage; made of the data by default.
        train: whether part of the budget goes to training the best recipe afresh, and proving it on the test split.
        settings: `dotted.key=value` settings that stay as they are in every trial.
        changes: dotted keys with values, likewise.
        resume: the folder of an interrupted search to go on with; takes nothing else but the storage, whose password is not kept.
        reporter: whom to tell.
        started: `time.monotonic()` from which the budget counts; now by default.

    Raises:
        InputError: data, budget, settings or storage are wrong.
        RunInterrupted: the user asked to stop; everything is saved.
    """
    started = time.monotonic() if started is None else started
    reporter = reporter or Reporter()
    prepare_machine()
    if resume is not None:
        return _resume(Run.open(resume), storage, reporter, started)
    if data is None:
        raise InputError("no data was given", expected="a file, a folder, or a set's name", remedy="Or go on with a search by --resume")
    if budget is None:
        raise InputError("no budget was given", expected="a time, like 90s, 5m or 2h", remedy="Give one with --budget")
    asked = Asked.of("select", data, budget, families, output, settings, changes, storage=storage, study=study, train=train)
    return _select(asked, None, reporter, started)


def _select(asked: Asked, run: Run | None, reporter: Reporter, started: float) -> Selection:
    """Read, search, report, and train the winner if asked to.

    Args:
        asked: by the user.
        run: the interrupted search's folder, if this goes on with one.
        reporter: whom to tell.
        started: from when the budget counts.
    """
    import_ahead(asked.storage)
    plots = _can_plot(reporter)
    contest = Contest.of(asked, asked.storage or (None if run is None else _file(run)), reporter)
    if run is not None:
        # What had to be read and timed again is not counted twice.
        started = time.monotonic() - asked.spent
    if asked.seconds is None:
        contest = contest.within(_search_seconds(contest, started))
    new = run is None
    run = run or Run.create(f"{contest.name}-select", None if asked.output is None else Path(asked.output))
    with run.interruptible("select", new=new):
        reporter.attach(run.log)
        seconds = format_duration(contest.asked.seconds or 0.0)
        joined = f" · joins the study {contest.asked.study}" if asked.storage and contest.study is not None else ""
        reporter.say("compare", f"{' · '.join(contest.probed)} and their settings at equal compute, {seconds} in all{joined}")
        found = contest.search(run, asked.storage or _file(run), reporter, started)
        standings = Standings.of(found, contest.spaces)
        _write(run, contest, found, standings)
        if plots:
            write_atomic(run.path / PLOT, draw(standings, contest.name))
        _show(run, standings, plots, reporter)
        outcome = None
        if asked.train:
            reporter.say("winner", f"{standings.best.trial.label} is trained afresh with what is left of {asked.budget}")
            # What a process left there that was stopped before training began.
            shutil.rmtree(run.winner.path, ignore_errors=True)
            outcome = train_winner(Run.create(contest.name, run.winner.path), found, reporter, started)
    return Selection(run.path, standings.to_json(), time.monotonic() - started, outcome)


def _file(run: Run) -> str:
    """The storage in a folder."""
    return f"sqlite:///{(run.path / STUDY).resolve()}"


def _can_plot(reporter: Reporter) -> bool:
    """Whether matplotlib is there; it is imported now, for the same reason."""
    try:
        import_extra("matplotlib.figure", "matplotlib", "report")
    except InputError as error:
        reporter.say("note", f"no plot is drawn: {error}")
        return False
    return True


def _search_seconds(contest: Contest, started: float) -> float:
    """What the search may take of the budget.

    Raises:
        InputError: that is too little.
    """
    if contest.asked.train:
        return COMPARISON_SHARE * (left_for_training(contest.any_probe, started) - REPORT_SECONDS)
    budget, spent = contest.asked.budget.amount, time.monotonic() - started
    left = budget - spent - REPORT_SECONDS
    if left < LEAST_SHARE * budget:
        raise InputError(
            f"a budget of {contest.asked.budget} is too small: reading and probing took {spent:.1f} s",
            remedy=f"Give at least {format_duration(3 * (spent + REPORT_SECONDS))}",
        )
    return left


def _write(run: Run, contest: Contest, found: Found, standings: Standings) -> None:
    """The recommended recipe and the trials."""
    best = standings.best
    score = show(standings.metric, Estimate(best.result.value, best.result.low, best.result.high))
    head = (
        f"# Recommended by modelwright select: {best.trial.label}, the best of {len(standings.rows)} trials.\n"
        f"# {standings.metric} {score} on {found.judged:,} validation examples after {format_duration(best.result.seconds)} of training.\n"
        f"# {standings.verdict()}.\n"
    )
    write_atomic(run.recipe, head + dump_recipe(recommended(contest.asked, found)))
    run.write_json(run.standings, standings.to_json())


def recommended(asked: Asked, found: Found) -> Recipe:
    """The winner's recipe, for any machine: what was measured on this one is left to be measured again."""
    recipe = found.job.recipe
    plain = plain_recipe(asked.values, recipe.model.family).training
    training = recipe.training.replace(precision=plain.precision, memory_format=plain.memory_format, compile=plain.compile)
    return recipe.replace(name=f"{recipe.name}-{recipe.model.family}", training=training)


def _show(run: Run, standings: Standings, plots: bool, reporter: Reporter) -> None:
    reporter.show(standings.table())
    reporter.show(standings.front_table())
    reporter.say("tie" if standings.tied else "verdict", standings.verdict())
    plot = f" · {PLOT}" if plots else ""
    reporter.say("ship", f"{run.recipe} · {run.standings.name}{plot}")
    reporter.show(f" Train it: modelwright train {run.recipe}")


def _resume(run: Run, storage: str | None, reporter: Reporter, started: float) -> Selection:
    """Go on with an interrupted search, or with the winner's training; one that is done already is shown."""
    if not run.comparison.is_file():
        raise InputError("holds no search", where=run.path, expected="a folder made by select")
    asked = Asked.saved(run, "select")
    asked = replace(asked, storage=storage or asked.storage)
    if not run.standings.is_file() or (asked.train and not run.winner.state.is_file()):
        return _select(asked, run, reporter, started)
    outcome = train_run(resume=run.winner.path, reporter=reporter, started=started - asked.spent) if asked.train else None
    found = json.loads(run.standings.read_text(encoding="utf-8"))
    reporter.say("done", f"{run.path} is finished already: {found['verdict']}")
    return Selection(run.path, found, time.monotonic() - started, outcome)
