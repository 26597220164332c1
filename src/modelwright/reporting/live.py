"""Live: what a run in progress has come to, and that as a picture for a terminal of any size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from modelwright.core.units import format_bytes, format_count, format_duration
from modelwright.metrics.estimate import PROPORTIONS, label
from modelwright.planning.range import Range
from modelwright.reporting.braille import Curve, chart
from modelwright.reporting.charts import logarithmic, smoothed, thinned
from modelwright.reporting.view import Trial

State = Literal["comparing", "waiting", "training", "judging", "silent", "finished"]

STATES: dict[State, tuple[str, str]] = {
    "comparing": ("comparing families", "cyan"),
    "waiting": ("waiting for the first rows", "yellow"),
    "training": ("training", "cyan"),
    "judging": ("trained, being judged", "cyan"),
    "silent": ("silent", "yellow"),
    "finished": ("finished", "green"),
}
"""What is said of a run in each state, and its color."""


@dataclass(frozen=True)
class Glance:
    """A look at a run.

    Attributes:
        name: of the run.
        family: of its network.
        state: what it does.
        rows: of its metrics, in order.
        primary: the metric that decides; empty if unknown.
        context: tokens of an example of text; 1 for other data.
        age: seconds since the last row was written, or whatever was written before there is one; None if nothing was.
        forecast: of the final loss.
        trials: of the comparison.
        summary: what was reached, of a finished run.
        problems: files that can't be read.
    """

    name: str
    family: str
    state: State
    rows: Sequence[Mapping[str, Any]]
    primary: str = ""
    context: int = 1
    age: float | None = None
    forecast: Range | None = None
    trials: Sequence[Trial] = ()
    summary: str = ""
    problems: Sequence[str] = ()

    @property
    def last(self) -> Mapping[str, Any]:
        """The newest row."""
        return self.rows[-1] if self.rows else {}

    @property
    def progress(self) -> float:
        """Share of the training that is done."""
        return number(self.last, "progress") or 0.0

    @property
    def seconds_left(self) -> float | None:
        """Of the training, at the speed so far; None where unknown."""
        seconds = number(self.last, "seconds")
        if self.state == "finished" or seconds is None or not 0 < self.progress <= 1:
            return None
        return max(0.0, seconds * (1 - self.progress) / self.progress - (self.age or 0.0))

    def to_json(self) -> dict[str, Any]:
        """The numbers of the picture."""
        forecast = None if self.forecast is None else {"value": self.forecast.value, "low": self.forecast.low, "high": self.forecast.high}
        names = ("step", "epoch", "seconds", "loss", "learning_rate", "samples_per_second", "tokens_per_second", "memory", "peak_memory")
        return {
            "run": self.name,
            "state": self.state,
            "progress": self.progress,
            **{name: number(self.last, name) for name in names},
            "metrics": next((row["metrics"] for row in reversed(self.rows) if row.get("metrics")), None),
            "seconds_left": self.seconds_left,
            "silent_for": self.age,
            "final_loss": forecast,
            "trials": len(self.trials),
            "rows": len(self.rows),
            "summary": self.summary or None,
            "problems": list(self.problems),
        }


HIGHEST = 26
"""Rows of a chart: a higher one would only be steeper."""


def number(row: Mapping[str, Any], name: str) -> float | None:
    """A finite number of a row; None where there is none."""
    value = row.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None


def picture(glance: Glance, width: int, height: int) -> RenderableType:
    """The picture of a run: a head, curves, and what is to be said in numbers; `height` rows of `width` characters at most."""
    head = _head(glance, width)
    facts = _facts(glance)
    columns = max(1, min(4, width // 38))
    facts = facts[: columns * max(1, height - len(head))]
    below = _grid(facts, columns)
    used = len(head) + math.ceil(len(facts) / columns) + 2
    tail = [Text(f"! {problem}", overflow="ellipsis", no_wrap=True) for problem in glance.problems][: max(0, height - used)]
    used += len(tail)
    if glance.summary:
        tail = [Text(glance.summary), *tail]
        used += math.ceil(len(glance.summary) / max(width, 1))
    room = min(height - used - 1, HIGHEST)
    if not glance.rows:
        return Group(*head, Text(), _trials(glance, max(room, 3)), *tail)
    if room < 5:
        return Group(*head, below, *tail)
    return Group(*head, Text(), *_charts(glance, width, room), Text(), below, *tail)


def _head(glance: Glance, width: int) -> list[Text]:
    said, color = STATES[glance.state]
    if glance.state == "silent" and glance.age is not None:
        said = f"silent for {format_duration(glance.age)}: stopped, or {'in a long step' if glance.rows else 'still preparing'}"
    title = Text.assemble(
        (glance.name, "bold"), f"  {glance.family}  " if glance.family else "  ", (f"● {said}", color), overflow="ellipsis", no_wrap=True
    )
    if not glance.rows:
        return [title]
    filled = round(glance.progress * (width - 7))
    bar = Text.assemble(("━" * filled, color), ("─" * max(0, width - 7 - filled), "dim"), f" {glance.progress:>5.1%}", no_wrap=True)
    return [title, bar]


def _facts(glance: Glance) -> list[tuple[str, str]]:
    last, facts = glance.last, []
    if (loss := number(last, "loss")) is not None:
        facts.append(("loss", f"{loss:.4g}"))
    if glance.forecast is not None and glance.state != "finished":
        facts.append(("final loss", f"{glance.forecast.value:.3g} ({glance.forecast.low:.3g} to {glance.forecast.high:.3g})"))
    metrics = next((row["metrics"] for row in reversed(glance.rows) if row.get("metrics")), {})
    primary = glance.primary if glance.primary in metrics else next(iter(metrics), "")
    if (value := number(metrics, primary)) is not None:
        facts.append((label(primary), f"{100 * value:.2f} %" if primary in PROPORTIONS else f"{value:.4g}"))
    if glance.seconds_left is not None and glance.state == "training":
        facts.append(("time left", format_duration(glance.seconds_left)))
    if (seconds := number(last, "seconds")) is not None:
        facts.append(("time", format_duration(seconds)))
    if (speed := number(last, "samples_per_second")) is not None:
        facts.append(("speed", f"{format_count(speed * glance.context)} {'tokens' if glance.context > 1 else 'examples'}/s"))
    if (step := number(last, "step")) is not None:
        epoch = number(last, "epoch")
        facts.append(("step", f"{step:,.0f}" + ("" if epoch is None else f" · epoch {epoch:.1f}")))
    if (memory := number(last, "memory")) is not None:
        facts.append(("memory", f"{format_bytes(memory)} · peak {format_bytes(number(last, 'peak_memory') or memory)}"))
    if (rate := number(last, "learning_rate")) is not None:
        facts.append(("rate", f"{rate:.3g}"))
    return facts


def _grid(facts: Sequence[tuple[str, str]], columns: int) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    rows = math.ceil(len(facts) / columns)
    for _ in range(columns):
        table.add_column(style="dim", no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
    for row in range(rows):
        table.add_row(
            *(Text(text) for place in range(row, rows * columns, rows) for text in (facts[place] if place < len(facts) else ("", "")))
        )
    return table


def _charts(glance: Glance, width: int, height: int) -> list[RenderableType]:
    """Loss, and where there is room the metric and the speed: beside each other in a wide window, below each other in a high one."""
    drawn = [_loss, _metric, _speed] if width >= 120 else [_loss, _metric]
    parts = [part for part in drawn if part(glance, 40, 6) is not None]
    if not parts:
        return []
    if width < 70:
        parts = parts[: max(1, height // 9)]
        each = height // len(parts)
        return [part(glance, width, each) or Text() for part in parts]
    table = Table.grid(padding=(0, 2, 0, 0), expand=False)
    shares = [1.0] if len(parts) == 1 else [0.58, 0.42] if len(parts) == 2 else [0.44, 0.30, 0.26]
    widths = [int(share * width) - 2 for share in shares[: len(parts)]]
    for one in widths:
        table.add_column(width=one, no_wrap=True)
    table.add_row(*(part(glance, one, height) or Text() for part, one in zip(parts, widths, strict=True)))
    return [table]


def _series(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[list[float], list[float]]:
    known = [row for row in rows if number(row, name) is not None and number(row, "progress") is not None]
    return [min(row["progress"], 1.0) for row in known], [row[name] for row in known]


def _loss(glance: Glance, width: int, height: int) -> RenderableType | None:
    x, y = _series(thinned(glance.rows, 2 * max(width, 40)), "loss")
    if len(x) < 2:
        return None
    smooth = smoothed(y, max(1, len(y) // 12))
    curves = [Curve(x, smooth, "bold cyan")]
    title = Text.assemble(("loss", "bold"), ("  training", "cyan"))
    if glance.forecast is not None and glance.state != "finished" and x[-1] < 0.99:
        forecast = glance.forecast
        for end, every in ((forecast.low, 5), (forecast.high, 5), (forecast.value, 3)):
            curves.append(Curve([x[-1], 1.0], [smooth[-1], end], "yellow", every))
        title.append("  forecast", "yellow")
    scale = logarithmic([value for curve in curves for value in curve.y])
    return Group(title, *chart(curves, width, height - 1, labels=_labels(glance), logarithmic=scale))


def _metric(glance: Glance, width: int, height: int) -> RenderableType | None:
    held = [{"progress": row.get("progress"), **row["metrics"]} for row in glance.rows if isinstance(row.get("metrics"), Mapping)]
    if len(held) < 2:
        return None
    name = glance.primary if glance.primary in held[-1] else next((key for key in held[-1] if key != "progress"), "")
    x, y = _series(held, name)
    if len(x) < 2:
        return None
    percent = name in PROPORTIONS
    curve = Curve(x, [100 * value for value in y] if percent else y, "bold magenta")
    title = Text.assemble((label(name) + (", %" if percent else ""), "bold"), ("  validation", "magenta"))
    return Group(title, *chart([curve], width, height - 1, labels=_labels(glance)))


def _speed(glance: Glance, width: int, height: int) -> RenderableType | None:
    x, y = _series(thinned(glance.rows, 2 * max(width, 40)), "samples_per_second")
    if len(x) < 2:
        return None
    unit = "tokens" if glance.context > 1 else "examples"
    curve = Curve(x, [value * glance.context for value in y], "bold green")
    return Group(Text(f"{unit} a second", "bold"), *chart([curve], width, height - 1, labels=_labels(glance), grounded=True))


def _labels(glance: Glance) -> list[tuple[float, str]]:
    """Below the axis: its ends, in time."""
    seconds = number(glance.last, "seconds")
    if seconds is None or glance.progress <= 0:
        return [(0.0, "0"), (1.0, "100 %")]
    return [(0.0, "0"), (0.5, "half"), (1.0, format_duration(seconds / glance.progress))]


def _trials(glance: Glance, room: int) -> RenderableType:
    """The comparison so far, as long as nothing is trained."""
    if not glance.trials:
        return Text("Nothing to draw yet.", "dim")
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for header in ("trial", "in", "score"):
        table.add_column(header, justify="left" if header == "trial" else "right")
    for trial in glance.trials[-max(room - 2, 1) :]:
        table.add_row(Text(trial.candidate), format_duration(trial.seconds), f"{trial.value:.4g}")
    return table
