"""`data describe`: what the data is, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from rich.markup import escape
from rich.table import Table

from modelwright.core.config import validate
from modelwright.data.config import DataConfig
from modelwright.data.dataset import Dataset, load
from modelwright.workflows.job import summary
from modelwright.workflows.recipe import apply
from modelwright.workflows.reporter import Reporter

MOST_ROWS = 40
"""Columns, or classes, that are shown; the rest are counted."""


@dataclass(frozen=True, slots=True)
class Description:
    """A data set, described."""

    dataset: Dataset

    def to_json(self) -> dict[str, Any]:
        """`summary`, `schema`, `splits`, `classes` (examples by class and split) and `report`."""
        return {
            "summary": summary(self.dataset),
            "schema": self.dataset.schema.model_dump(mode="json"),
            "splits": {name: len(split) for name, split in self.dataset.splits.items()},
            "classes": self.class_counts(),
            "report": self.dataset.report.to_dict(),
        }

    def class_counts(self) -> dict[str, dict[str, int]]:
        """Examples by class and split; empty when the target is a number."""
        classes = self.dataset.schema.classes
        counts: dict[str, dict[str, int]] = {name: {} for name in classes}
        for name, split in self.dataset.splits.items():
            if classes and split.target is not None:
                for label, number in zip(classes, torch.bincount(split.target, minlength=len(classes)).tolist(), strict=True):
                    counts[label][name] = number
        return counts


def describe(data: str, *, seed: int = 0, changes: Mapping[str, Any] | None = None, reporter: Reporter | None = None) -> Description:
    """Read data and say what it is.

    Args:
        data: a file, a folder, or the name of a set.
        seed: of the splits that are made.
        changes: data settings by dotted key, such as `data.target`.
        reporter: whom to tell.

    Raises:
        InputError: the data can't be learnt from.
    """
    reporter = reporter or Reporter()
    values: dict[str, Any] = {"data": {"path": str(data)}}
    apply(values, changes=changes)
    description = Description(load(validate(DataConfig, values["data"]), seed))
    _show(description, reporter)
    return description


def _show(description: Description, reporter: Reporter) -> None:
    dataset = description.dataset
    reporter.say("data", summary(dataset))
    table = Table("role", "name", "what it is", box=None, header_style="bold", padding=(0, 2, 0, 0))
    rows = list(dataset.schema.rows())
    for role, name, what in [*rows[: MOST_ROWS - 1], *rows[-1:]] if len(rows) > MOST_ROWS else rows:
        table.add_row(role, escape(name), what)
    reporter.show(table)
    if len(rows) > MOST_ROWS:
        reporter.say("", f"and {len(rows) - MOST_ROWS} more input columns")
    counts = description.class_counts()
    if counts:
        splits = list(dataset.splits)
        classes = Table("class", *splits, box=None, header_style="bold", padding=(0, 2, 0, 0))
        for name, row in list(counts.items())[:MOST_ROWS]:
            classes.add_row(escape(name), *(f"{row[split]:,}" for split in splits))
        reporter.show(classes)
    _show_report(dataset, reporter)


def _show_report(dataset: Dataset, reporter: Reporter) -> None:
    report = dataset.report
    findings = {
        "missing values": report.missing,
        "infinite numbers": report.infinite,
        "no numbers": report.unreadable,
        "set aside": report.rejected,
        "duplicates": report.duplicates,
        "leaks": report.leaks,
    }
    for name, found in findings.items():
        if found:
            reporter.say("found", f"{name}: " + ", ".join(f"{key} {count:,}" for key, count in found.items()))
    if report.conflicts:
        reporter.say("found", f"{report.conflicts:,} examples whose inputs stand elsewhere with another target")
    for note in report.notes:
        reporter.say("note", note)
