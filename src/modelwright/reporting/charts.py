"""Charts: the few forms that the sections draw, each a call: lines, a band around them, bars, intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from modelwright.core.units import format_count
from modelwright.metrics.estimate import PROPORTIONS
from modelwright.reporting.drawing import DASHES, RULE, SERIES, SOFT


def line(
    axes: Any, x: Sequence[float], y: Sequence[float], series: int = 0, name: str = "", *, points: bool = False, faint: bool = False
) -> None:
    """A line; `faint` for what is only the ground of another one."""
    axes.plot(
        x,
        y,
        color=SERIES[series],
        linestyle=DASHES[series] if not faint else "-",
        linewidth=0.9 if faint else None,
        alpha=0.35 if faint else 1.0,
        label=name or None,
        marker="o" if points else None,
        markersize=3.5,
    )


def band(axes: Any, x: Sequence[float], low: Sequence[float], high: Sequence[float], series: int = 0) -> None:
    """An interval around a line."""
    axes.fill_between(x, low, high, color=SERIES[series], alpha=0.16, linewidth=0)


def interval(axes: Any, y: float, low: float, value: float, high: float, series: int = 0, *, hollow: bool = False) -> None:
    """A horizontal interval with a point."""
    axes.plot([low, high], [y, y], color=SERIES[series], linewidth=1.4, alpha=0.7, solid_capstyle="round")
    face = "none" if hollow else SERIES[series]
    axes.plot([value], [y], marker="o", markersize=4.5, color=SERIES[series], markerfacecolor=face, linestyle="none")


def row_names(axes: Any, names: Sequence[str]) -> None:
    """Names of rows 0, 1, ... from top to bottom, without lines."""
    axes.set_yticks(range(len(names)), [cut(name, 24) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", visible=True)
    axes.spines["left"].set_visible(False)


def metric_axis(axis: Any, metric: str) -> None:
    """Ticks as people read that metric: proportions in percent."""
    if metric in PROPORTIONS:
        axis.set_major_formatter(lambda value, place: f"{100 * value:.4g} %")


def plain_ticks(axis: Any) -> None:
    """Ticks of a logarithmic axis as plain numbers."""
    axis.set_major_formatter(lambda value, place: format_count(value) if value >= 1000 else f"{value:g}")
    axis.set_minor_formatter(lambda value, place: "")


def count_axis(axis: Any) -> None:
    """Ticks in k, M, G."""
    axis.set_major_formatter(lambda value, place: format_count(value) if abs(value) >= 1 or value == 0 else f"{value:g}")


def frame(axes: Any, *, grid: str = "y") -> None:
    """Hairlines where they help."""
    axes.grid(visible=False)
    if grid:
        axes.grid(axis=grid, visible=True)
    axes.tick_params(colors=RULE, labelcolor=SOFT)


def cut(text: str, width: int) -> str:
    """A name in one line that is not too long."""
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


def logarithmic(values: Sequence[float]) -> bool:
    """Whether an axis of these should be logarithmic: all above 0, and of very different size."""
    known = [value for value in values if math.isfinite(value)]
    return bool(known) and min(known) > 0 and max(known) / min(known) > 30


def thinned(rows: Sequence[Any], most: int = 400) -> list[Any]:
    """At most so many of the rows, evenly spread, the last one included."""
    if len(rows) <= most:
        return list(rows)
    return [rows[round(place * (len(rows) - 1) / (most - 1))] for place in range(most)]


def smoothed(values: Sequence[float], window: int) -> list[float]:
    """The mean of the values around each, `window` of them; fewer at the beginning, where curves are steep, and at the end those that there are."""
    half, out = window // 2, []
    for place in range(len(values)):
        reach = min(half, place)
        part = values[place - reach : place + reach + 1]
        out.append(sum(part) / len(part))
    return out
