"""The picture of a search: score against size, latency and training time, with the Pareto front and the tie."""

from __future__ import annotations

from collections.abc import Callable

from modelwright.core.errors import import_extra
from modelwright.core.units import format_bytes, format_duration
from modelwright.evaluation.summary import label
from modelwright.metrics.estimate import PROPORTIONS
from modelwright.reporting.figures import new_figure, picture
from modelwright.workflows.standings import Standings
from modelwright.workflows.study import TrialResult

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999933")
"""Of the families, told apart by the color-blind too (Okabe & Ito 2008)."""
AXES: tuple[tuple[str, Callable[[TrialResult], float], Callable[[float], str]], ...] = (
    ("weights", lambda result: result.size, format_bytes),
    ("latency of one example", lambda result: 1e3 * result.latency, lambda value: f"{value:.2g} ms"),
    ("training", lambda result: result.seconds, format_duration),
)
"""Title, what is drawn, and how it is written."""


def draw(standings: Standings, name: str) -> bytes:
    """A PNG of the standings.

    Args:
        standings: of a search.
        name: of the data.

    Raises:
        InputError: matplotlib is not installed.
    """
    figure, ticker = new_figure(12, 4.6, "report"), import_extra("matplotlib.ticker", "matplotlib", "report")
    panels = figure.subplots(1, len(AXES), sharey=True)
    families = sorted({row.trial.family for row in standings.rows})
    colors = {family: COLORS[index % len(COLORS)] for index, family in enumerate(families)}
    scale = 100.0 if standings.metric in PROPORTIONS else 1.0
    for panel, (title, of, written) in zip(panels, AXES, strict=True):
        for row in standings.rows:
            points = sorted((of(result), scale * result.value) for result in row.trial.results)
            panel.plot(*zip(*points, strict=True), color=colors[row.trial.family], alpha=0.25, linewidth=1, zorder=1)
            panel.scatter(*zip(*points, strict=True), color=colors[row.trial.family], s=14, alpha=0.5, linewidths=0, zorder=2)
        front = [(of(result), scale * result.value, colors[trial.family]) for trial, result in standings.front]
        panel.scatter(*zip(*((x, y) for x, y, _ in front), strict=True), c=[color for *_, color in front], s=46, zorder=3)
        tied = [(of(row.result), scale * row.result.value) for row in standings.tied]
        if tied:
            panel.scatter(*zip(*tied, strict=True), s=120, facecolors="none", edgecolors="#777777", zorder=4)
        best = standings.best.result
        low, high = scale * (best.value - best.low), scale * (best.high - best.value)
        panel.errorbar(of(best), scale * best.value, [[max(low, 0)], [max(high, 0)]], fmt="*", color="black", markersize=12, zorder=5)
        panel.set(xscale="log", xlabel=title)
        panel.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(lambda value, place, written=written: written(value))
        panel.xaxis.set_minor_formatter(ticker.NullFormatter())
        panel.grid(alpha=0.2)
    panels[0].set_ylabel(f"{label(standings.metric)} on validation{' (%)' if scale == 100 else ''}")
    handles = [panels[0].scatter([], [], color=color, s=30, label=family) for family, color in colors.items()]
    handles += [
        panels[0].scatter([], [], color="black", marker="*", s=90, label="best, 95 % interval"),
        panels[0].scatter([], [], facecolors="none", edgecolors="#777777", s=110, label="tied with the best"),
        panels[0].scatter([], [], color="#555555", s=46, label="large: on the Pareto front"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 8), frameon=False)
    figure.suptitle(f"{name}: {len(standings.rows)} trials")
    return picture(figure, ".png")
