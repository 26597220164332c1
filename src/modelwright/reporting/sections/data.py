"""Data: what an example is, some of them, how the target is spread, and what was cleaned."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelwright.core.schema import Schema, describe
from modelwright.core.units import format_bytes, format_count
from modelwright.reporting.blocks import Block, Fact, Facts, Figure, Heading, Passage, Passages, Picture, Pictures, Row, Table, Text
from modelwright.reporting.charts import cut, frame, row_names
from modelwright.reporting.drawing import DASHES, SERIES, plot
from modelwright.reporting.quantities import several
from modelwright.reporting.section import SectionPart, sections
from modelwright.reporting.view import View

MOST_COLUMNS, MOST_CLASSES, MOST_CELLS = 60, 40, 12
PASSAGE = 400
"""Characters of a passage that is shown of a text."""


@sections.register("data")
class Data(SectionPart):
    """The data set."""

    name, title, order = "data", "Data", 20

    def applies(self, view: View) -> bool:
        """Whether anything is known of it."""
        return bool(view.state.get("report")) or bool(view.findings) or view.schema is not None

    def blocks(self, view: View) -> Sequence[Block]:
        """Schema, balance, examples, cleaning."""
        schema, report = view.schema, view.state.get("report", {})
        blocks: list[Block] = [Facts(_facts(view, schema, report))]
        if schema is not None and schema.kind == "table":
            blocks.append(_schema_table(schema, report))
        balance, shown = _balance(view.findings.get("target")), _shown(view.findings.get("shown", ()), schema)
        blocks += (
            [Row([*balance, *shown])]
            if schema is not None and schema.kind == "image" and balance and shown
            else [*map(_alone, balance), *shown]
        )
        blocks += _cleaning(report)
        return blocks


def _facts(view: View, schema: Schema | None, report: Mapping[str, Any]) -> list[Fact]:
    facts = []
    path = view.recipe.get("data", {}).get("path") if isinstance(view.recipe.get("data"), Mapping) else None
    if path:
        facts.append(
            Fact("source", cut(Path(str(path)).name or str(path), 60), f"read as {report['source']}" if report.get("source") else "")
        )
    if schema is not None:
        first = schema.inputs[0]
        what = describe(first) if schema.kind != "table" else f"rows of {several(len(schema.inputs), 'column')}"
        facts.append(Fact("input", what))
        asked = f"one of {len(schema.classes)} classes" if schema.classes else "the next token" if schema.causal else "a number"
        facts.append(Fact("target", cut(schema.target.name, 40), asked))
    sizes = view.findings.get("sizes")
    if sizes:
        for name, size in sizes.items():
            note = f"{format_bytes(size['bytes'])} of text in {several(size['documents'], 'document')}"
            facts.append(Fact(name, f"{format_count(size['tokens'])} tokens", note))
        tokenizer = view.findings.get("tokenizer", {})
        facts.append(Fact("tokenizer", str(tokenizer.get("kind", "")), f"{tokenizer.get('vocabulary', 0):,} different tokens"))
    else:
        given = set(report.get("given", ()))
        judged = view.state.get("held_out", {})
        for name, number in report.get("splits", {}).items():
            notes = ["as the data came"] if name in given else []
            notes += [f"{judged[name]:,} of them judged"] if judged.get(name, number) < number else []
            facts.append(Fact(name, several(number, "example"), ", ".join(notes)))
    return facts


def _schema_table(schema: Schema, report: Mapping[str, Any]) -> Table:
    missing, rows = report.get("missing", {}), []
    for feature in [*schema.inputs[:MOST_COLUMNS], schema.target]:
        role = "target" if feature is schema.target else "input"
        if feature.type == "number":
            what = f"mean {feature.mean[0]:.4g}, standard deviation {feature.scale[0]:.4g}"
        else:
            what = cut(", ".join(feature.values), 60)
        rows.append(
            [cut(feature.name, 40), role, describe(feature), what, f"{missing[feature.name]:,}" if feature.name in missing else "–"]
        )
    more = len(schema.inputs) - MOST_COLUMNS
    caption = "The columns, as they were understood" + (f"; {more:,} more are not shown" if more > 0 else "")
    return Table(["column", "role", "type", "values", "missing"], rows, caption, left=frozenset({1, 2, 3}), folded=len(rows) > 12)


def _balance(target: Mapping[str, Any] | None) -> list[Block]:
    if not target or not target.get("counts"):
        return []
    counts: Mapping[str, Sequence[int]] = target["counts"]
    return [_classes(target["classes"], counts) if "classes" in target else _histogram(target["edges"], counts)]


def _classes(names: Sequence[str], counts: Mapping[str, Sequence[int]]) -> Block:
    totals = [sum(split[place] for split in counts.values()) for place in range(len(names))]
    table = Table(
        ["class", *counts, "share"],
        [
            [cut(name, 40), *(f"{split[place]:,}" for split in counts.values()), f"{100 * totals[place] / max(sum(totals), 1):.1f} %"]
            for place, name in list(enumerate(names))[:MOST_CLASSES]
        ],
        "Examples by class and split"
        + (f"; {len(names) - MOST_CLASSES:,} more classes are not shown" if len(names) > MOST_CLASSES else ""),
    )
    if len(names) > MOST_CLASSES:
        return table
    most, least = max(totals), min(totals)
    even = (
        f"The largest class has {most / max(least, 1):.1f} times the examples of the smallest."
        if most > least
        else "All classes are of one size."
    )
    with plot(f"Examples by class. {even}", height=max(1.2, 0.55 + 0.21 * len(names))) as drawn:
        drawn.axes.barh(range(len(names)), totals, color=SERIES[0], height=0.5, alpha=0.75)
        row_names(drawn.axes, names)
        drawn.axes.set_xlabel("examples, all splits")
        frame(drawn.axes, grid="x")
    return Figure(drawn.svg, f"Balance. {even}", Table(table.header, table.rows, table.caption, folded=True))


def _histogram(edges: Sequence[float], counts: Mapping[str, Sequence[int]]) -> Block:
    with plot("The distribution of the target in each split.") as drawn:
        for series, (name, split) in enumerate(counts.items()):
            share = [count / max(sum(split), 1) for count in split]
            drawn.axes.stairs(share, edges, color=SERIES[series], linestyle=DASHES[series], label=name, linewidth=1.5)
        drawn.axes.set_ylabel("share of the split")
        drawn.axes.set_xlabel("target")
        drawn.axes.legend()
        frame(drawn.axes)
    rows = [
        [f"{low:.4g} to {high:.4g}", *(f"{split[place]:,}" for split in counts.values())]
        for place, (low, high) in enumerate(itertools.pairwise(edges))
    ]
    table = Table(["target", *counts], rows, "Examples by value of the target", folded=True)
    return Figure(drawn.svg, "The target. The splits should look alike.", table)


def _alone(block: Block) -> Block:
    """A figure that has no neighbor keeps the width of one that has."""
    return Row([block]) if isinstance(block, Figure) else block


def _shown(shown: Sequence[Mapping[str, Any]], schema: Schema | None) -> list[Block]:
    if not shown or schema is None:
        return []
    if "image" in shown[0]:
        pictures = [Picture(row["image"], str(row.get("target", ""))) for row in shown]
        return [Pictures(pictures, "Examples of the training split, each with its target.")]
    if "row" in shown[0]:
        columns = list(shown[0]["row"])[:MOST_CELLS]
        rows = [[cut(str(row.get("target", "")), 30), *(cut(row["row"][name], 24) or "–" for name in columns)] for row in shown[:8]]
        left = frozenset(
            place + 1 for place, name in enumerate(columns) if any(f.name == name and f.type != "number" for f in schema.inputs)
        )
        caption = "Rows of the training split" + (f", the first {MOST_CELLS} columns" if len(shown[0]["row"]) > MOST_CELLS else "")
        return [Table([cut(schema.target.name, 24), *(cut(name, 24) for name in columns)], rows, caption, left=left, folded=True)]
    return [Passages([Passage("", [(row["text"][:PASSAGE], 0.0)]) for row in shown if row.get("text")], "Passages of the training split.")]


def _cleaning(report: Mapping[str, Any]) -> list[Block]:
    """What was found wrong, and what was done about it."""
    reasons = {
        "unreadable": ("could not be read", "set aside"),
        "no target": ("without a target", "set aside"),
        "unseen label": ("of a class that training never sees", "set aside"),
        "duplicate": ("repeat another one of their split", "set aside"),
        "leak": ("stand in a later split too", "taken out of training"),
    }
    rows = [
        [f"examples {reasons.get(kind, (kind, ''))[0]}", f"{number:,}", reasons.get(kind, ("", "set aside"))[1]]
        for kind, number in report.get("rejected", {}).items()
    ]
    rows += [[f"examples of {pair}", f"{number:,}", "a leak between splits"] for pair, number in report.get("leaks", {}).items()]
    if report.get("conflicts"):
        rows.append(["examples with equal inputs and another target", f"{report['conflicts']:,}", "kept"])
    for name, what in (("missing", "missing values"), ("infinite", "infinite numbers"), ("unreadable", "values that are no numbers")):
        found = report.get(name, {})
        if found:
            done = "learnt as missing" if name == "missing" else "taken as missing"
            rows.append([f"{what} in {several(len(found), 'column')}", f"{sum(found.values()):,}", done])
    notes = [
        Text(note[:1].upper() + note[1:] + ("" if note.endswith((".", "!", "?")) else "."), "note") for note in report.get("notes", ())[:12]
    ]
    if not report:
        return []
    title = Heading("What was cleaned")
    if not rows:
        return [title, Text("Nothing had to be: no unreadable, repeated, unlabelled or leaking examples, no missing values."), *notes]
    table = Table(["what was found", "how many", "what was done"], rows, "", left=frozenset({2}))
    return [title, table, *notes]
