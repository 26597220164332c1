"""`compare`: runs side by side, and whether their differences are more than chance.

Two runs that were judged on the same examples are compared on them one by one: by what each kept of its test split, which is thus not touched again,
else on the validation split, which is evaluated anew. Where neither is the same, only their intervals are left.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from modelwright.core.errors import InputError, ModelwrightError
from modelwright.core.run import Run, write_atomic
from modelwright.core.units import format_bytes, format_count, format_duration
from modelwright.data.dataset import load
from modelwright.evaluation.comparison import Comparison, Errors, paired
from modelwright.evaluation.evaluate import evaluate
from modelwright.evaluation.examplewise import MOST_KEPT, ErrorLog, examples_digest
from modelwright.evaluation.significance import LEVEL, holm
from modelwright.metrics.estimate import Estimate, Z, label, show
from modelwright.reporting.comparison import Contrast, comparison_page
from modelwright.reporting.page import render
from modelwright.reporting.view import View, read_view
from modelwright.serving.bundle import load_bundle
from modelwright.training.machine import prepare_machine
from modelwright.workflows.job import device
from modelwright.workflows.recipe import load_recipe
from modelwright.workflows.reporter import Reporter

MOST_RUNS = 20
MOST_WINDOWS = 1024
"""Windows of a text that runs are compared on where their errors were not kept."""


@dataclass(frozen=True)
class SideBySide:
    """Runs, the best first, and how each pair of them differs.

    Attributes:
        metric: that decides.
        split: that all of them were judged on.
        views: of the runs.
        paths: their folders.
        contrasts: of all pairs, the better one first.
        unfinished: folders of runs that can't be compared yet.
    """

    metric: str
    split: str
    views: tuple[View, ...]
    paths: tuple[Path, ...]
    contrasts: tuple[Contrast, ...]
    unfinished: tuple[Path, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """`metric`, `runs` and `comparisons`; p-values are corrected by Holm's procedure."""
        return {
            "metric": self.metric,
            "runs": [{"run": str(path), **_numbers(view, self.split)} for path, view in zip(self.paths, self.views, strict=True)],
            "comparisons": [contrast.to_json() for contrast in self.contrasts],
            "unfinished": [str(path) for path in self.unfinished],
        }


@dataclass
class _Contender:
    """A run in the comparison; what it was judged on is read when it is first needed."""

    run: Run
    view: View
    name: str
    _validation: dict[str, Any] | None = field(default=None, repr=False)

    def score(self, split: str) -> Estimate:
        """The primary metric on a split that it was judged on."""
        score = self.view.estimate(split, self.view.primary)
        assert score is not None, "it was judged on that split"
        return score

    def kept(self) -> Mapping[str, Any] | None:
        """The errors that were kept when the run was judged."""
        try:
            values = json.loads(self.run.errors.read_text(encoding="utf-8"))
            Errors.from_json(values)
            return values
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def validation(self) -> Mapping[str, Any]:
        """The errors on the validation split, evaluated now; empty where data or model are gone."""
        if self._validation is None:
            self._validation = self._evaluated()
        return self._validation

    def _evaluated(self) -> dict[str, Any]:
        try:
            recipe, bundle = load_recipe(self.run.recipe), load_bundle(self.run.bundle)
            dataset = load(recipe.data, recipe.seed)
        except ModelwrightError:
            return {}
        split = dataset.splits.get("validation")
        if split is None or dataset.digest() != bundle.config.data_digest:
            return {}
        split = split.sample(MOST_WINDOWS if dataset.schema.kind == "text" else MOST_KEPT)
        log = ErrorLog(bundle.task)
        evaluate(bundle.network.to(device()), bundle.task, split, replicates=0, observe=log.update)
        return log.to_json("validation", split) or {"digest": examples_digest(split)}


