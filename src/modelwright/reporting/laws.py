"""The picture of a law: runs, the curve of each size, and what is foretold with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from modelwright.core.errors import import_extra
from modelwright.core.units import format_count
from modelwright.planning.laws.law import Law
from modelwright.planning.laws.points import Points, sizes
from modelwright.planning.range import Range
from modelwright.reporting.figures import new_figure, picture

MOST_CURVES = 8
"""Sizes that get a curve and a row in the legend of their own; of more, as many evenly chosen ones."""
CURVE_POINTS = 100


def draw_law(law: Law, measure: str, points: Sequence[Points], told: Sequence[Range], measured: Sequence[float | None], kind: str) -> bytes:
    """The picture's file: loss or accuracy against compute, and beside it what the law says of its own runs against what they reached.

    Args:
        law: what is drawn.
        measure: `loss` or `accuracy`.
        points: where something was foretold, one each.
        told: the values there, as the measure.
        measured: what came true there.
        kind: `.png`, `.svg` or `.pdf`.

    Raises:
        InputError: matplotlib is not installed.
    """
    figure = new_figure(10, 4.5, "laws")
    left, right = figure.subplots(1, 2, width_ratios=(1.6, 1))
    _draw_curves(left, law, measure)
    for point, value, came in zip(points, told, measured, strict=True):
        at = float(point["compute"][0])
        bounds = [[max(0.0, value.value - value.low)], [max(0.0, value.high - value.value)]]
        left.errorbar([at], [value.value], bounds, fmt="D", color="black", markersize=4, capsize=3, zorder=4)
        if came is not None:
            left.plot([at], [came], "x", color="black", markersize=8, zorder=5)
    left.plot([], [], "D", color="black", markersize=4, label="foretold, 90 %")
    if any(came is not None for came in measured):
        left.plot([], [], "x", color="black", label="measured")
    left.legend(fontsize=8, frameon=False)
    _draw_errors(right, law)
    return picture(figure, kind)


def _measure(values: np.ndarray, measure: str) -> np.ndarray:
    return values if measure == "loss" else 1 - values


def _draw_curves(axes: Any, law: Law, measure: str) -> None:
    points, kept = law.points, law.choice.kept
    palette = import_extra("matplotlib", "matplotlib", "laws").colormaps["viridis"]
    by_size = "params" in law.fit.form.needs
    number = sizes(points["params"]) if by_size else np.zeros(len(points), dtype=int)
    count = int(number.max()) + 1
    told = set(np.linspace(0, count - 1, min(count, MOST_CURVES)).round().astype(int).tolist())
    for size in range(count):
        color = palette(0.9 * size / max(count - 1, 1))
        mine = number == size
        label = format_count(float(np.median(points["params"][mine]))) if by_size and size in told else None
        shown = mine & kept
        axes.plot(points["compute"][shown], _measure(law.values[shown], measure), "o", color=color, markersize=5, label=label)
        left_out = mine & ~kept
        axes.plot(points["compute"][left_out], _measure(law.values[left_out], measure), "o", mfc="none", color=color, markersize=5)
        if size in told:
            along = _along(points.take(mine), by_size, points)
            axes.plot(along["compute"], _measure(law.fit.predict(along), measure), "-", color=color, linewidth=1)
    axes.set_xscale("log")
    if measure == "loss":
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:.3g}")
        axes.yaxis.set_minor_formatter("{x:.3g}")
        axes.tick_params(axis="y", which="minor", labelsize=7)
    axes.set_xlabel("compute, FLOPs")
    axes.set_ylabel(measure)
    axes.grid(alpha=0.25)


def _along(points: Points, by_size: bool, every: Points) -> Points:
    """Points between the least and the most compute of runs of one size; of a size with one run, along the data of `every` run."""
    low, high = points["compute"].min() / 1.2, points["compute"].max() * 1.2
    if by_size and len(points) == 1:
        low, high = (float(points["compute"][0] / points["data"][0] * data) for data in (every["data"].min(), every["data"].max()))
    span = np.geomspace(low, high, CURVE_POINTS)
    if not by_size:
        return Points({"compute": span})
    size = float(np.exp(np.log(points["params"]).mean()))
    data = span * float(np.median(points["data"] / points["compute"]))
    axes = {"params": np.full(CURVE_POINTS, size), "data": data, "compute": span}
    if "unique" in points:
        axes["unique"] = np.minimum(data, float(np.median(points["unique"])))
    return Points(axes)


def _draw_errors(axes: Any, law: Law) -> None:
    """How far the law is off at each run, in percent."""
    off = 100 * (law.fit.predict(law.points) / law.values - 1)
    for mask, fill in ((law.choice.kept, "tab:blue"), (~law.choice.kept, "none")):
        axes.plot(law.points["compute"][mask], off[mask], "o", mfc=fill, mec="tab:blue", markersize=5)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("compute, FLOPs")
    axes.set_ylabel("law against run, %" + (" (hollow: left out)" if not law.choice.kept.all() else ""))
    axes.grid(alpha=0.25)
