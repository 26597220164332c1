"""The picture of a transfer check: on the left what moved at each width, on the right the loss by learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from modelwright.core.errors import import_extra
from modelwright.planning.transfer_curves import Coordinates, Curves
from modelwright.reporting.figures import new_figure, picture


def draw_transfer(title: str, coordinates: Mapping[str, Coordinates], curves: Mapping[str, Curves], kind: str) -> bytes:
    """The picture's file, a row for each parametrization.

    Raises:
        InputError: matplotlib is not installed.
    """
    rows, columns = len(coordinates), 2 if curves else 1
    figure = new_figure(5.2 * columns, 3.8 * rows, "report")
    axes = figure.subplots(rows, columns, squeeze=False, sharey="col")
    colors = import_extra("matplotlib", "matplotlib", "report").colormaps["viridis"]
    for row, (name, found) in enumerate(coordinates.items()):
        _draw_coordinates(axes[row][0], f"{title}, {name}: what moved in a few steps", found, colors)
        if name in curves:
            _draw_curves(axes[row][1], f"{name}: loss by learning rate", curves[name], colors)
    return picture(figure, kind)


def _draw_coordinates(axis: Any, title: str, found: Coordinates, colors: Any) -> None:
    order = sorted(range(len(found.widths)), key=lambda number: found.widths[number])
    widths = [found.widths[number] for number in order]
    parts = list(found.changes)
    for place, part in enumerate(parts):
        values = [change if math.isfinite(change := found.changes[part][number]) else math.nan for number in order]
        last = part == "output"
        color = "crimson" if last else colors(place / max(1, len(parts) - 1))
        label = part if last or place == 0 else None
        axis.plot(widths, values, marker="o", markersize=3, linewidth=2 if last else 1, color=color, label=label)
    axis.set_xscale("log", base=2)
    if any(change > 0 for values in found.changes.values() for change in values if math.isfinite(change)):
        axis.set_yscale("log")
    axis.set_xticks(widths, [f"{width:g}x" for width in widths])
    axis.set(title=title, xlabel="width", ylabel="root mean square of the change")
    axis.title.set_fontsize(10)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)


def _draw_curves(axis: Any, title: str, found: Curves, colors: Any) -> None:
    order = sorted(range(len(found.widths)), key=lambda number: found.widths[number])
    lowest = []
    for place, width in enumerate(order):
        means = [found.mean(width, number) for number in range(len(found.rates))]
        points = [(rate, mean) for rate, mean in zip(found.rates, means, strict=True) if math.isfinite(mean)]
        color = colors(place / max(1, len(order) - 1) * 0.9)
        axis.plot(
            [rate for rate, _ in points],
            [mean for _, mean in points],
            marker="o",
            markersize=3,
            color=color,
            label=f"{found.widths[width]:g}x",
        )
        best = found.best(width)
        if math.isfinite(means[best]):
            axis.plot(found.rates[best], means[best], marker="*", markersize=12, color=color)
            lowest += [means[0], means[best]] if math.isfinite(means[0]) else [means[best]]
    axis.axvline(found.rates[found.best(0)], color="gray", linestyle=":", linewidth=1)
    axis.set_xscale("log", base=2)
    axis.set_xticks(found.rates, [f"{rate:.2g}" for rate in found.rates])
    if lowest and max(lowest) > min(lowest):
        # One diverging run must not flatten all the rest.
        reach = max(lowest) - min(lowest)
        axis.set_ylim(min(lowest) - 0.1 * reach, max(lowest) + 0.5 * reach)
    axis.set(title=title, xlabel="learning rate of the base", ylabel="loss")
    axis.title.set_fontsize(10)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
