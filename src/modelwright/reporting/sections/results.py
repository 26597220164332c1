"""Results: every metric on every split, and what simple baselines reach."""

from __future__ import annotations

from collections.abc import Sequence

from modelwright.metrics.estimate import Estimate, label, show
from modelwright.reporting.blocks import Block, Cell, Figure, Row, Table, Text
from modelwright.reporting.charts import cut, frame, interval, metric_axis, row_names
from modelwright.reporting.drawing import plot
from modelwright.reporting.section import SectionPart, sections
from modelwright.reporting.view import View


@sections.register("results")
class Results(SectionPart):
    """How good the model is."""

    name, title, order = "results", "How good it is", 50

    def applies(self, view: View) -> bool:
        """Whether it was judged."""
        return view.finished

    def blocks(self, view: View) -> Sequence[Block]:
        """The model beside its baselines, then all metrics."""
        blocks: list[Block] = []
        beside = _baselines(view)
        if beside:
            blocks.append(Row(beside))
        splits = list(view.evaluation["splits"])
        metrics = list(dict.fromkeys(metric for values in view.evaluation["splits"].values() for metric in values))
        rows = [
            [Cell(label(metric), strong=metric == view.primary), *(_cell(view.estimate(split, metric), metric) for split in splits)]
            for metric in metrics
        ]
        blocks.append(Table(["metric", *splits], rows, "Every metric, with its 95 % interval"))
        if "test" in splits:
            blocks.append(Text("The test split was judged once, after everything had been decided.", "note"))
        return blocks


def _cell(estimate: Estimate | None, metric: str) -> str:
    return "–" if estimate is None else show(metric, estimate)


def _baselines(view: View) -> list[Block]:
    metric = view.primary
    mine = view.estimate(view.judged, metric)
    others = {name: Estimate.from_dict(values[metric]) for name, values in view.evaluation.get("baselines", {}).items() if metric in values}
    if mine is None or not others:
        return []
    better = view.higher_is_better
    ranked = sorted([("this model", mine), *others.items()], key=lambda row: -row[1].value if better else row[1].value)
    with plot(f"{label(metric)} of the model and its baselines on the {view.judged} split.", height=0.75 + 0.32 * len(ranked)) as drawn:
        for place, (name, estimate) in enumerate(ranked):
            own = name == "this model"
            interval(drawn.axes, place, estimate.low, estimate.value, estimate.high, 0 if own else 1, hollow=not own)
        row_names(drawn.axes, [name.replace("_", " ") for name, _ in ranked])
        metric_axis(drawn.axes.xaxis, metric)
        drawn.axes.set_xlabel(f"{view.judged} {label(metric)}, 95 % interval")
        frame(drawn.axes, grid="x")
    compared = view.evaluation.get("comparisons", {})
    rows = []
    for name, estimate in ranked:
        verdict = "" if name not in compared else "clearly apart" if compared[name].get("distinguishable") else "indistinct"
        rows.append([Cell(cut(name.replace("_", " "), 30), strong=name == "this model"), show(metric, estimate), verdict])
    table = Table(
        [f"on {view.judged}", label(metric), "one by one"],
        rows,
        "The model beside simple predictors, compared example by example",
        left=frozenset({2}),
    )
    return [Figure(drawn.svg, f"The model and its baselines on the {view.judged} split; {'more' if better else 'less'} is better."), table]
