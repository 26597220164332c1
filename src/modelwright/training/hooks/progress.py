"""The progress bar: loss, primary metric and time left, on standard error."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from modelwright.core.units import format_duration
from modelwright.training.hook import Hook, StepInfo

REFRESH_SECONDS = 0.2


class ProgressBar(Hook):
    """A bar that fills with the progress of the run; nothing at all where there is no terminal.

    Args:
        title: what is trained.
        console: where to draw; standard error if None.
        percent: whether the primary metric is a share, to be shown in percent.
    """

    def __init__(self, title: str = "train", console: Console | None = None, percent: bool = False) -> None:
        self._title, self._console, self._percent = title, console or Console(stderr=True), percent
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._drawn, self._metric = 0.0, ""

    def on_start(self, info: StepInfo) -> None:
        """Draw the bar."""
        if not self._console.is_terminal:
            return
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[status]}"))
        # Drawn from on_step: a refreshing thread would take turns with a training of short steps.
        self._bar = Progress(*columns, console=self._console, auto_refresh=False, transient=False)
        self._task = self._bar.add_task(self._title, total=1.0, status="")
        self._bar.start()

    def on_step(self, info: StepInfo) -> None:
        """Redraw, a few times a second."""
        if self._bar is not None and time.monotonic() - self._drawn > REFRESH_SECONDS:
            self._draw(info)

    def on_evaluation(self, info: StepInfo) -> None:
        """Show the primary metric from now on."""
        if info.metrics is not None and info.primary is not None:
            value = info.metrics[info.primary]
            self._metric = f" · {info.primary} {value:.2%}" if self._percent else f" · {info.primary} {value:.4g}"
        if self._bar is not None:
            self._draw(info)

    def on_end(self, info: StepInfo) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._draw(info)
            self._bar.stop()
            self._bar = None

    def _draw(self, info: StepInfo) -> None:
        assert self._bar is not None
        self._drawn = time.monotonic()
        self._bar.update(self._task, completed=info.progress, status=status(info) + self._metric, refresh=True)


def status(info: StepInfo) -> str:
    """The loss and the time left, or at the end the time taken."""
    if info.progress <= 0.0:
        return "starting"
    if info.progress >= 1.0:
        return f"loss {info.loss:.3g} · {format_duration(info.seconds)}"
    left = info.seconds * (1.0 - info.progress) / info.progress
    return f"loss {info.loss:.3g}{_speed(info)} · {format_duration(left)} left"


def _speed(info: StepInfo) -> str:
    """Tokens a second and the share of the device's peak, of a text."""
    if info.speed is None or info.speed.tokens_per_second is None:
        return ""
    share = "" if info.speed.mfu is None else f" ({info.speed.mfu:.0%} of peak)"
    return f" · {info.speed.tokens_per_second:,.0f} tokens/s{share}"