def compare(runs: Sequence[Path | str], *, output: Path | str | None = None, reporter: Reporter | None = None) -> SideBySide:
    """Compare runs of one task.

    Args:
        runs: two or more run folders.
        output: a page to write, with curves and the differences of the recipes.
        reporter: whom to tell.

    Raises:
        InputError: there are fewer than two finished runs, or they are of different tasks.
    """
    reporter = reporter or Reporter()
    prepare_machine()
    paths = [Path(run) for run in runs]
    _check_paths(paths)
    names = _names(paths)
    opened = [_Contender(run := Run.open(path), read_view(run), name) for path, name in zip(paths, names, strict=True)]
    finished = [contender for contender in opened if contender.view.finished]
    unfinished = tuple(contender.run.path for contender in opened if not contender.view.finished)
    if damaged := [path for path in unfinished if (path / "evaluation.json").is_file()]:
        raise InputError("its evaluation.json is damaged", where=damaged[0], remedy="Restore it, or leave this run out")
    if len(finished) < 2:
        raise InputError(
            f"only {len(finished)} of the {len(opened)} runs is finished",
            expected="two or more",
            remedy="Go on with the others: modelwright train --resume RUN",
        )
    _check_tasks(finished)
    metric = finished[0].view.primary
    split = next((name for name in ("test", "validation", "train") if all(one.view.estimate(name, metric) for one in finished)), "")
    if not split:
        raise InputError("the runs were judged on no split in common", expected="runs with a test or validation split")
    sign = -1 if finished[0].view.higher_is_better else 1
    finished.sort(key=lambda contender: sign * contender.score(split).value)
    views = tuple(contender.view for contender in finished)
    result = SideBySide(metric, split, views, tuple(one.run.path for one in finished), _contrasts(finished, split), unfinished)
    _show(result, names={str(one.run.path): one.name for one in finished}, reporter=reporter)
    if output is not None:
        html = render(comparison_page(views, [one.name for one in finished], result.contrasts, split))
        write_atomic(Path(output), html)
        reporter.say("page", f"{output} {format_bytes(len(html.encode()))}")
    return result


def _check_paths(paths: Sequence[Path]) -> None:
    if len(paths) < 2:
        raise InputError("one run can't be compared", expected="two run folders or more")
    if len(paths) > MOST_RUNS:
        raise InputError(f"{len(paths)} runs are too many to compare", expected=f"{MOST_RUNS} at most")
    resolved = [path.resolve() for path in paths]
    if twice := [path for path, place in zip(paths, resolved, strict=True) if resolved.count(place) > 1]:
        raise InputError("is named twice", where=twice[0], expected="different runs")


def _check_tasks(contenders: Sequence[_Contender]) -> None:
    """See that all learnt the same thing: the same metric, kind of data and target.

    Raises:
        InputError: they didn't.
    """
    if len(metrics := {one.view.primary for one in contenders}) > 1:
        raise InputError(
            f"the runs are of different tasks: they are judged by {', '.join(sorted(map(label, metrics)))}", expected="runs of one task"
        )
    schemas = [schema for one in contenders if (schema := one.view.schema) is not None]
    if len(tasks := {f"{schema.kind} to {schema.target.type}" for schema in schemas}) > 1:
        raise InputError(f"the runs are of different tasks: {' and '.join(sorted(tasks))}", expected="runs of one task")
    targets = {(schema.target.name, tuple(sorted(schema.target.values))) for schema in schemas}
    if len(targets) > 1:
        said = [f"{name} ({len(values)} classes)" if values else name for name, values in sorted(targets)]
        raise InputError(f"the runs are of different tasks: they tell {' and '.join(said)}", expected="runs of one target")


def _names(paths: Sequence[Path]) -> list[str]:
    """The folders' names, or their paths where two are called the same."""
    short = [path.resolve().name for path in paths]
    return short if len(set(short)) == len(short) else [str(path) for path in paths]


