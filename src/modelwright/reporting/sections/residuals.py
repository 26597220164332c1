"""Residuals: predicted numbers beside true ones."""

from __future__ import annotations

from collections.abc import Sequence

from modelwright.reporting.blocks import Block, Figure, Row, Table, Text
from modelwright.reporting.charts import frame, logarithmic, plain_ticks
from modelwright.reporting.drawing import FIRST, SOFT, plot
from modelwright.reporting.quantities import several
from modelwright.reporting.section import SectionPart, sections
from modelwright.reporting.view import View

PARTS = 8
"""Of the table of errors by true value."""


@sections.register("residuals")
class Residuals(SectionPart):
    """How far predicted numbers are from true ones."""

    name, title, order = "residuals", "Predicted against true", 62

    def applies(self, view: View) -> bool:
        """Whether there are numbers to compare."""
        return len(view.findings.get("pairs", ())) > 1

    def blocks(self, view: View) -> Sequence[Block]:
        """Predicted against true, the error against the prediction, and the spread of errors."""
        pairs = view.findings["pairs"]
        true, predicted = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        errors = [p - t for t, p in pairs]
        schema = view.schema
        target = schema.target.name if schema is not None else "target"
        bias, split = sum(errors) / len(errors), view.findings.get("split", "validation")
        inside = sorted(abs(error) for error in errors)
        half, most = inside[len(inside) // 2], inside[int(0.9 * (len(inside) - 1))]
        said = f"On {several(len(pairs), 'example')} of the {split} split half of the predictions are within {half:.3g} of the truth and nine of ten within {most:.3g}; "
        said += f"the mean error is {bias:+.3g}."
        return [Text(said), Row([_scatter(true, predicted, target), _residuals(predicted, errors), _spread(errors)])]


def _scatter(true: Sequence[float], predicted: Sequence[float], target: str) -> Figure:
    with plot(f"Predicted against true {target}; on the diagonal they are equal.", height=3.4) as drawn:
        low, high = min(*true, *predicted), max(*true, *predicted)
        drawn.axes.plot([low, high], [low, high], color=SOFT, linewidth=0.9, linestyle=(0, (2, 2)))
        drawn.axes.scatter(true, predicted, s=11, color=FIRST, alpha=0.5, linewidth=0)
        if logarithmic([*true, *predicted]):
            drawn.axes.set_xscale("log")
            drawn.axes.set_yscale("log")
            plain_ticks(drawn.axes.xaxis)
            plain_ticks(drawn.axes.yaxis)
        drawn.axes.set_xlabel("true")
        drawn.axes.set_ylabel("predicted")
        frame(drawn.axes)
    order = sorted(range(len(true)), key=true.__getitem__)
    rows = []
    for part in range(min(PARTS, len(order))):
        chosen = order[part * len(order) // PARTS : (part + 1) * len(order) // PARTS] if len(order) >= PARTS else [order[part]]
        mean_error = sum(predicted[i] - true[i] for i in chosen) / len(chosen)
        size = sum(abs(predicted[i] - true[i]) for i in chosen) / len(chosen)
        rows.append([f"{true[chosen[0]]:.4g} to {true[chosen[-1]]:.4g}", f"{len(chosen)}", f"{mean_error:+.3g}", f"{size:.3g}"])
    table = Table(["true value", "examples", "mean error", "mean size of error"], rows, "Errors by true value", folded=True)
    return Figure(drawn.svg, "Predicted against true; the dashes are where both are equal.", table)


def _residuals(predicted: Sequence[float], errors: Sequence[float]) -> Figure:
    with plot("The error of each prediction over the predicted value; a good model shows no pattern.", height=3.4) as drawn:
        drawn.axes.axhline(0, color=SOFT, linewidth=0.9, linestyle=(0, (2, 2)))
        drawn.axes.scatter(predicted, errors, s=11, color=FIRST, alpha=0.5, linewidth=0)
        drawn.axes.set_xlabel("predicted")
        drawn.axes.set_ylabel("predicted less true")
        frame(drawn.axes)
    return Figure(drawn.svg, "Residuals. A pattern here is something left to learn.")


def _spread(errors: Sequence[float]) -> Figure:
    with plot("How the errors are spread around 0.", height=2.2) as drawn:
        drawn.axes.hist(errors, bins=min(30, max(8, len(errors) // 12)), color=FIRST, alpha=0.8)
        drawn.axes.axvline(0, color=SOFT, linewidth=0.9, linestyle=(0, (2, 2)))
        drawn.axes.set_xlabel("predicted less true")
        drawn.axes.set_ylabel("examples")
        frame(drawn.axes)
    return Figure(drawn.svg, "The spread of the errors.")
