"""Mistakes: which classes are taken for which, and the examples that the model finds hardest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelwright.reporting.blocks import Block, Cell, Heading, Picture, Pictures, Table, Text
from modelwright.reporting.charts import cut
from modelwright.reporting.quantities import several
from modelwright.reporting.section import SectionPart, sections
from modelwright.reporting.view import View

MOST_CLASSES = 25
"""A matrix of more classes is shown as its most confused pairs."""
MOST_PAIRS, MOST_CELLS = 15, 8


@sections.register("mistakes")
class Mistakes(SectionPart):
    """The confusion matrix and the worst examples."""

    name, title, order = "mistakes", "Where it goes wrong", 60

    def applies(self, view: View) -> bool:
        """Whether there are classes that can be confused, or examples to show."""
        return bool(view.details.get("classes")) or bool(_worst(view))

    def blocks(self, view: View) -> Sequence[Block]:
        """The matrix, then the examples."""
        blocks: list[Block] = []
        classes, matrix = view.details.get("classes", ()), view.details.get("confusion_matrix")
        if matrix and len(classes) <= MOST_CLASSES:
            blocks.append(_matrix(classes, matrix, view.judged))
        pairs = view.details.get("most_confused", ())
        if pairs:
            blocks += _pairs(pairs, classes, whole=bool(matrix) and len(classes) <= MOST_CLASSES)
        elif classes:
            blocks.append(Text(f"No example of the {view.judged} split was mistaken."))
        return blocks + _hardest(view)


def _worst(view: View) -> Sequence[Mapping[str, Any]]:
    """Of data that is no text."""
    worst = view.findings.get("worst", ())
    return worst if worst and ("image" in worst[0] or "row" in worst[0]) else ()


def _matrix(classes: Sequence[str], matrix: Sequence[Sequence[int]], split: str) -> Table:
    width = 10 if len(classes) <= 6 else 6
    rows = []
    for place, (name, counts) in enumerate(zip(classes, matrix, strict=True)):
        total = max(sum(counts), 1)
        cells = [
            Cell(f"{number:,}" if number else "·", shade=number / total, strong=column == place, tone="" if number else "soft")
            for column, number in enumerate(counts)
        ]
        rows.append([cut(name, 18), *cells])
    caption = f"Confusion matrix of the {split} split: a row a true class, a column a predicted one; shaded by the share of the row"
    return Table(["true \\ predicted", *(cut(name, width) for name in classes)], rows, caption, square=True)


def _pairs(pairs: Sequence[Mapping[str, Any]], classes: Sequence[str], *, whole: bool) -> list[Block]:
    first = pairs[0]
    said = (
        f"The most frequent mistake: {cut(first['true'], 40)} taken for {cut(first['predicted'], 40)}, {several(first['count'], 'time')}."
    )
    if whole:
        return [Text(said)] if len(classes) > 2 else []
    rows = [[cut(pair["true"], 40), cut(pair["predicted"], 40), f"{pair['count']:,}"] for pair in pairs[:MOST_PAIRS]]
    return [Text(said), Table(["true", "predicted", "times"], rows, "The most confused pairs", left=frozenset({1}))]


def _hardest(view: View) -> list[Block]:
    worst = _worst(view)
    if not worst:
        return []
    number = view.findings.get("examples", 0)
    split = view.findings.get("split", "validation")
    title = Heading(f"The hardest examples of the {split} split")
    said = Text(
        f"Those of the highest loss among {several(number, 'example')}. A cross marks a mistake; wrong labels often show up here first.",
        "note",
    )
    known = "confidence" in worst[0]
    if not known:
        said = Text(f"Those of the highest loss among {several(number, 'example')}.", "note")
    if "image" in worst[0]:
        pictures = [
            Picture(
                row["image"],
                f"{cut(str(row['target']), 22)} → {cut(str(row['predicted']), 22)}",
                _belief(row),
                row["target"] == row["predicted"] if known else None,
            )
            for row in worst
        ]
        told = "class → predicted class, and the probability that the model gave each" if known else "value → predicted value, and the loss"
        return [title, said, Pictures(pictures, f"True {told}.")]
    columns = list(worst[0]["row"])[:MOST_CELLS]
    rows = []
    for row in worst:
        tone = ("good" if row["target"] == row["predicted"] else "bad") if known else ""
        answer = [
            cut(str(row["target"]), 20),
            Cell(cut(str(row["predicted"]), 20), tone=tone),
            f"{100 * row['probability']:.1f} %" if known else f"{row['loss']:.3g}",
        ]
        rows.append([*answer, *(cut(row["row"][name], 20) or "–" for name in columns)])
    header = ["true", "predicted", "given to the truth" if known else "loss", *(cut(name, 20) for name in columns)]
    caption = "The hardest rows" + (f", the first {MOST_CELLS} columns" if len(worst[0]["row"]) > MOST_CELLS else "")
    return [title, said, Table(header, rows, caption, left=frozenset({1}) if known else frozenset())]


def _belief(row: Mapping[str, Any]) -> str:
    if "probability" not in row:
        return f"{row['loss']:.3g}"
    if row["target"] == row["predicted"]:
        return f"{100 * row['probability']:.1f} %"
    return f"{100 * row['probability']:.1f} % → {100 * row['confidence']:.1f} %"