def _contrasts(contenders: Sequence[_Contender], split: str) -> tuple[Contrast, ...]:
    pairs = list(itertools.combinations(contenders, 2))
    found = [_comparison(first, second, split) for first, second in pairs]
    corrected = holm([comparison.p_value for comparison, _, _ in found])
    return tuple(
        Contrast(first.name, second.name, comparison.advantage, unit, basis, comparison.examples, p_value, p_value < LEVEL)
        for (first, second), (comparison, unit, basis), p_value in zip(pairs, found, corrected, strict=True)
    )


def _comparison(first: _Contender, second: _Contender, split: str) -> tuple[Comparison, str, str]:
    """How much better the first is, the unit, and what this rests on."""
    kept = first.kept(), second.kept()
    for one, other in (kept, (first.validation(), second.validation())) if not _same(*kept) else (kept,):
        if _same(one, other):
            assert one is not None and other is not None, "the same errors are there"  # noqa: PT018
            return _paired(first, one, other)
    return apart(first.score(split), second.score(split), higher_is_better=first.view.higher_is_better), first.view.primary, "intervals"


def _same(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Whether these are errors of one kind on the same examples."""
    return bool(one and other) and all(key in one and one[key] == other.get(key) for key in ("digest", "split", "kind"))  # type: ignore[index, union-attr]


def _paired(first: _Contender, one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[Comparison, str, str]:
    comparison = paired(Errors.from_json(one), Errors.from_json(other))
    unit = {"mistakes": "accuracy", "squared errors": "rmse", "nats": "loss"}[one["kind"]]
    schema = first.view.schema
    if unit == "rmse" and schema is not None:
        scale, advantage = schema.target.scale[0], comparison.advantage
        scaled = Estimate(scale * advantage.value, scale * advantage.low, scale * advantage.high)
        comparison = Comparison(scaled, comparison.p_value, comparison.examples)
    return comparison, unit, str(one["split"])


def apart(first: Estimate, second: Estimate, *, higher_is_better: bool) -> Comparison:
    """The difference of two scores on different examples, as if each interval were a normal one."""
    sign = 1 if higher_is_better else -1
    value = sign * (first.value - second.value)
    error = math.hypot(*((one.high - one.low) / (2 * Z) for one in (first, second)))
    p_value = 1.0 if value == 0 else math.erfc(abs(value) / error / math.sqrt(2)) if error else 0.0
    return Comparison(Estimate(value, value - Z * error, value + Z * error), p_value, 0)


def _numbers(view: View, split: str) -> dict[str, Any]:
    measured = {name: entry.measured for name, entry in view.ledger.items() if entry.measured is not None}
    score = view.estimate(split, view.primary)
    return {
        "family": view.family,
        "split": split,
        "score": None if score is None else score.to_dict(),
        "parameters": measured.get("parameters"),
        "training_seconds": measured.get("training time"),
        "bundle_bytes": view.bundle_bytes,
    }


def _show(result: SideBySide, names: Mapping[str, str], reporter: Reporter) -> None:
    """The runs, then how the others differ from the best."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("run", max_width=24, overflow="ellipsis", no_wrap=True)
    table.add_column("family", no_wrap=True, max_width=12)
    for header in (f"{result.split} {label(result.metric)}", "size", "training"):
        table.add_column(header, justify="right", no_wrap=True)
    for path, view in zip(result.paths, result.views, strict=True):
        numbers = _numbers(view, result.split)
        score = show(result.metric, Estimate.from_dict(numbers["score"]))
        size = "–" if numbers["parameters"] is None else format_count(numbers["parameters"])
        seconds = "–" if numbers["training_seconds"] is None else format_duration(numbers["training_seconds"])
        table.add_row(
            escape(names[str(path)]), escape(view.family), score, size, seconds, style="bold" if view is result.views[0] else None
        )
    reporter.show(table)
    best = names[str(result.paths[0])]
    for contrast in result.contrasts:
        if contrast.first == best:
            reporter.show(f" {contrast.sentence()}")
    for path in result.unfinished:
        reporter.show(f" {path} is not finished and was left out.")
