"""The page of a comparison: runs side by side, with the significance of their differences, their curves, and how their recipes differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from modelwright.core.units import format_bytes, format_count, format_duration
from modelwright.core.version import __version__
from modelwright.metrics.estimate import PROPORTIONS, Estimate, label, show
from modelwright.reporting.blocks import Block, Cell, Fact, Figure, Page, Row, Section, Table, Text
from modelwright.reporting.charts import count_axis, cut, frame, interval, line, metric_axis, row_names
from modelwright.reporting.drawing import SERIES, plot
from modelwright.reporting.quantities import bounds_text, metric_text, p_text, seconds_text, several
from modelwright.reporting.view import View

MOST_SETTINGS = 60
BASES = {
    "test": "the same test examples",
    "validation": "the same validation examples",
    "train": "the same training examples",
    "intervals": "their intervals alone",
}
"""What a difference rests on, by how it was found."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """How the first run differs from the second.

    Attributes:
        first: name of the run with the better score.
        second: name of the other.
        advantage: how much better the first is.
        metric: that the advantage is in.
        basis: split of the examples that both were judged on, or `intervals` where there are none.
        examples: how many of them.
        p_value: corrected for the number of comparisons.
        distinguishable: whether it is more than chance.
    """

    first: str
    second: str
    advantage: Estimate
    metric: str
    basis: str
    examples: int
    p_value: float
    distinguishable: bool

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "first": self.first,
            "second": self.second,
            "advantage": self.advantage.to_dict(),
            "metric": self.metric,
            "basis": self.basis,
            "examples": self.examples,
            "p_value": self.p_value,
            "distinguishable": self.distinguishable,
        }

    def size(self) -> str:
        """The advantage with its interval and unit."""
        if self.metric in PROPORTIONS:
            values = [100 * bound for bound in (self.advantage.value, self.advantage.low, self.advantage.high)]
            return f"{values[0]:+.1f} points of {label(self.metric)} ({values[1]:+.1f} to {values[2]:+.1f})"
        unit = " nats a token" if self.metric == "loss" else f" {label(self.metric)}"
        return f"{self.advantage.value:+.3g}{unit} ({self.advantage.low:+.3g} to {self.advantage.high:+.3g})"

    def sentence(self) -> str:
        """All of it, as people say it."""
        verdict = "more than chance" if self.distinguishable else "not distinguishable"
        on = BASES.get(self.basis, self.basis)
        counted = f"{self.examples:,} of {on}" if self.examples else on
        return f"{self.first} against {self.second}: {self.size()}, {verdict} (p {_p(self.p_value)}; by {counted})."


def _p(value: float) -> str:
    return p_text(value) if value < 0.001 else f"= {p_text(value)}"


def comparison_page(views: Sequence[View], names: Sequence[str], contrasts: Sequence[Contrast], split: str) -> Page:
    """The page.

    Args:
        views: of the runs, the best first.
        names: what they are called.
        contrasts: of all pairs.
        split: that all of them were judged on.
    """
    metric = views[0].primary
    best = [contrast for contrast in contrasts if contrast.first == names[0]]
    ahead = [contrast.second for contrast in best if contrast.distinguishable and contrast.advantage.value > 0]
    if len(ahead) == len(names) - 1:
        summary = f"{names[0]} is better than {'the other' if len(names) == 2 else 'all others'} by more than chance."
    elif ahead:
        summary = (
            f"{names[0]} has the best score; it is better than {', '.join(ahead)} by more than chance, and can't be told from the rest."
        )
    else:
        summary = f"{names[0]} has the best score, but no difference from the others is more than chance."
    score = views[0].estimate(split, metric)
    cards = [Fact("best run", cut(names[0], 24), views[0].family)]
    if score is not None:
        cards.append(Fact(f"its {split} {label(metric)}", metric_text(metric, score.value), f"95 % interval {bounds_text(metric, score)}"))
    cards.append(Fact("runs", f"{len(views)}", f"{several(len(contrasts), 'comparison')}, corrected by Holm"))
    made = [
        Section("scores", "Scores", _scores(views, names, metric, split)),
        Section("differences", "Are the differences more than chance?", _differences(contrasts)),
        Section("curves", "Curves", _curves(views, names, metric)),
        Section("cost", "Cost", [_cost(views, names)]),
        Section("recipes", "How the recipes differ", [_recipes(views, names)]),
    ]
    return Page(
        title=" · ".join(cut(name, 30) for name in names[:4]) + (" …" if len(names) > 4 else ""),
        subtitle=f"{several(len(views), 'run')} side by side.",
        summary=summary,
        cards=cards,
        sections=[section for section in made if section.blocks],
        footer=f"Made by Modelwright {__version__} on {datetime.now(UTC):%Y-%m-%d} (UTC). Intervals are of 95 %.",
    )


def _scores(views: Sequence[View], names: Sequence[str], metric: str, split: str) -> list[Block]:
    with plot(f"{label(metric)} of each run with its interval.", height=0.75 + 0.32 * len(views)) as drawn:
        for place, view in enumerate(views):
            estimate = view.estimate(split, metric)
            if estimate is not None:
                interval(drawn.axes, place, estimate.low, estimate.value, estimate.high, 0 if place == 0 else 1, hollow=place > 0)
        row_names(drawn.axes, names)
        metric_axis(drawn.axes.xaxis, metric)
        drawn.axes.set_xlabel(f"{split} {label(metric)}, 95 % interval")
        frame(drawn.axes, grid="x")
    splits = list(dict.fromkeys(name for view in views for name in view.evaluation["splits"]))
    rows = []
    for name, view in zip(names, views, strict=True):
        known = [view.estimate(one, metric) for one in splits]
        rows.append([Cell(cut(name, 30), strong=name == names[0]), *("–" if one is None else show(metric, one) for one in known)])
    caption = f"{label(metric)} on the {split} split; {'more' if views[0].higher_is_better else 'less'} is better."
    return [Row([Figure(drawn.svg, caption)]), Table(["run", *splits], rows, f"{label(metric)} by split")]


def _differences(contrasts: Sequence[Contrast]) -> list[Block]:
    rows = [
        [
            f"{cut(contrast.first, 24)} against {cut(contrast.second, 24)}",
            contrast.size(),
            Cell(p_text(contrast.p_value), strong=contrast.distinguishable),
            "more than chance" if contrast.distinguishable else "not distinguishable",
            f"{contrast.examples:,} of {BASES.get(contrast.basis, contrast.basis)}" if contrast.examples else BASES["intervals"],
        ]
        for contrast in contrasts
    ]
    said = "Where two runs were judged on the same examples they are compared one by one: McNemar's exact test for classes, the paired t-test otherwise. "
    said += "The p-values are corrected for the number of comparisons (Holm). The test split is not evaluated again: each run kept its errors when it was judged."
    header = ["runs", "the first is better by", "p", "verdict", "by"]
    return [Table(header, rows, "All pairs, the better score first", left=frozenset({1, 3, 4})), Text(said, "note")]


def _curves(views: Sequence[View], names: Sequence[str], metric: str) -> list[Block]:
    drawable = [(name, view) for name, view in zip(names, views, strict=True) if len(_evaluated(view, metric)) > 1][: len(SERIES)]
    if not drawable:
        return []
    figures: list[Block] = []
    for key, what in (("seconds", "seconds of training"), ("step", "steps")):
        with plot(f"Validation {label(metric)} of each run over {what}.") as drawn:
            for series, (name, view) in enumerate(drawable):
                rows = _evaluated(view, metric)
                line(
                    drawn.axes,
                    [row.get(key, 0) for row in rows],
                    [row["metrics"][metric] for row in rows],
                    series,
                    cut(name, 20),
                    points=True,
                )
            metric_axis(drawn.axes.yaxis, metric)
            count_axis(drawn.axes.xaxis)
            drawn.axes.set_xlabel(what)
            drawn.axes.set_ylabel(f"validation {label(metric)}")
            drawn.axes.legend()
            frame(drawn.axes)
        figures.append(Figure(drawn.svg, f"Over {what}." + (f" The best {len(SERIES)} runs." if len(views) > len(SERIES) else "")))
    return [Row(figures)]


def _evaluated(view: View, metric: str) -> list[Mapping[str, Any]]:
    return [row for row in view.evaluations if isinstance(row["metrics"].get(metric), int | float)]


def _cost(views: Sequence[View], names: Sequence[str]) -> Table:
    rows = []
    for name, view in zip(names, views, strict=True):
        measured = {quantity: entry.measured for quantity, entry in view.ledger.items() if entry.measured is not None}
        single = next((row["median"] for row in view.findings.get("latency", ()) if row.get("batch") == 1), None)
        cells = [
            (measured.get("parameters"), format_count),
            (measured.get("training time"), format_duration),
            (measured.get("peak memory"), format_bytes),
            (view.bundle_bytes or None, format_bytes),
            (single, seconds_text),
        ]
        rows.append([cut(name, 30), cut(view.family, 20), *("–" if value is None else form(value) for value, form in cells)])
    return Table(
        ["run", "family", "parameters", "training", "peak memory", "on disk", "latency"],
        rows,
        "What each run took and takes",
        left=frozenset({1}),
    )


def _recipes(views: Sequence[View], names: Sequence[str]) -> Block:
    flat = [dict(_flatten(view.recipe)) for view in views]
    keys = [
        key
        for key in dict.fromkeys(key for values in flat for key in values)
        if key != "name" and len({values.get(key) for values in flat}) > 1
    ]
    if not keys:
        return Text("Not at all: the recipes are the same.")
    rows = [[cut(key, 50), *(cut(values.get(key, "–"), 28) for values in flat)] for key in keys[:MOST_SETTINGS]]
    caption = "Settings that are not the same in all" + (
        f"; {len(keys) - MOST_SETTINGS} more are not shown" if len(keys) > MOST_SETTINGS else ""
    )
    return Table(["setting", *(cut(name, 24) for name in names)], rows, caption)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += _flatten(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", str(value)))
    return found
