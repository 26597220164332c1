"""Forecasts: what was said before the run, and what was seen after it."""

from __future__ import annotations

from collections.abc import Sequence

from modelwright.core.ledger import Entry
from modelwright.reporting.blocks import Block, Mark, Marks, Text
from modelwright.reporting.quantities import quantity_name, quantity_text
from modelwright.reporting.section import SectionPart, sections
from modelwright.reporting.view import View

MARGIN = 0.12
"""Share of a row's axis that stays free at each end."""


@sections.register("forecasts")
class Forecasts(SectionPart):
    """Every quantity of the ledger that was forecast."""

    name, title, order = "forecasts", "Did the forecasts come true?", 10

    def applies(self, view: View) -> bool:
        """Whether anything was forecast."""
        return any(entry.forecast is not None for entry in view.ledger.values())

    def blocks(self, view: View) -> Sequence[Block]:
        """A row a quantity, the score first, and a sentence that counts them."""
        entries = [entry for entry in view.ledger.values() if entry.forecast is not None]
        entries.sort(key=lambda entry: not entry.quantity.startswith(("test ", "validation ")))
        judged = [entry for entry in entries if entry.verdict and entry.low != entry.high]
        came = sum(entry.verdict == "inside" for entry in judged)
        marks = Marks(
            [mark(entry) for entry in entries],
            "The bar is the 95 % interval that was written down before training, the tick its center; the dot is what was measured. Each row has its own axis.",
        )
        if not judged:
            return [Text("The run has not been measured yet; these are its forecasts."), marks]
        return [Text(f"{came} of {len(judged)} measurements fell inside the interval that was forecast for them.", "lead"), marks]


def mark(entry: Entry) -> Mark:
    """An entry of the ledger on an axis of its own, which all of its numbers fit on."""
    assert entry.forecast is not None, "only what was forecast is marked"
    low, high = entry.forecast if entry.low is None else entry.low, entry.forecast if entry.high is None else entry.high
    known = [low, high, entry.forecast, *([] if entry.measured is None else [entry.measured])]
    least, span = min(known), (max(known) - min(known)) or 1.0

    def place(value: float) -> float:
        return 0.5 if max(known) == least else MARGIN + (1 - 2 * MARGIN) * (value - least) / span

    exact = low == high
    shown = quantity_text(entry.quantity, entry.unit, entry.forecast)
    if not exact:
        shown += f" ({quantity_text(entry.quantity, entry.unit, low)} to {quantity_text(entry.quantity, entry.unit, high)})"
    return Mark(
        name=quantity_name(entry.quantity),
        forecast=shown,
        measured="" if entry.measured is None else quantity_text(entry.quantity, entry.unit, entry.measured),
        verdict=("exact" if exact and entry.verdict == "inside" else entry.verdict) or "",
        low=place(low),
        high=place(high),
        value=place(entry.forecast),
        seen=None if entry.measured is None else place(entry.measured),
    )
