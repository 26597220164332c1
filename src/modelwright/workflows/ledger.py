"""`ledger`: how near the forecasts of earlier runs on this machine came."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.table import Table
from rich.text import Text

from modelwright.core.errors import InputError
from modelwright.workflows.here import Past, history_path, past
from modelwright.workflows.reporter import Reporter

WIDTH = 41
"""Characters of a plot's axis, the middle one being a forecast that came true."""
FURTHEST = 0.5
"""Error at the ends of that axis."""


@dataclass(frozen=True)
class Accuracy:
    """The errors of all forecasts, by quantity.

    Attributes:
        rows: of each quantity, the oldest first.
        last: how many of each are shown.
    """

    rows: dict[str, list[Past]]
    last: int

    def to_json(self) -> dict[str, Any]:
        """As an object."""
        return {
            "path": str(history_path()),
            "quantities": {
                name: {**summary(rows), "rows": [row.model_dump() for row in rows[-self.last :]]} for name, rows in self.rows.items()
            },
        }


def error(row: Past) -> float | None:
    """Forecast / measurement - 1; None where nothing was measured but zero."""
    return row.forecast / row.measured - 1 if row.measured else None


def summary(rows: list[Past]) -> dict[str, Any]:
    """Count, median absolute error, and the share of measurements inside their interval."""
    errors = [abs(off) for row in rows if (off := error(row)) is not None]
    held = [row.low <= row.measured <= row.high for row in rows if row.low is not None and row.high is not None]
    return {
        "forecasts": len(rows),
        "median_absolute_error": median(errors) if errors else None,
        "inside": sum(held) / len(held) if held else None,
    }


def ledger(*, last: int = 20, reporter: Reporter | None = None) -> Accuracy:
    """Show the errors of all forecasts so far.

    Args:
        last: forecasts of each quantity that are shown.
        reporter: whom to tell.

    Raises:
        InputError: `last` is not positive.
    """
    reporter = reporter or Reporter()
    if last < 1:
        raise InputError(f"the last {last} forecasts", expected="at least 1")
    groups: dict[str, list[Past]] = defaultdict(list)
    for row in past():
        groups[row.quantity].append(row)
    found = Accuracy(dict(groups), last)
    if not groups:
        reporter.say("ledger", "no run on this machine has been forecast and measured yet; train or build make one")
    for number, (name, rows) in enumerate(groups.items()):
        _show(name, rows, last, number > 0, reporter)
    return found


def _show(name: str, rows: list[Past], last: int, shown: bool, reporter: Reporter) -> None:
    told = summary(rows)
    off = told["median_absolute_error"]
    parts = [f"{told['forecasts']} forecast{'s' if len(rows) > 1 else ''}"]
    parts += [] if off is None else [f"off by {off:.1%} (median)"]
    parts += [] if told["inside"] is None else [f"{told['inside']:.0%} inside their interval"]
    reporter.say("" if shown else "ledger", f"{name}: {' · '.join(parts)}")
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
    for row in rows[-last:]:
        wrong = error(row)
        if wrong is not None:
            table.add_row(f"  {row.when[:10]}", row.family, f"{wrong:+.1%}", _mark(wrong))
    table.add_row(
        "",
        "",
        "",
        Text(f"{-FURTHEST:+.0%}".ljust(WIDTH // 2 - 2) + "true".center(5) + f"{FURTHEST:+.0%}".rjust(WIDTH // 2 - 2), style="dim"),
    )
    reporter.show(table)


def _mark(wrong: float) -> Text:
    """A point on an axis from too little to too much."""
    middle = WIDTH // 2
    place = middle + round(max(-1.0, min(1.0, wrong / FURTHEST)) * middle)
    axis = ["·"] * WIDTH
    axis[middle] = "│"
    axis[place] = "●"
    return Text("".join(axis), style="cyan" if abs(wrong) < FURTHEST / 2 else "yellow")
