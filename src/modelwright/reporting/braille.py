"""Braille: curves drawn with characters, each of which is a grid of 2 by 4 dots (Unicode block 2800).

Own, as it is these few lines: the libraries that draw in terminals write their own colors and sizes to standard output, while here a picture must be
a part of rich's layout that follows the window.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.text import Text

from modelwright.core.units import format_count

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bits of the dots, by row and column."""
BLANK = 0x2800


@dataclass
class Canvas:
    """Characters to draw on, `width` by `height`, with dots at (0, 0), top left, to (2 width - 1, 4 height - 1).

    Attributes:
        width: characters.
        height: characters.
    """

    width: int
    height: int
    _bits: list[list[int]] = field(init=False, repr=False)
    _styles: list[list[str]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._bits = [[0] * self.width for _ in range(self.height)]
        self._styles = [[""] * self.width for _ in range(self.height)]

    def dot(self, x: int, y: int, style: str = "") -> None:
        """Set a dot; one outside of the canvas is passed over. The last style of a character counts."""
        if 0 <= x < 2 * self.width and 0 <= y < 4 * self.height:
            self._bits[y // 4][x // 2] |= DOTS[y % 4][x % 2]
            self._styles[y // 4][x // 2] = style

    def line(self, start: tuple[float, float], end: tuple[float, float], style: str = "", every: int = 1) -> None:
        """A line between two places; with only each `every`-th dot set, it is dashed."""
        (x0, y0), (x1, y1) = start, end
        steps = max(1, round(max(abs(x1 - x0), abs(y1 - y0))))
        for step in range(0, steps + 1, every):
            share = step / steps
            self.dot(round(x0 + share * (x1 - x0)), round(y0 + share * (y1 - y0)), style)

    def rows(self) -> list[Text]:
        """Each row of characters, in its styles."""
        found = []
        for bits, styles in zip(self._bits, self._styles, strict=True):
            row = Text(no_wrap=True)
            for bit, style in zip(bits, styles, strict=True):
                row.append(chr(BLANK + bit) if bit else " ", style)
            found.append(row)
        return found


@dataclass(frozen=True)
class Curve:
    """A line of a chart.

    Attributes:
        x: in 0..1 of the chart's width.
        y: values; not finite ones are left out.
        style: rich's.
        every: dots between those that are set, less 1; above 1 the line is dashed.
    """

    x: Sequence[float]
    y: Sequence[float]
    style: str = ""
    every: int = 1


def chart(
    curves: Sequence[Curve],
    width: int,
    height: int,
    *,
    labels: Sequence[tuple[float, str]],
    logarithmic: bool = False,
    grounded: bool = False,
) -> list[Text]:
    """Curves over a common axis, with values at its left.

    Args:
        curves: to draw; the later ones over the earlier.
        width: characters, labels included.
        height: characters, the row below the axis included.
        labels: places in 0..1 below the axis, and what stands there.
        logarithmic: whether the values' axis is; then values must be above 0.
        grounded: whether that axis begins at 0.
    """

    def scaled(value: float) -> float:
        return math.log(max(value, 1e-12)) if logarithmic else value

    values = [scaled(value) for curve in curves for value in curve.y if math.isfinite(value)]
    if not values or width < 16 or height < 3:
        return [Text("")] * max(height, 0)
    low, high = (min(0.0, *values) if grounded else min(values)), max(values)
    if high - low < 1e-12:
        low, high = low - 0.5 * max(abs(low), 1e-6), high + 0.5 * max(abs(high), 1e-6)
    marks = [tick(math.exp(value) if logarithmic else value) for value in (high, (high + low) / 2, low)]
    margin = max(map(len, marks)) + 1
    canvas = Canvas(width - margin, height - 1)

    def place(x: float, y: float) -> tuple[float, float]:
        return x * (2 * canvas.width - 1), (high - scaled(y)) / (high - low) * (4 * canvas.height - 1)

    for curve in curves:
        points = [place(x, y) for x, y in zip(curve.x, curve.y, strict=True) if math.isfinite(y)]
        for start, end in itertools.pairwise(points):
            canvas.line(start, end, curve.style, curve.every)
        if len(points) == 1:
            canvas.dot(round(points[0][0]), round(points[0][1]), curve.style)
    at = (
        {0: marks[0], (canvas.height - 1) // 2: marks[1], canvas.height - 1: marks[2]}
        if canvas.height > 4
        else {0: marks[0], canvas.height - 1: marks[2]}
    )
    rows = [Text(at.get(index, "").rjust(margin - 1) + " ", "dim") + row for index, row in enumerate(canvas.rows())]
    return [*rows, _axis(labels, margin, canvas.width)]


def _axis(labels: Sequence[tuple[float, str]], margin: int, width: int) -> Text:
    row = [" "] * width
    for place, text in labels:
        start = min(max(0, round(place * (width - 1) - len(text) / 2)), max(0, width - len(text)))
        if all(mark == " " for mark in row[max(0, start - 1) : start + len(text) + 1]):
            row[start : start + len(text)] = list(text)
    return Text(" " * margin + "".join(row[:width]), "dim")


def tick(value: float) -> str:
    """A value of an axis in few characters."""
    if abs(value) >= 1000:
        return format_count(value)
    return f"{value:.3g}" if abs(value) >= 1e-3 or value == 0 else f"{value:.1e}"
