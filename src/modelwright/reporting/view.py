"""The view: all that a run folder says, read once and only read. Whatever is missing or damaged is told, not raised."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from modelwright.core.ledger import Entry
from modelwright.core.run import Run
from modelwright.core.schema import Schema
from modelwright.metrics.estimate import Estimate

T = TypeVar("T")

LONGEST = 64 << 20
"""Bytes of a file that is read whole, at most."""


@dataclass(frozen=True)
class Trial:
    """A short training of a candidate, as far as it is known."""

    candidate: str
    seconds: float
    value: float
    parameters: int | None = None
    samples_per_second: float | None = None
    standard_error: float | None = None


@dataclass(frozen=True)
class View:
    """A run, to be read.

    Attributes:
        name: of the run folder.
        recipe: nested settings; empty where they can't be read.
        state: of `run.json`: the data's report, schema and digest.
        evaluation: of `evaluation.json`; empty if the run is not finished.
        ledger: forecasts and measurements.
        metrics: rows of the training, in order.
        samples: what a language model wrote while it learnt.
        trials: of the comparison, in the order they were done.
        search: what a finished search came to; empty if this is none.
        trains_winner: whether a search goes on to train what it recommends.
        findings: what was found with data and model at hand; empty if they never were.
        bundle: of `bundle.json`.
        bundle_bytes: size of the bundle's files.
        problems: what could not be read, a clause each.
        notes: what the reader should know, a clause each.
    """

    name: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    ledger: Mapping[str, Entry] = field(default_factory=dict)
    metrics: tuple[Mapping[str, Any], ...] = ()
    samples: tuple[Mapping[str, Any], ...] = ()
    trials: tuple[Trial, ...] = ()
    search: Mapping[str, Any] = field(default_factory=dict)
    trains_winner: bool = False
    findings: Mapping[str, Any] = field(default_factory=dict)
    bundle: Mapping[str, Any] = field(default_factory=dict)
    bundle_bytes: int = 0
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether the model was judged."""
        return bool(self.evaluation)

    @property
    def winner(self) -> str:
        """The candidate that the comparison chose; empty where there was none."""
        return str(self.search.get("winner") or self.state.get("details", {}).get("winner", ""))

    @property
    def schema(self) -> Schema | None:
        """What an example is, if the run got so far as to know."""
        try:
            values = self.state.get("data_schema") or self.bundle.get("data_schema")
            return None if values is None else Schema.model_validate(values)
        except (ValidationError, ValueError):
            return None

    @property
    def family(self) -> str:
        """The family of the network; empty where unknown."""
        model = self.recipe.get("model")
        return str(model.get("family", "")) if isinstance(model, Mapping) else str(model or "")

    @property
    def primary(self) -> str:
        """The metric that decides; empty where unknown."""
        return str(self.evaluation.get("primary") or self.search.get("metric", ""))

    @property
    def higher_is_better(self) -> bool:
        """Of the metric that decides: where nothing was judged yet, it is an accuracy if there are classes."""
        schema = self.schema
        return bool({**self.search, **self.evaluation}.get("higher_is_better", schema is None or bool(schema.classes)))

    @property
    def judged(self) -> str:
        """The split that decides: test, else validation, else the last one."""
        splits = list(self.evaluation.get("splits", {}))
        return next((name for name in ("test", "validation") if name in splits), splits[-1] if splits else "")

    @property
    def details(self) -> Mapping[str, Any]:
        """What was measured on the judged split beside plain numbers."""
        return self.evaluation.get("details", {}).get(self.judged, {})

    def estimate(self, split: str, metric: str) -> Estimate | None:
        """A metric of the model on a split."""
        values = self.evaluation.get("splits", {}).get(split, {}).get(metric)
        return None if values is None else Estimate.from_dict(values)

    @property
    def evaluations(self) -> list[Mapping[str, Any]]:
        """The rows of the training that hold metrics of the validation split."""
        return [row for row in self.metrics if row.get("metrics")]


def read_view(run: Run, findings: Mapping[str, Any] | None = None, notes: tuple[str, ...] = ()) -> View:
    """Read all of a run.

    Args:
        run: its folder.
        findings: in place of those that are kept in the folder.
        notes: what the reader should know.
    """
    problems: list[str] = []

    def read(path: Path, parse: Callable[[str], T], empty: T) -> T:
        if not path.is_file():
            return empty
        try:
            if path.stat().st_size > LONGEST:
                raise ValueError("too large")
            return parse(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, yaml.YAMLError) as error:
            problems.append(f"{path.name} can't be read ({type(error).__name__})")
            return empty

    comparison = read(run.comparison, _mapping, {})
    bundle = read(run.bundle / "bundle.json", _mapping, {})
    return View(
        name=run.path.resolve().name,
        recipe=read(run.recipe, lambda text: dict(yaml.safe_load(text)), {}),
        state=read(run.state, _mapping, {}),
        evaluation=read(run.evaluation, _evaluation, {}),
        ledger=read(run.ledger.path, _ledger, {}),
        metrics=read(run.metrics, rows, ()),
        samples=read(run.samples, rows, ()),
        trials=read_trials(comparison),
        search=read(run.standings, _search, {}),
        trains_winner=bool(comparison.get("train")),
        findings=dict(findings) if findings is not None else read(run.findings, _mapping, {}),
        bundle=bundle,
        bundle_bytes=_size(run.bundle),
        problems=tuple(problems),
        notes=notes,
    )


def _size(folder: Path) -> int:
    """Bytes of a folder's files; 0 while another process replaces it."""
    try:
        return sum(file.stat().st_size for file in folder.glob("*") if file.is_file())
    except OSError:
        return 0


def _mapping(text: str) -> dict[str, Any]:
    return dict(json.loads(text))


def _evaluation(text: str) -> dict[str, Any]:
    values = _mapping(text)
    primary, splits = str(values["primary"]), values["splits"]
    for estimates in (*splits.values(), *values.get("baselines", {}).values()):
        for estimate in estimates.values():
            Estimate.from_dict(estimate)
    if not splits or any(primary not in estimates for estimates in splits.values()):
        raise ValueError("a split was not judged")
    return values


def _search(text: str) -> dict[str, Any]:
    values = _mapping(text)
    return {**values, **{name: str(values[name]) for name in ("metric", "winner", "verdict")}}


def _ledger(text: str) -> dict[str, Entry]:
    entries = [Entry.model_validate(row) for row in rows(text)]
    return {entry.quantity: entry for entry in entries}


def rows(text: str) -> tuple[Mapping[str, Any], ...]:
    """The JSON objects of a file of one a line; a line that is none, such as one half written, is passed over."""
    found = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            found.append(row)
    return tuple(found)


def read_trials(comparison: Mapping[str, Any]) -> tuple[Trial, ...]:
    """The trials of `comparison.json`: those that have a candidate, its seconds and its score, whatever else is kept of them."""
    found = []
    trials = comparison.get("trials")
    for row in trials if isinstance(trials, list) else ():
        try:
            known = {name: row.get(name) for name in ("parameters", "samples_per_second", "standard_error")}
            found.append(Trial(str(row["candidate"]), float(row["seconds"]), float(row["value"]), **known))
        except (AttributeError, KeyError, TypeError, ValueError):
            continue
    return tuple(found)
