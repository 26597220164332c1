"""Drawing: plots by matplotlib as inline SVG that takes its colors and its font from the page, so that one drawing suits light, dark and paper."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from itertools import count
from typing import Any

from modelwright.core.errors import import_extra

INK, SOFT, RULE, GROUND = "#010101", "#010102", "#010103", "#010104"
"""Text and axes; quiet text; hairlines; the page's ground."""
FIRST, SECOND, THIRD, FOURTH = "#010105", "#010106", "#010107", "#010108"
"""Lines and points, in the order they are used. Colors that no plot would have by chance stand for the page's variables."""
VARIABLES = {
    INK: "--ink",
    SOFT: "--soft",
    RULE: "--rule",
    GROUND: "--ground",
    FIRST: "--first",
    SECOND: "--second",
    THIRD: "--third",
    FOURTH: "--fourth",
}
SERIES = (FIRST, SECOND, THIRD, FOURTH)
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
"""Lines differ by these too, for those who don't tell their colors apart."""

STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": SOFT,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "axes.xmargin": 0.02,
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-4, 6),
    "figure.facecolor": "none",
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "grid.alpha": 0.7,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.labelcolor": INK,
    "legend.handlelength": 1.8,
    "path.simplify": True,
    "path.simplify_threshold": 0.3,
}
WIDTH, HEIGHT = 4.4, 2.75
"""Inches of a plot: narrow enough to be read on a phone."""

_numbers = count(1)


@dataclass
class Plot:
    """A plot that is being drawn; `svg` is its markup once the block has ended.

    Attributes:
        axes: matplotlib's.
        svg: the markup, for the page.
    """

    axes: Any
    svg: str = ""


@contextmanager
def plot(description: str, *, width: float = WIDTH, height: float = HEIGHT) -> Iterator[Plot]:
    """A plot to draw in.

    Args:
        description: what it shows, in a sentence, for those who can't see it.
        width: inches.
        height: inches.

    Raises:
        InputError: the plotting library is not installed.
    """
    matplotlib = import_extra("matplotlib", "matplotlib", "report")
    figures = import_extra("matplotlib.figure", "matplotlib", "report")
    with matplotlib.rc_context(STYLE):
        figure = figures.Figure(figsize=(width, height), layout="constrained")
        drawn = Plot(figure.add_subplot())
        yield drawn
        buffer = io.StringIO()
        with warnings.catch_warnings():
            # It warns of letters that its font lacks, and letters are drawn by the page's reader.
            warnings.simplefilter("ignore", UserWarning)
            figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    drawn.svg = inline(buffer.getvalue(), description, f"p{next(_numbers)}")


def inline(svg: str, description: str, prefix: str) -> str:
    """A file's SVG made part of a page: without its head, with names of its own, and with the page's colors and font.

    Args:
        svg: as matplotlib writes it.
        description: of what is to be seen.
        prefix: of its names, which must be unique in a page.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert box is not None, "matplotlib's SVG has a viewBox"
    width, height = box.groups()
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d\.\d\d)\d+", r"\1", tag.group()), svg)
    head = (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(description)}" style="max-width: {float(width) * 1.5:.0f}px">'
    )
    svg = head + svg[svg.index(">") + 1 :]
    svg = svg.replace("xlink:href", "href")
    used = set(re.findall(r"url\(#([^)]+)\)", svg)) | set(re.findall(r'href="#([^"]+)"', svg))
    svg = re.sub(r' id="([^"]+)"', lambda match: f' id="{prefix}{match.group(1)}"' if match.group(1) in used else "", svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}\1)", svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}\1"', svg)
    svg = re.sub(r"font-family: [^;\"]+(?:; )?", "", svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]+", r"font-size: \1", svg)
    svg = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", svg)
    for color, variable in VARIABLES.items():
        svg = svg.replace(color, f"var({variable})")
    return re.sub(r"\s*\n\s*", " ", svg).strip()
