"""Calibration: whether probabilities mean what they say."""

from __future__ import annotations

from collections.abc import Sequence

from modelwright.metrics.estimate import wilson
from modelwright.reporting.blocks import Block, Figure, Row, Table, Text
from modelwright.reporting.charts import frame
from modelwright.reporting.drawing import FIRST, SOFT, plot
from modelwright.reporting.section import SectionPart, sections
from modelwright.reporting.view import View


@sections.register("calibration")
class Calibration(SectionPart):
    """The reliability diagram."""

    name, title, order = "calibration", "Can its probabilities be believed?", 70

    def applies(self, view: View) -> bool:
        """Whether the judged split has bins of confidence."""
        return bool(view.details.get("calibration"))

    def blocks(self, view: View) -> Sequence[Block]:
        """The diagram, and how many examples each point rests on."""
        bins = view.details["calibration"]
        error = view.estimate(view.judged, "calibration_error")
        confident = sum(row["count"] * row["confidence"] for row in bins) / max(sum(row["count"] for row in bins), 1)
        right = sum(row["count"] * row["accuracy"] for row in bins) / max(sum(row["count"] for row in bins), 1)
        leaning = (
            "surer than it should be"
            if confident > right + 0.01
            else "less sure than it could be"
            if confident < right - 0.01
            else "about as sure as it should be"
        )
        said = f"On the {view.judged} split the model is on average {100 * confident:.1f} % sure and {100 * right:.1f} % right: it is {leaning}."
        if error is not None:
            said += f" The expected calibration error is {error.number()}."
        return [Text(said), Row([_diagram(bins), _counts(bins)])]


def _diagram(bins: Sequence[dict]) -> Figure:
    with plot(
        "Reliability: the share of right answers over the confidence they were given with; on the diagonal both are equal.", height=3.3
    ) as drawn:
        drawn.axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.9, linestyle=(0, (2, 2)))
        for row in bins:
            share = wilson(row["accuracy"], row["count"])
            drawn.axes.plot([row["confidence"]] * 2, [share.low, share.high], color=FIRST, linewidth=1.1, alpha=0.6)
        total = sum(row["count"] for row in bins)
        known = [row["confidence"] for row in bins], [row["accuracy"] for row in bins]
        drawn.axes.scatter(*known, s=[16 + 130 * row["count"] / total for row in bins], color=FIRST, linewidth=0, zorder=3)
        drawn.axes.set_xlim(0, 1.02)
        drawn.axes.set_ylim(0, 1.02)
        drawn.axes.set_xlabel("confidence")
        drawn.axes.set_ylabel("share that is right")
        for axis in (drawn.axes.xaxis, drawn.axes.yaxis):
            axis.set_major_formatter(lambda value, place: f"{100 * value:.0f} %")
        frame(drawn.axes)
    rows = [
        [
            f"{100 * row['low']:.0f} to {100 * row['high']:.0f} %",
            f"{row['count']:,}",
            f"{100 * row['confidence']:.1f} %",
            wilson(row["accuracy"], row["count"]).percent(),
        ]
        for row in bins
    ]
    table = Table(["confidence", "examples", "mean", "right"], rows, "Reliability", folded=True)
    return Figure(
        drawn.svg,
        "Below the dashes it promises too much, above them too little. Larger dots are more examples; bars are 95 % intervals.",
        table,
    )


def _counts(bins: Sequence[dict]) -> Figure:
    total = max(sum(row["count"] for row in bins), 1)
    with plot("How many predictions are made with which confidence.", height=3.3) as drawn:
        centers = [(row["low"] + row["high"]) / 2 for row in bins]
        drawn.axes.bar(centers, [row["count"] / total for row in bins], width=0.055, color=FIRST, alpha=0.8)
        drawn.axes.set_xlim(0, 1.02)
        drawn.axes.set_xlabel("confidence")
        drawn.axes.set_ylabel("share of predictions")
        for axis in (drawn.axes.xaxis, drawn.axes.yaxis):
            axis.set_major_formatter(lambda value, place: f"{100 * value:.0f} %")
        frame(drawn.axes)
    return Figure(drawn.svg, "How sure it usually is.")
