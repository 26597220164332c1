"""`predict`: for image files, tables, or rows from standard input."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from modelwright.core.errors import InputError
from modelwright.core.run import write_atomic
from modelwright.data.examples import Examples
from modelwright.data.prediction import read_examples, read_stream
from modelwright.serving.predictor import Predictor
from modelwright.workflows.reporter import Reporter

MOST_ROWS = 50
"""Predictions shown in a terminal; a file or `--json` has them all."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions in the order of the input, and what could not be predicted.

    Attributes:
        rows: `input` (where the example came from) with `label`, `confidence` and, if asked for, `probabilities`; or `value`.
        rejected: `input` and `reason` of what was set aside.
    """

    rows: list[dict[str, Any]]
    rejected: list[dict[str, str]]

    def to_json(self) -> dict[str, Any]:
        """`predictions` and `rejected`."""
        return {"predictions": self.rows, "rejected": self.rejected}


def predict(
    run: Path | str,
    inputs: Sequence[str],
    *,
    probabilities: bool = False,
    output: Path | str | None = None,
    reporter: Reporter | None = None,
) -> Predictions:
    """Predict for everything that `inputs` name.

    Args:
        run: a run folder or a bundle.
        inputs: files, folders, tables; `-` for a table or JSON lines on standard input.
        probabilities: give the probability of every class.
        output: a CSV file to write.
        reporter: whom to tell.

    Raises:
        InputError: there is no model, or nothing of the input can be predicted.
    """
    reporter = reporter or Reporter()
    predictor = Predictor.load(run)
    if predictor.schema.causal:
        raise InputError(
            "is a language model", where=run, remedy="Let it continue a text: modelwright generate --prompt TEXT, or judge one: evaluate"
        )
    rows: list[dict[str, Any]] = []
    rejected: list[dict[str, str]] = []
    for argument in inputs:
        examples = _read(argument, predictor)
        for note in examples.notes:
            reporter.say("note", note)
        rejected += [{"input": reject.origin, "reason": reject.reason} for reject in examples.rejects]
        for index, row in enumerate(predictor.predict(examples)):
            if not probabilities:
                row.pop("probabilities", None)
            rows.append({"input": examples.origins[index], **row})
    for reject in rejected:
        reporter.say("set aside", f"{reject['input']}: {reject['reason']}")
    if not rows:
        raise InputError("nothing can be predicted", where=", ".join(inputs), expected="examples like those of the training data")
    if output is not None:
        write_atomic(Path(output), _csv(rows))
        reporter.say("wrote", f"{len(rows):,} predictions to {output}")
    else:
        _show(rows, reporter)
    return Predictions(rows, rejected)


def _read(argument: str, predictor: Predictor) -> Examples:
    if argument == "-":
        return read_stream(sys.stdin, predictor.schema, predictor.data)
    return read_examples(argument, predictor.schema, predictor.data)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row with a column for each probability."""
    plain = {key: value for key, value in row.items() if key != "probabilities"}
    return {**plain, **{f"probability {name}": value for name, value in row.get("probabilities", {}).items()}}


def _csv(rows: list[dict[str, Any]]) -> str:
    flat = [_flat(row) for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _show(rows: list[dict[str, Any]], reporter: Reporter) -> None:
    flat = [_flat(row) for row in rows[:MOST_ROWS]]
    table = Table(*map(escape, flat[0]), box=None, header_style="bold", padding=(0, 2, 0, 0))
    for row in flat:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else escape(str(value)) for value in row.values()))
    reporter.show(table)
    if len(rows) > MOST_ROWS:
        reporter.say("", f"and {len(rows) - MOST_ROWS:,} more; --output FILE or --json has them all")
