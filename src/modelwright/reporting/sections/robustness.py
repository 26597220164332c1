"""Robustness: what noise, blur, shifts, typos and missing values do to the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelwright.metrics.estimate import PROPORTIONS, Estimate, label, show
from modelwright.reporting.blocks import Block, Figure, Row, Table, Text
from modelwright.reporting.charts import band, frame, line, metric_axis
from modelwright.reporting.drawing import plot
from modelwright.reporting.quantities import several
from modelwright.reporting.section import SectionPart, sections
from modelwright.reporting.view import View


@sections.register("robustness")
class Robustness(SectionPart):
    """The primary metric over the strength of what happens to the inputs."""

    name, title, order = "robustness", "How robust it is", 85

    def applies(self, view: View) -> bool:
        """Whether anything was tried."""
        return any(len(course.get("points", ())) > 1 for course in view.findings.get("robustness", ()))

    def blocks(self, view: View) -> Sequence[Block]:
        """A figure a perturbation, and what hurt most."""
        courses = [course for course in view.findings["robustness"] if len(course.get("points", ())) > 1]
        metric, number = view.primary, view.findings.get("examples", 0)
        split = view.findings.get("split", "validation")
        said = f"Measured on {several(number, 'window' if view.schema is not None and view.schema.causal else 'example')} of the {split} split. {_worst(courses, metric)}"
        values = [point[name] for course in courses for point in course["points"] for name in ("low", "high")]
        return [Text(said), Row([_figure(course, metric, min(values), max(values)) for course in courses])]


def _worst(courses: Sequence[Mapping[str, Any]], metric: str) -> str:
    def change(course: Mapping[str, Any]) -> float:
        return abs(course["points"][-1]["value"] - course["points"][0]["value"])

    worst = max(courses, key=change)
    first, last = worst["points"][0], worst["points"][-1]
    shown = [f"{100 * point['value']:.1f} %" if metric in PROPORTIONS else f"{point['value']:.3g}" for point in (first, last)]
    return f"What hurts most is {worst['name']}: at the strongest that was tried, the {label(metric)} goes from {shown[0]} to {shown[1]}."


def _figure(course: Mapping[str, Any], metric: str, low: float, high: float) -> Figure:
    points = course["points"]
    x = [point["strength"] for point in points]
    last = points[-1]
    with plot(
        f"{label(metric)} as {course['name']} gets stronger, from {points[0]['value']:.3g} to {last['value']:.3g}.", width=3.6, height=2.5
    ) as drawn:
        band(drawn.axes, x, [point["low"] for point in points], [point["high"] for point in points])
        line(drawn.axes, x, [point["value"] for point in points], points=True)
        room = 0.04 * (high - low)
        drawn.axes.set_ylim(
            max(0.0, low - room) if low >= 0 else low - room, min(1.02, high + room) if metric in PROPORTIONS else high + room
        )
        metric_axis(drawn.axes.yaxis, metric)
        drawn.axes.set_title(course["name"], fontsize=10, loc="left")
        drawn.axes.set_xlabel(course["unit"])
        frame(drawn.axes)
    rows = [[f"{point['strength']:g}", show(metric, Estimate(point["value"], point["low"], point["high"]))] for point in points]
    return Figure(drawn.svg, "", Table(["strength", label(metric)], rows, f"{course['name'].capitalize()}, {course['unit']}", folded=True))
