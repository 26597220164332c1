"""Families: the comparison that chose the network."""

from __future__ import annotations

from collections.abc import Sequence

from modelwright.core.units import format_count, format_duration
from modelwright.metrics.estimate import Z, label
from modelwright.reporting.blocks import Block, Cell, Figure, Row, Table, Text
from modelwright.reporting.charts import cut, frame, interval, metric_axis, row_names
from modelwright.reporting.drawing import plot
from modelwright.reporting.quantities import metric_text
from modelwright.reporting.section import SectionPart, sections
from modelwright.reporting.view import Trial, View

MOST = 16
"""Candidates that are drawn."""


@sections.register("families")
class Families(SectionPart):
    """The trials of a build."""

    name, title, order = "families", "The comparison of families", 30

    def applies(self, view: View) -> bool:
        """Whether there was a comparison."""
        return bool(view.trials)

    def blocks(self, view: View) -> Sequence[Block]:
        """The longest trial of each candidate, drawn, and all of them as a table."""
        better = view.higher_is_better
        best: dict[str, Trial] = {}
        for trial in view.trials:
            if trial.candidate not in best or trial.seconds >= best[trial.candidate].seconds:
                best[trial.candidate] = trial
        longest = max(trial.seconds for trial in best.values())
        ranked = sorted(best.values(), key=lambda trial: (-round(trial.seconds / longest, 1), -trial.value if better else trial.value))
        winner = view.winner
        metric = view.primary or "score"
        said = f"{len(view.trials)} short trainings were compared on the validation split, the same seconds for each in a round, the weak ones dropped early. "
        said += f"{view.search['verdict']}." if view.search else f"The run went on with {winner}." if winner else ""
        return [Text(said), Row([_figure(ranked[:MOST], metric, winner), _table(view, ranked, metric, winner)])]


def _figure(ranked: Sequence[Trial], metric: str, winner: str) -> Figure:
    description = f"Validation {label(metric)} of each candidate's longest trial."
    with plot(description, height=0.75 + 0.3 * len(ranked)) as drawn:
        for place, trial in enumerate(ranked):
            half = Z * (trial.standard_error or 0.0)
            low, high = trial.value - half, trial.value + half
            if metric in ("accuracy", "balanced_accuracy", "f1"):
                low, high = max(0.0, low), min(1.0, high)
            interval(drawn.axes, place, low, trial.value, high, 0 if trial.candidate == winner else 1, hollow=trial.candidate != winner)
        row_names(drawn.axes, [f"{trial.candidate}" for trial in ranked])
        metric_axis(drawn.axes.xaxis, metric)
        drawn.axes.set_xlabel(f"validation {label(metric)}, 95 % interval")
        frame(drawn.axes, grid="x")
    return Figure(drawn.svg, "The longest trial of each candidate" + ("; the filled dot is the one that was chosen." if winner else "."))


def _table(view: View, ranked: Sequence[Trial], metric: str, winner: str) -> Table:
    rounds = sorted({trial.seconds for trial in view.trials})
    reached = {(trial.candidate, trial.seconds): metric_text(metric, trial.value) for trial in view.trials}
    rounds = rounds if len(rounds) <= 5 else rounds[-5:]
    rows = [
        [
            Cell(cut(trial.candidate, 24), strong=trial.candidate == winner),
            "–" if trial.parameters is None else format_count(trial.parameters),
            "–" if trial.samples_per_second is None else format_count(trial.samples_per_second),
            *(reached.get((trial.candidate, seconds), "–") for seconds in rounds),
        ]
        for trial in ranked
    ]
    header = ["candidate", "parameters", "examples/s", *(f"in {format_duration(seconds)}" for seconds in rounds)]
    return Table(header, rows, f"Validation {label(metric)} by time of training")
