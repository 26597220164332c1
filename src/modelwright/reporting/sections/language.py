"""Language: what a model of texts makes of its context, what surprises it, and what it writes."""

from __future__ import annotations

from collections.abc import Sequence

from modelwright.reporting.blocks import Block, Figure, Heading, Passage, Passages, Row, Table, Text
from modelwright.reporting.charts import band, frame, line, plain_ticks
from modelwright.reporting.drawing import plot
from modelwright.reporting.section import SectionPart, sections
from modelwright.reporting.sections.training import context_of
from modelwright.reporting.view import View

SURPRISING = 8.0
"""Nats of a piece of text that is shaded darkest: a chance of 1 in 3000."""
LONGEST = 700
"""Characters of a passage."""
SAMPLES = 3


@sections.register("language")
class Language(SectionPart):
    """Loss over the context, surprises, samples."""

    name, title, order = "language", "As a language model", 65

    def applies(self, view: View) -> bool:
        """Whether it is one, with something to show."""
        return bool(view.findings.get("positions")) or bool(view.samples)

    def blocks(self, view: View) -> Sequence[Block]:
        """What there is of the three."""
        return [*_positions(view), *_samples(view), *_surprises(view)]


def _positions(view: View) -> list[Block]:
    rows = view.findings.get("positions", ())
    if len(rows) < 2:
        return []
    x = [(row["from"] * row["to"]) ** 0.5 for row in rows]
    first, last = rows[0]["value"], rows[-1]["value"]
    with plot(f"Loss by position in the context, from {first:.3g} at its beginning to {last:.3g} nats a token at its end.") as drawn:
        band(drawn.axes, x, [row["low"] for row in rows], [row["high"] for row in rows])
        line(drawn.axes, x, [row["value"] for row in rows], points=True)
        drawn.axes.set_xscale("log", base=2)
        plain_ticks(drawn.axes.xaxis)
        drawn.axes.set_xlabel("tokens read before")
        drawn.axes.set_ylabel("loss, nats a token")
        frame(drawn.axes)
    cells = [
        [
            f"{row['from']} to {row['to']}" if row["to"] > row["from"] else f"{row['from']}",
            f"{row['value']:.3f} ({row['low']:.3f}-{row['high']:.3f})",
        ]
        for row in rows
    ]
    table = Table(["position", "loss"], cells, "Loss by position, nats a token", folded=True)
    gain = rows[-2]["value"] - last
    sure = rows[-2]["low"] > last
    said = f"Having read more than {rows[-1]['from'] - 1} tokens of its context of {context_of(view)}, the model needs {last:.3f} nats for the next one; at the very beginning {first:.3f}. "
    said += (
        f"The last doubling of the context is worth {gain:.3f} nats."
        if sure
        else "The last doubling of the context brings nothing that can be told from chance."
    )
    return [
        Text(said),
        Row(
            [
                Figure(
                    drawn.svg, "How the loss falls with what was read. Where the line is flat, more context doesn't help this model.", table
                )
            ]
        ),
    ]


def _surprises(view: View) -> list[Block]:
    worst = [row for row in view.findings.get("worst", ()) if "pieces" in row]
    if not worst:
        return []
    passages = []
    for row in worst:
        pieces, length = [], 0
        for text, loss in row["pieces"]:
            if length > LONGEST:
                break
            pieces.append((text, min(1.0, loss / SURPRISING)))
            length += len(text)
        passages.append(Passage(f"{row['loss']:.2f} nats a token on average", pieces))
    caption = "The darker a piece of text, the less the model expected it after what stands before it."
    return [Heading("What surprises it most"), Passages(passages, caption)]


def _samples(view: View) -> list[Block]:
    known = [row for row in view.samples if row.get("text") and isinstance(row.get("step"), int)]
    if not known:
        return []
    chosen = [known[0], known[len(known) // 2], known[-1]] if len(known) > SAMPLES else known
    passages = [Passage(f"after {row['step']:,} steps", [(str(row["text"])[:LONGEST], 0.0)]) for row in chosen]
    return [Heading("What it writes"), Passages(passages, "Written by itself, at temperature 0.8, while it learnt.")]
