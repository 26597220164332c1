"""Training: the curves of loss, metric, learning rate and speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelwright.core.units import format_count
from modelwright.metrics.estimate import label
from modelwright.reporting.blocks import Block, Figure, Row, Table
from modelwright.reporting.charts import count_axis, frame, line, logarithmic, metric_axis, plain_ticks, smoothed, thinned
from modelwright.reporting.drawing import plot
from modelwright.reporting.quantities import metric_text
from modelwright.reporting.section import SectionPart, sections
from modelwright.reporting.view import View

ROWS = 12
"""Of the tables beside the curves."""


@sections.register("training")
class Training(SectionPart):
    """How the training went."""

    name, title, order = "training", "Training", 40

    def applies(self, view: View) -> bool:
        """Whether there are rows to draw."""
        return len(_known(view.metrics, "loss")) > 1

    def blocks(self, view: View) -> Sequence[Block]:
        """A figure each."""
        figures = [_loss(view), _metric(view), _rate(view), _speed(view)]
        return [Row([figure for figure in figures if figure is not None])]


def _known(rows: Sequence[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if isinstance(row.get(name), int | float) and isinstance(row.get("step"), int | float)]


def axis_of(view: View) -> tuple[str, str]:
    """What the curves go over, and its name: tokens of a text, else steps."""
    return ("samples", "tokens") if context_of(view) > 1 else ("step", "steps")


def context_of(view: View) -> int:
    """Tokens of an example of text; 1 for other data."""
    schema = view.schema
    return schema.text.shape[0] if schema is not None and schema.kind == "text" else 1


def _x(view: View, rows: Sequence[Mapping[str, Any]]) -> list[float]:
    name, _ = axis_of(view)
    return [row.get(name, row["step"]) * (context_of(view) if name == "samples" else 1) for row in rows]


def _loss(view: View) -> Figure | None:
    rows = thinned(_known(view.metrics, "loss"))
    losses, x = [row["loss"] for row in rows], _x(view, rows)
    smooth = smoothed(losses, max(1, len(losses) // 15))
    # What training lowers is a loss; where the validation split has the same quantity, both stand in one picture.
    same = "loss" if view.schema is not None and view.schema.causal else "log_loss"
    held = [row for row in view.evaluations if isinstance(row["metrics"].get(same), int | float)]
    with plot(f"Training loss over {axis_of(view)[1]}, from {losses[0]:.3g} to {smooth[-1]:.3g}.") as drawn:
        line(drawn.axes, x, losses, faint=True)
        line(drawn.axes, x, smooth, name="training")
        if len(held) > 1:
            line(drawn.axes, _x(view, held), [row["metrics"][same] for row in held], 1, "validation", points=len(held) < 40)
            drawn.axes.legend()
        if logarithmic(losses):
            drawn.axes.set_yscale("log")
            plain_ticks(drawn.axes.yaxis)
        drawn.axes.set_ylabel("loss, nats a token" if context_of(view) > 1 else "loss")
        drawn.axes.set_xlabel(axis_of(view)[1])
        count_axis(drawn.axes.xaxis)
        frame(drawn.axes)
    few = thinned(rows, ROWS)
    table = Table(
        [axis_of(view)[1], "loss"],
        [[format_count(at), f"{row['loss']:.4g}"] for at, row in zip(_x(view, few), few, strict=True)],
        "Training loss",
        folded=True,
    )
    caption = "Loss. Faint: as it was logged; dark: its moving average" + ("; dashed: on the validation split." if len(held) > 1 else ".")
    return Figure(drawn.svg, caption, table)


def _metric(view: View) -> Figure | None:
    metric = view.primary or next(iter(view.evaluations[0]["metrics"]), "") if view.evaluations else ""
    held = [row for row in view.evaluations if isinstance(row["metrics"].get(metric), int | float)]
    if len(held) < 2:
        return None
    x, y = _x(view, held), [row["metrics"][metric] for row in held]
    with plot(f"Validation {label(metric)} over {axis_of(view)[1]}, at the end {metric_text(metric, y[-1])}.") as drawn:
        line(drawn.axes, x, y, points=True)
        metric_axis(drawn.axes.yaxis, metric)
        drawn.axes.set_xlabel(axis_of(view)[1])
        drawn.axes.set_ylabel(f"validation {label(metric)}")
        count_axis(drawn.axes.xaxis)
        frame(drawn.axes)
    rows = [[format_count(at), metric_text(metric, value)] for at, value in zip(x, y, strict=True)]
    return Figure(
        drawn.svg,
        f"The metric that decides, {label(metric)}, on the validation split.",
        Table([axis_of(view)[1], label(metric)], thinned(rows, ROWS), f"Validation {label(metric)}", folded=True),
    )


def _rate(view: View) -> Figure | None:
    rows = thinned(_known(view.metrics, "learning_rate"))
    if len(rows) < 2:
        return None
    rates = [row["learning_rate"] for row in rows]
    with plot(f"The learning rate, at most {max(rates):.3g}.", height=1.9) as drawn:
        line(drawn.axes, _x(view, rows), rates)
        drawn.axes.set_ylabel("learning rate")
        drawn.axes.set_xlabel(axis_of(view)[1])
        count_axis(drawn.axes.xaxis)
        frame(drawn.axes)
    return Figure(drawn.svg, f"The learning rate, {max(rates):.3g} at most.")


def _speed(view: View) -> Figure | None:
    rows = thinned(_known(view.metrics, "samples_per_second"))
    if len(rows) < 2:
        return None
    context = context_of(view)
    speed = [row["samples_per_second"] * context for row in rows]
    unit = "tokens" if context > 1 else "examples"
    typical = sorted(speed)[len(speed) // 2]
    with plot(f"Throughput, typically {format_count(typical)} {unit} a second.", height=1.9) as drawn:
        line(drawn.axes, _x(view, rows), speed)
        drawn.axes.set_ylim(0, 1.15 * max(speed))
        drawn.axes.set_ylabel(f"{unit}/s")
        drawn.axes.set_xlabel(axis_of(view)[1])
        count_axis(drawn.axes.yaxis)
        count_axis(drawn.axes.xaxis)
        frame(drawn.axes)
    return Figure(drawn.svg, f"Throughput, typically {format_count(typical)} {unit} a second.")
