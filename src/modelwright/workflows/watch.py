"""`watch`: a training that another process does, as a picture in a terminal. It reads the run folder and touches nothing."""

from __future__ import annotations

import contextlib
import select
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from modelwright.core.config import validate
from modelwright.core.errors import InputError
from modelwright.core.run import Run
from modelwright.planning.final_loss import foretell
from modelwright.planning.range import Range
from modelwright.reporting.live import Glance, State, number, picture
from modelwright.reporting.view import View, read_view
from modelwright.training.config import TrainingConfig
from modelwright.workflows.reporter import Reporter

LONGEST_INTERVAL = 86_400
WIDTH, HEIGHT = 100, 28
"""Of a picture that is drawn where there is no terminal."""
SILENT_SECONDS, SILENT_ROWS = 30.0, 20.0
"""A run is called silent after so long without a row, and so many times the usual time between two."""
SLOW_SECONDS = 300.0
"""The same for one that reads its data, or is being judged."""


@dataclass(frozen=True)
class Watched:
    """The last look at a run."""

    glance: Glance

    def to_json(self) -> dict[str, Any]:
        """The numbers of the picture."""
        return self.glance.to_json()


def watch(run: Path | str, *, once: bool = False, interval: float = 1.0, reporter: Reporter | None = None) -> Watched:
    """Draw a run again and again until it is finished, or the user leaves by q or Ctrl-C.

    Args:
        run: a run folder; one that is being made is waited for.
        once: draw one picture.
        interval: seconds between two looks.
        reporter: where to draw.

    Raises:
        InputError: there is no such run, or the interval is not above 0 or longer than a day.
    """
    if not 0 < interval <= LONGEST_INTERVAL:
        raise InputError(f"an interval of {interval:g} seconds", expected=f"one above 0, of a day ({LONGEST_INTERVAL:,} s) at most")
    reporter = reporter or Reporter()
    opened = _open(Path(run))
    glance = look(opened)
    console = reporter.console
    if console is not None and console.is_terminal and not once and glance.state != "finished":
        glance = _follow(opened, console, interval)
    if console is not None and not (reporter.quiet and not once):
        width, height = (console.width, console.height) if console.is_terminal else (min(console.width, WIDTH), HEIGHT)
        console.print(picture(glance, width, min(height - 1, 40)))
    return Watched(glance)


def _open(path: Path) -> Run:
    """The run, whose folder may be so young that nothing but its log or its metrics lie in it."""
    run = Run(path)
    if run.metrics.is_file() or run.log.is_file():
        return run
    return Run.open(path)


def look(run: Run, now: float | None = None) -> Glance:
    """One look at a run.

    Args:
        run: its folder.
        now: the time, as `time.time()` gives it.
    """
    if run.standings.is_file() and run.winner.log.is_file():
        # A search that trains its winner.
        run = run.winner
    view = read_view(run)
    rows = [row for row in view.metrics if number(row, "progress") is not None]
    compares = run.comparison.is_file()
    age = _age([run.metrics] if rows else [run.log, run.state, run.comparison], time.time() if now is None else now)
    schema = view.schema
    return Glance(
        name=view.name,
        family=view.family,
        state=_state(view, rows, age, compares=compares),
        rows=rows,
        primary=view.primary or _primary(rows),
        context=schema.text.shape[0] if schema is not None and schema.kind == "text" else 1,
        age=age,
        forecast=_forecast(view, rows),
        trials=view.trials,
        summary=str(view.evaluation.get("summary") or view.search.get("verdict", "")),
        problems=view.problems,
    )


def _age(files: list[Path], now: float) -> float | None:
    """Seconds since the last of them was written; None if there are none."""
    written = []
    for file in files:
        with contextlib.suppress(OSError):
            written.append(file.stat().st_mtime)
    return max(0.0, now - max(written)) if written else None


def _primary(rows: list[Mapping[str, Any]]) -> str:
    """The metric that decides of a run that is not judged yet: the first of those that do in the tasks."""
    metrics = next((row["metrics"] for row in rows if isinstance(row.get("metrics"), Mapping)), {})
    return next((name for name in ("accuracy", "bits_per_byte", "rmse", "loss") if name in metrics), "")


def _state(view: View, rows: list[Mapping[str, Any]], age: float | None, *, compares: bool) -> State:
    if view.finished or (view.search and not view.trains_winner):
        return "finished"
    if not rows:
        return "comparing" if compares else "waiting" if (age or 0.0) < SLOW_SECONDS else "silent"
    if rows[-1]["progress"] >= 1:
        return "judging" if (age or 0.0) < SLOW_SECONDS else "silent"
    usual = (number(rows[-1], "seconds") or 0.0) / len(rows)
    return "silent" if (age or 0.0) > max(SILENT_SECONDS, SILENT_ROWS * usual) else "training"


def _forecast(view: View, rows: list[Mapping[str, Any]]) -> Range | None:
    """By the schedule of the recipe; None where it can't be read."""
    known = [row for row in rows if number(row, "loss") is not None]
    try:
        schedule = validate(TrainingConfig, view.recipe["training"]).schedule.build()
    except (InputError, KeyError, TypeError):
        return None
    last = known[-1] if known else {}
    epochs = (number(last, "epoch") or 0.0) / max(number(last, "progress") or 0.0, 1e-9)
    return foretell([row["progress"] for row in known], [row["loss"] for row in known], schedule, epochs)


def _follow(run: Run, console: Console, interval: float) -> Glance:
    """Draw until the end, in the whole window; what was there before comes back when it is left."""
    glance = look(run)
    with _keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as live, contextlib.suppress(KeyboardInterrupt):
        while True:
            live.update(picture(glance, console.width, console.height - 1), refresh=True)
            if glance.state == "finished" or pressed(interval):
                break
            glance = look(run)
    return glance


@contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """Waits for so many seconds and tells whether q was pressed; without a keyboard it only waits."""
    if not sys.stdin.isatty():
        yield lambda seconds: bool(time.sleep(seconds))
        return
    try:
        import termios
        import tty
    except ImportError:
        yield lambda seconds: bool(time.sleep(seconds))
        return
    before = termios.tcgetattr(sys.stdin)

    def pressed(seconds: float) -> bool:
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        return bool(ready) and sys.stdin.read(1) in ("q", "Q")

    try:
        tty.setcbreak(sys.stdin)
        yield pressed
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
