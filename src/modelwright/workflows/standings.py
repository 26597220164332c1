"""The standings of a search: which trials are best, which can't be told from the best, and what is on the Pareto front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.table import Table

from modelwright.core.space import Value
from modelwright.core.units import format_bytes, format_count, format_duration
from modelwright.evaluation.comparison import unpack
from modelwright.evaluation.significance import LEVEL, holm, paired_p_value
from modelwright.evaluation.summary import label
from modelwright.metrics.estimate import Estimate, show
from modelwright.planning.halving import rank
from modelwright.planning.pareto import pareto_front
from modelwright.workflows.contest import Found
from modelwright.workflows.space import Space
from modelwright.workflows.study import Trial, TrialResult

MOST_ROWS = 10
"""Rows of a table."""


@dataclass(frozen=True)
class Standing:
    """A trial among the others.

    Attributes:
        trial: itself.
        result: of its longest rung.
        tied: whether it can't be told from the best one, compared example by example at the longest rung that both reached; None for the
            best one itself, and where they reached none together.
        changes: settings in which it differs from its family's own recipe.
    """

    trial: Trial
    result: TrialResult
    tied: bool | None
    changes: dict[str, Value]


@dataclass(frozen=True)
class Standings:
    """All trials of a search, the best first, and the Pareto front of their rungs.

    Attributes:
        metric: the primary one.
        rows: of the trials that were trained.
        front: (trial, rung) that no other beats in score, size, latency and training time together; the best score first.
        higher_is_better: of the metric.
    """

    metric: str
    rows: list[Standing]
    front: list[tuple[Trial, TrialResult]]
    higher_is_better: bool

    @classmethod
    def of(cls, found: Found, spaces: dict[str, Space]) -> Standings:
        """The standings of what a search found."""
        ordered = _ordered(found)
        best = ordered[0]
        ties = dict(zip((trial.number for trial in ordered[1:]), _ties(best, ordered[1:]), strict=True))
        rows = [
            Standing(trial, trial.last, ties.get(trial.number), _changes(trial, spaces[trial.family])) for trial in ordered if trial.last
        ]
        return cls(found.job.task.primary, rows, _front(found), found.job.task.higher_is_better)

    @property
    def best(self) -> Standing:
        """The recommended one."""
        return self.rows[0]

    @property
    def tied(self) -> list[Standing]:
        """Those that can't be told from the best one."""
        return [row for row in self.rows if row.tied]

    def verdict(self) -> str:
        """The tie, named; or that there is none."""
        best, name = self.best, self.best.trial.label
        compared = sum(row.tied is not None for row in self.rows)
        if not compared:
            return f"nothing was trained as long as {name}, so that there is nothing to compare it with"
        if not self.tied:
            others = "the other trial" if compared == 1 else f"all {compared} others"
            return f"{name} is better than {others} that can be compared with it by more than chance (5 % over all pairs)"
        names = ", ".join(row.trial.label for row in self.tied[:5]) + (", ..." if len(self.tied) > 5 else "")
        least = min([best, *self.tied], key=lambda row: row.result.size)
        smallest = f"{name} is the smallest of them"
        if least is not best:
            smallest = (
                f"the smallest of them is {least.trial.label}, {format_bytes(least.result.size)} against {format_bytes(best.result.size)}"
            )
        return (
            f"a statistical tie: {len(self.tied)} of {compared} others can't be told from {name} on the validation examples "
            f"(5 % over all pairs): {names}; {smallest}"
        )

    def table(self) -> Table:
        """The best trials, in 80 columns."""
        table = _table("", "trial", label(self.metric), "weights", "latency", "trained", left=(0, 1))
        table.add_column("differs from its own recipe by", justify="left", overflow="fold")
        for row in self.rows[:MOST_ROWS]:
            mark = "→" if row is self.best else "=" if row.tied else ""
            table.add_row(
                mark, *_cells(self.metric, row.trial, row.result), _short(row.changes), style="bold" if row is self.best else None
            )
        if len(self.rows) > MOST_ROWS:
            table.add_row("", f"and {len(self.rows) - MOST_ROWS} more", style="dim")
        return table

    def front_table(self) -> Table:
        """The Pareto front, in 80 columns."""
        table = _table("", "front", label(self.metric), "weights", "latency", "trained", "FLOPs", left=(0, 1))
        for trial, result in self.front[:MOST_ROWS]:
            table.add_row("", *_cells(self.metric, trial, result), format_count(result.flops))
        if len(self.front) > MOST_ROWS:
            table.add_row("", f"and {len(self.front) - MOST_ROWS} more", style="dim")
        return table

    def to_json(self) -> dict[str, Any]:
        """`{"metric", "higher_is_better", "best", "winner", "tied", "verdict", "trials": [...], "front": [{"trial", "rung"}]}`."""
        return {
            "metric": self.metric,
            "higher_is_better": self.higher_is_better,
            "best": self.best.trial.number,
            "winner": self.best.trial.label,
            "tied": [row.trial.number for row in self.tied],
            "verdict": self.verdict(),
            "trials": [
                {
                    **row.trial.model_dump(exclude={"results", "first_rung"}),
                    "tied": row.tied,
                    "changes": row.changes,
                    "rungs": [result.model_dump(exclude={"errors"}) for result in row.trial.results],
                }
                for row in self.rows
            ],
            "front": [{"trial": trial.number, "rung": result.rung} for trial, result in self.front],
        }


