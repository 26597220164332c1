"""Generalization: the gap between the splits, and how even the quality is over classes and slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelwright.metrics.estimate import PROPORTIONS, Estimate, label, show, wilson
from modelwright.reporting.blocks import Block, Cell, Figure, Heading, Row, Table, Text
from modelwright.reporting.charts import cut, frame, interval, metric_axis, row_names
from modelwright.reporting.drawing import SOFT, plot
from modelwright.reporting.quantities import p_text, several
from modelwright.reporting.section import SectionPart, sections
from modelwright.reporting.view import View

MOST_CLASSES, MOST_SLICES = 30, 14
SURE = 0.05
"""Corrected p-value below which a slice is called different."""


@sections.register("generalization")
class Generalization(SectionPart):
    """Whether it is as good on what it has not seen, and everywhere."""

    name, title, order = "generalization", "Does it generalize?", 80

    def applies(self, view: View) -> bool:
        """Whether it was judged."""
        return view.finished or bool(view.findings.get("slices"))

    def blocks(self, view: View) -> Sequence[Block]:
        """Gap, classes, slices."""
        return [*_gap(view), *_classes(view), *_slices(view)]


def _gap(view: View) -> list[Block]:
    metric, splits = view.primary, list(view.evaluation.get("splits", {}))
    known = [(name, estimate) for name in splits if (estimate := view.estimate(name, metric)) is not None]
    if len(known) < 2:
        return []
    with plot(f"{label(metric)} on each split.", height=0.75 + 0.32 * len(known)) as drawn:
        for place, (name, estimate) in enumerate(known):
            interval(
                drawn.axes, place, estimate.low, estimate.value, estimate.high, 0 if name == view.judged else 1, hollow=name != view.judged
            )
        row_names(drawn.axes, [name for name, _ in known])
        metric_axis(drawn.axes.xaxis, metric)
        drawn.axes.set_xlabel(f"{label(metric)}, 95 % interval")
        frame(drawn.axes, grid="x")
    values = dict(known)
    said = ""
    if "train" in values and view.judged != "train":
        train, judged = values["train"], values[view.judged]
        gap = train.value - judged.value
        size = f"{100 * abs(gap):.1f} percentage points" if metric in PROPORTIONS else f"{abs(gap):.3g}"
        apart = train.low > judged.high or train.high < judged.low
        said = f"On the training split the {label(metric)} is {size} {'higher' if gap > 0 else 'lower'} than on {view.judged}, "
        said += (
            "and the intervals don't overlap: more than chance explains." if apart else "and the intervals overlap: chance may explain it."
        )
    table = Table(["split", label(metric)], [[name, show(metric, estimate)] for name, estimate in known], "The gap")
    return [
        *([Text(said, "lead")] if said else []),
        Row([Figure(drawn.svg, "The same metric on what was learnt from, chosen on, and never seen."), table]),
    ]


def _classes(view: View) -> list[Block]:
    rows = view.details.get("per_class", ())
    if not rows:
        return []
    ordered = sorted(rows, key=lambda row: row["recall"])
    shown = ordered[:MOST_CLASSES]
    with plot(f"The share of each class that is recognized, on the {view.judged} split.", height=0.75 + 0.23 * len(shown)) as drawn:
        for place, row in enumerate(shown):
            share = wilson(row["recall"], row["support"])
            interval(drawn.axes, place, share.low, share.value, share.high)
        row_names(drawn.axes, [row["class"] for row in shown])
        metric_axis(drawn.axes.xaxis, "recall")
        drawn.axes.set_xlabel("recall, 95 % interval")
        frame(drawn.axes, grid="x")
    cells = [
        [
            cut(row["class"], 30),
            f"{row['support']:,}",
            wilson(row["recall"], row["support"]).percent(),
            f"{100 * row['precision']:.1f} %",
            f"{100 * row['f1']:.1f} %",
        ]
        for row in shown
    ]
    table = Table(["class", "examples", "recall", "precision", "F1"], cells, f"By class, on {view.judged}")
    more = f" The {MOST_CLASSES} weakest of {len(rows)}." if len(rows) > MOST_CLASSES else ""
    return [Heading("By class"), Row([Figure(drawn.svg, f"How many of each class are found, the weakest first.{more}"), table])]


def _slices(view: View) -> list[Block]:
    found: Sequence[Mapping[str, Any]] = view.findings.get("slices", ())
    if not found:
        return []
    metric, better = view.primary, view.higher_is_better
    split = view.findings.get("split", "validation")
    whole = view.estimate(split, metric)
    ranked = sorted(found, key=lambda row: row["estimate"]["value"], reverse=not better)
    different = [row for row in ranked if row["p_value"] < SURE]
    shown = ranked if len(ranked) <= MOST_SLICES else _notable(ranked, different)
    with plot(f"{label(metric)} on slices of the {split} split, the weakest first.", height=0.75 + 0.24 * len(shown), width=5.0) as drawn:
        for place, row in enumerate(shown):
            estimate = Estimate.from_dict(row["estimate"])
            interval(drawn.axes, place, estimate.low, estimate.value, estimate.high, 1 if row["p_value"] < SURE else 0)
        if whole is not None:
            drawn.axes.axvline(whole.value, color=SOFT, linewidth=0.9, linestyle=(0, (2, 2)))
        row_names(drawn.axes, [f"{cut(row['column'], 16)}: {row['value']}" for row in shown])
        metric_axis(drawn.axes.xaxis, metric)
        drawn.axes.set_xlabel(f"{label(metric)}, 95 % interval")
        frame(drawn.axes, grid="x")
    rows = [
        [
            f"{cut(row['column'], 30)}: {cut(row['value'], 30)}",
            f"{row['count']:,}",
            show(metric, Estimate.from_dict(row["estimate"])),
            Cell(p_text(row["p_value"]), strong=row["p_value"] < SURE),
        ]
        for row in shown
    ]
    number = "None" if not different else "One" if len(different) == 1 else f"{len(different)}"
    said = f"{number} of {several(len(found), 'slice')} {'differ' if len(different) > 1 else 'differs'} from the rest by more than chance (p < {SURE}, corrected for looking at {len(found)})."
    names = {feature.name for feature in view.schema.inputs} if view.schema is not None and view.schema.kind == "table" else set()
    if unseen := len(names - {row["column"] for row in found}):
        said += f" {several(unseen, 'column')} gave none: too few examples, too many columns, or no time left."
    more = f" Of {len(ranked)} slices, the most notable." if len(shown) < len(ranked) else ""
    caption = f"Parts of the {split} split, the weakest first; the dashes are the whole of it.{more}"
    return [
        Heading("By slice"),
        Text(said),
        Row(
            [
                Figure(drawn.svg, caption),
                Table(["slice", "examples", label(metric), "p"], rows, f"Slices of {split}", folded=len(rows) > 10),
            ]
        ),
    ]


def _notable(ranked: Sequence[Mapping[str, Any]], different: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The weakest and the strongest, those first that differ by more than chance."""
    half = MOST_SLICES // 2
    weak = [row for row in ranked[: len(ranked) // 2] if row in different][:half]
    weak += [row for row in ranked if row not in weak][: half - len(weak)]
    strong = [row for row in reversed(ranked) if row in different and row not in weak][:half]
    strong += [row for row in reversed(ranked) if row not in weak and row not in strong][: half - len(strong)]
    return sorted([*weak, *strong], key=list(ranked).index)
