"""The board: what a person sees of a search while it goes on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.live import Live
from rich.table import Table

from modelwright.core.units import format_count, format_duration
from modelwright.evaluation.summary import label
from modelwright.metrics.estimate import PROPORTIONS
from modelwright.workflows.job import Job
from modelwright.workflows.reporter import Reporter
from modelwright.workflows.search import best_trial
from modelwright.workflows.study import Trial, TrialResult

MOST_ROWS, MOST_RUNGS = 12, 3
"""Trials and rungs that are shown, the best and the longest ones."""


class Board:
    """A table of the trials, drawn anew after each rung.

    Args:
        job: any of the search; tells the metric and the unit of speed.
        rungs: seconds of each.
        reporter: whom to show it.
        deadline: `time.monotonic()` at which the search ends.
    """

    def __init__(self, job: Job, rungs: Sequence[float], reporter: Reporter, deadline: float | None = None) -> None:
        self._job, self._rungs, self._reporter, self._deadline = job, rungs, reporter, deadline
        self._trials: Sequence[Trial] = ()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        console = self._reporter.console
        if console is not None and console.is_terminal and self._reporter.visible:
            self._live = Live(get_renderable=self._now, console=console, refresh_per_second=1, transient=True)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def update(self, trials: Sequence[Trial]) -> None:
        """Draw these from now on."""
        self._trials = trials
        if self._live is not None:
            self._live.refresh()

    def _now(self) -> Table:
        table = self.table(self._trials)
        if self._deadline is not None:
            done = sum(trial.last is not None for trial in self._trials)
            left = format_duration(max(self._deadline - time.monotonic(), 0.0))
            table.caption = f"{done} trial{'s' if done != 1 else ''} · {left} left"
        return table

    def table(self, trials: Sequence[Trial]) -> Table:
        """A row a trial, a column a rung."""
        seen = [trial for trial in trials if trial.last]
        if len(seen) > MOST_ROWS:
            seen = sorted(seen, key=lambda trial: (trial.last.rung, trial.last.score) if trial.last else (0, 0.0), reverse=True)[:MOST_ROWS]
        rungs = sorted({result.rung for trial in seen for result in trial.results})[-MOST_RUNGS:]
        metric = label(self._job.task.primary)
        table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
        for header in ("   ", "family", "parameters", "speed", *(f"{metric} in {format_duration(self._rungs[rung])}" for rung in rungs)):
            table.add_column(header, justify="left" if header in ("   ", "family") else "right")
        leader = best_trial(seen)
        for trial in seen:
            assert trial.last is not None
            cells = [self._cell(trial.at(rung)) for rung in rungs]
            row = (trial.label, format_count(trial.last.parameters), self._job.speed(trial.last.samples_per_second))
            table.add_row("", *row, *cells, style="bold" if trial is leader else None)
        hidden = sum(trial.last is not None for trial in trials) - len(seen)
        if hidden:
            table.add_row("", f"and {hidden} more", style="dim")
        return table

    def _cell(self, result: TrialResult | None) -> str:
        if result is None:
            return ""
        return f"{result.value:.2%}" if self._job.task.primary in PROPORTIONS else f"{result.value:.4g}"
