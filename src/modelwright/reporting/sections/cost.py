"""Cost: time, arithmetic, memory, size, latency."""

from __future__ import annotations

from collections.abc import Sequence

from modelwright.core.units import format_bytes, format_count, format_duration
from modelwright.reporting.blocks import Block, Fact, Facts
from modelwright.reporting.quantities import flops_text, seconds_text
from modelwright.reporting.section import SectionPart, sections
from modelwright.reporting.sections.training import context_of
from modelwright.reporting.view import View


@sections.register("cost")
class Cost(SectionPart):
    """What it took to make, and what it takes to use."""

    name, title, order = "cost", "What it costs", 90

    def applies(self, view: View) -> bool:
        """Whether anything was counted."""
        return bool(_facts(view))

    def blocks(self, view: View) -> Sequence[Block]:
        """A list of quantities."""
        return [Facts(_facts(view))]


def _facts(view: View) -> list[Fact]:
    facts = []
    measured = {name: entry.measured for name, entry in view.ledger.items() if entry.measured is not None}
    if (total := measured.get("total time")) is not None:
        facts.append(Fact("time, all included", format_duration(total), f"budget {_budget(view)}" if _budget(view) else ""))
    last = view.metrics[-1] if view.metrics else {}
    if (training := measured.get("training time", last.get("seconds"))) is not None:
        facts.append(Fact("training", format_duration(training), f"{last['step']:,} steps" if "step" in last else ""))
    flops, samples = view.findings.get("flops"), last.get("samples")
    if flops and samples:
        context = context_of(view)
        facts.append(
            Fact(
                "training arithmetic",
                flops_text(3 * flops * samples),
                f"{format_count(samples * context)} {'tokens' if context > 1 else 'examples'}",
            )
        )
        facts.append(
            Fact("an answer", flops_text(flops), "forward pass of one example" if context == 1 else f"forward pass of {context} tokens")
        )
    if (parameters := measured.get("parameters")) is not None:
        facts.append(Fact("parameters", format_count(parameters), f"{int(parameters):,}"))
    if (peak := measured.get("peak memory", last.get("peak_memory"))) is not None:
        facts.append(Fact("peak memory", format_bytes(peak), "of the whole process, in training"))
    if view.bundle_bytes:
        facts.append(Fact("size on disk", format_bytes(view.bundle_bytes), "the bundle, alone enough to predict"))
    for row in view.findings.get("latency", ()):
        each = row["median"] / row["batch"]
        if row["batch"] == 1:
            facts.append(Fact("latency, one example", seconds_text(row["median"]), f"95 % of answers within {seconds_text(row['slow'])}"))
        else:
            facts.append(
                Fact(f"latency, {row['batch']} at a time", f"{seconds_text(each)} each", f"{format_count(1 / each)} examples a second")
            )
    return facts


def _budget(view: View) -> str:
    training = view.recipe.get("training")
    return str(training.get("budget", "")) if isinstance(training, dict) else ""
