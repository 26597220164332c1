"""What a ladder plans and what it comes to, and how both are shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from rich.table import Table

from modelwright.core.units import format_count, format_duration
from modelwright.planning.laws.law import Law, NextRun
from modelwright.planning.laws.points import Points
from modelwright.planning.range import Range
from modelwright.workflows.finish import Outcome
from modelwright.workflows.recipe import Recipe
from modelwright.workflows.reporter import Reporter
from modelwright.workflows.rung_jobs import lanes_of, makespan
from modelwright.workflows.rung_plan import ENOUGH_STEPS
from modelwright.workflows.rungs import Rung, RungResult


class Plan(BaseModel):
    """What a ladder is to do, and has to know when it goes on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    budget: float
    """Seconds."""
    target: float
    """Seconds."""
    digest: str
    judged: int | None
    """Examples of the validation split on which runs are judged; None for all."""
    rungs: list[Rung]
    dials: list[str]
    jobs: int
    """Rungs that are trained at once."""
    unit: str
    """Of data: tokens or examples."""


@dataclass(frozen=True)
class Recommendation:
    """The model that a target's budget should be spent on.

    Attributes:
        recipe: complete.
        point: parameters of the backbone, tokens or examples, FLOPs.
        steps: of the training.
        seconds: it takes, as planned.
        value: of the metric on the validation split, with its 90 % interval.
    """

    recipe: Recipe
    point: Points
    steps: int
    seconds: float
    value: Range


@dataclass(frozen=True)
class LadderAnswer:
    """What the rungs reached, the law through them, and what to do with the target's budget."""

    folder: Path
    metric: str
    plan: Plan
    results: list[RungResult]
    law: Law
    reason: str | None
    recommended: Recommendation
    next_run: NextRun | None
    seconds: float
    outcome: Outcome | None = None
    measured: float | None = None

    @property
    def identified(self) -> bool:
        """Whether the forecast should be built on."""
        return self.reason is None

    def to_json(self) -> dict[str, Any]:
        """As an object."""
        best = self.recommended
        made: dict[str, Any] = {
            "ladder": str(self.folder),
            "metric": self.metric,
            "identified": self.identified,
            "reason": self.reason,
            "form": self.law.fit.form.name,
            "coefficients": {name: value.value for name, value in self.law.coefficients().items()},
            "rungs": [row.model_dump() for row in self.results],
            "target": {
                "seconds": self.plan.target,
                "recipe": str(self.folder / "target.yaml"),
                **{axis: float(best.point[axis][0]) for axis in ("params", "data", "compute")},
                "steps": best.steps,
                "planned_seconds": best.seconds,
                "forecast": {"value": best.value.value, "low": best.value.low, "high": best.value.high},
                "measured": self.measured,
            },
            "next_run": None if self.next_run is None else self.next_run.axes,
            "seconds": self.seconds,
        }
        return made | ({} if self.outcome is None else {"run": self.outcome.to_json()})


def show_plan(plan: Plan, recipe: Recipe, reporter: Reporter) -> None:
    """The rungs with their steps and prices."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for header in ("    ", "rung", "parameters", "steps", "planned"):
        table.add_column(header, justify="right")
    for number, rung in enumerate(plan.rungs, 1):
        steps = " / ".join(f"{steps:,}" for steps in rung.steps)
        table.add_row("", str(number), format_count(rung.params), steps, format_duration(rung.seconds))
    total = format_duration(makespan((rung.seconds for rung in plan.rungs), lanes_of(plan.jobs)))
    at_once = f", {plan.jobs} at once" if plan.jobs > 1 else ""
    reporter.say(
        "plan",
        f"{len(plan.rungs)} sizes of {recipe.model.family}{at_once}, {total} of training, for a target of {format_duration(plan.target)}",
    )
    reporter.show(table)
    shortest = min(rung.steps[0] for rung in plan.rungs)
    if shortest < ENOUGH_STEPS // 2:
        reporter.say(
            "note", f"the shortest trainings have {shortest} steps, and losses of fewer than {ENOUGH_STEPS // 2} hardly follow a law; "
            "a larger --budget tells more",
        )  # fmt: skip


def show_answer(answer: LadderAnswer, reporter: Reporter) -> None:
    """What the rungs reached, the law, and the target."""
    best, law = answer.recommended, answer.law
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for header in ("    ", "parameters", "steps", answer.metric):
        table.add_column(header, justify="right")
    for row in sorted(answer.results, key=lambda row: (row.params, row.steps)):
        table.add_row("", format_count(row.params), f"{row.steps:,}", f"{row.value:.4g}")
    reporter.say("rungs", "on the validation split")
    reporter.show(table)
    held = "" if law.choice.error is None else f" · dearest runs foretold from cheaper ones: {law.choice.error:.1%} off"
    reporter.say("law", f"{answer.metric} = {law.fit.form.formula}{held}")
    params, data = (format_count(float(best.point[axis][0])) for axis in ("params", "data"))
    reporter.say(
        "target",
        f"{params} parameters on {data} {answer.plan.unit}, {format_duration(best.seconds)}: {answer.metric} {best.value.value:.4g} "
        f"({best.value.low:.4g}-{best.value.high:.4g}, 90 %)",
    )
    if answer.reason is not None:
        reporter.show(f" not identified: {answer.reason}.")
        if answer.next_run is not None:
            reporter.show(f" add a run of {answer.next_run.told(answer.plan.unit)}.")
    reporter.say("", f"{answer.folder / 'target.yaml'} · rungs.csv · law.png")