def _ordered(found: Found) -> list[Trial]:
    """The best first, then those of the longest rungs, by what they showed there."""
    ordered = [found.best]
    for rung in sorted({trial.last.rung for trial in found.trials if trial.last}, reverse=True):
        by_result = {id(trial.last): trial for trial in found.trials if trial.last and trial.last.rung == rung}
        results = [trial.last for trial in by_result.values() if trial.last]
        ordered += [trial for result in rank(results) if (trial := by_result[id(result)]).number != found.best.number]
    return ordered


def _ties(best: Trial, others: list[Trial]) -> list[bool | None]:
    """Whether each of the others can't be told from the best one; all pairs count, as the best one is the best by chance too."""
    pairs = [_paired(best, other) for other in others]
    chances = [chance for pair in pairs if pair is not None for chance in pair[:1]]
    number = len(chances) + 1
    corrected = iter(holm(chances, number * (number - 1) // 2))
    return [None if pair is None else not (next(corrected) < LEVEL and pair[1]) for pair in pairs]


def _paired(best: Trial, other: Trial) -> tuple[float, bool] | None:
    """(p-value, whether the best one is the better) at the longest rung that both reached."""
    for result in reversed(other.results):
        rival = best.at(result.rung)
        if rival is not None:
            first, second = unpack(rival.errors), unpack(result.errors)
            if len(first) == len(second):
                return paired_p_value(first, second), float(first.mean()) < float(second.mean())
    return None


def _front(found: Found) -> list[tuple[Trial, TrialResult]]:
    """The Pareto front of all rungs; latency, which is measured, counts in two digits, and training time by rung."""
    seen = [(trial, result) for trial in found.trials for result in trial.results]
    points = [(-result.score, result.size, float(f"{result.latency:.1e}"), found.plan.rungs[result.rung]) for _, result in seen]
    front = [pair for pair, holds in zip(seen, pareto_front(points), strict=True) if holds]
    return sorted(front, key=lambda pair: (-pair[1].score, pair[1].loss))


def _changes(trial: Trial, space: Space) -> dict[str, Value]:
    return {key: value for key, value in trial.settings.items() if value != space.own[key]}


def _short(changes: dict[str, Value]) -> str:
    """Changes in a few words: `learning_rate 0.0031, width x2`."""
    words = []
    for key, value in changes.items():
        name, shown = key.rpartition(".")[2], f"{value:.2g}" if isinstance(value, float) else str(value)
        words.append(f"{name} x{shown}" if "." not in key else f"{name} {shown}")
    return ", ".join(words[:3]) + (f" and {len(words) - 3} more" if len(words) > 3 else "")


def _cells(metric: str, trial: Trial, result: TrialResult) -> tuple[str, ...]:
    score = show(metric, Estimate(result.value, result.low, result.high)).partition(" (")[0]
    return trial.label, score, format_bytes(result.size), f"{1e3 * result.latency:.2g} ms", format_duration(result.seconds)


def _table(*headers: str, left: tuple[int, ...]) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    for index, header in enumerate(headers):
        table.add_column(header, justify="left" if index in left else "right", no_wrap=True)
    return table
