"""The tables of an evaluation, for a terminal of 80 columns."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from modelwright.evaluation.summary import Estimates, Evaluation, label
from modelwright.metrics.estimate import show

_WIDTH = 80
_THIS = "this model"
_MOST_CLASSES = 12
"""A confusion matrix of more classes is shown as its most confused pairs."""
_MOST_PAIRS = 10
_LONGEST_NAME = 16
_COMPARED = ("roc_auc", "log_loss", "mae", "r2")
"""Metrics shown of baselines beside the primary one."""


def tables(evaluation: Evaluation) -> list[Table]:
    """All tables that there is something to show in: metrics by split, baselines, confusions."""
    details = evaluation.details.get(evaluation.judged, {})
    shown = [metrics_table(evaluation)]
    if evaluation.baselines:
        shown.append(baselines_table(evaluation))
    if "confusion_matrix" in details and len(details["classes"]) <= _MOST_CLASSES:
        shown.append(confusion_table(details))
    elif details.get("most_confused"):
        shown.append(confused_pairs_table(details))
    return shown


def metrics_table(evaluation: Evaluation) -> Table:
    """Every metric with its interval, a column a split; if that is too wide, only the judged split has intervals."""
    metrics = list(dict.fromkeys(metric for estimates in evaluation.splits.values() for metric in estimates))
    header = ["", *evaluation.splits]
    rows = [[label(metric), *(_cell(metric, estimates) for estimates in evaluation.splits.values())] for metric in metrics]
    return _estimates_table(header, rows, keep=header.index(evaluation.judged), bold=metrics.index(evaluation.primary))


def baselines_table(evaluation: Evaluation) -> Table:
    """The model and its baselines on the judged split, the best first, by the primary metric and two more."""
    known = evaluation.splits[evaluation.judged]
    metrics = [evaluation.primary, *[metric for metric in _COMPARED if metric in known and metric != evaluation.primary][:2]]
    sign = -1 if evaluation.higher_is_better else 1
    scored = {_THIS: known, **{name: row for name, row in evaluation.baselines.items() if evaluation.primary in row}}
    ranked = sorted(scored, key=lambda name: sign * scored[name][evaluation.primary].value)
    header = [f"on {evaluation.judged}", *map(label, metrics)]
    rows = [[_cut(name, 24), *(_cell(metric, scored[name]) for metric in metrics)] for name in ranked]
    return _estimates_table(header, rows, keep=1, bold=ranked.index(_THIS))


def confusion_table(details: dict[str, Any]) -> Table:
    """The confusion matrix: a row a true class, a column a predicted one."""
    classes, matrix = details["classes"], details["confusion_matrix"]
    width = 4 if len(classes) > 8 else 6
    table = _table("true \\ predicted" if len(classes) <= 8 else "true", *[_cut(name, width) for name in classes])
    for index, (name, row) in enumerate(zip(classes, matrix, strict=True)):
        cells = [f"[bold]{count}[/]" if column == index else str(count) if count else "·" for column, count in enumerate(row)]
        table.add_row(_cut(name, _LONGEST_NAME if len(classes) <= 8 else 8), *cells)
    return table


def confused_pairs_table(details: dict[str, Any]) -> Table:
    """The most frequent mistakes."""
    table = _table("most confused: true", "predicted", "times")
    for pair in details["most_confused"][:_MOST_PAIRS]:
        table.add_row(_cut(pair["true"], 30), _cut(pair["predicted"], 30), f"{pair['count']:,}")
    return table


def _estimates_table(header: list[str], rows: list[list[str]], *, keep: int, bold: int) -> Table:
    """A table with the row `bold` in bold; the intervals are left out but for the column `keep` if it would get too wide."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    if sum(widths) + 2 * (len(widths) - 1) > _WIDTH:
        rows = [[cell if index == keep else cell.partition(" (")[0] for index, cell in enumerate(row)] for row in rows]
    table = _table(*header)
    for index, row in enumerate(rows):
        table.add_row(*row, style="bold" if index == bold else None)
    return table


def _cell(metric: str, estimates: Estimates) -> str:
    return show(metric, estimates[metric]) if metric in estimates else "-"


def _table(first: str, *others: str) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _cut(name: str, width: int) -> str:
    return escape(name if len(name) <= width else name[: width - 1] + "…")
