"""What the verbs share: the application, the options of data and of printing, and the time at which the command began."""

from __future__ import annotations

import time

STARTED = time.monotonic()
"""When the command began: a budget in seconds counts from here."""

import json  # noqa: E402
from dataclasses import dataclass, field  # noqa: E402
from typing import Annotated, Any  # noqa: E402

from cyclopts import App, Parameter  # noqa: E402
from rich.console import Console  # noqa: E402

from modelwright.core.errors import InputError  # noqa: E402
from modelwright.core.version import __version__  # noqa: E402

app = App(
    name="modelwright",
    version=f"modelwright {__version__}",
    help="Turn data and a compute budget into the best model the budget can buy: forecast before, proof after.",
    help_format="markdown",
    default_parameter=Parameter(negative=()),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
data_app = App(
    name="data",
    help="Look at data, or make a corpus of text, before spending anything on a model.",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.command(data_app)


@Parameter(name="*")
@dataclass(frozen=True)
class Printing:
    """How a verb answers."""

    json: bool = False
    """Print one JSON object on standard output; progress goes to standard error."""
    quiet: bool = False
    """Print the result only, neither stages nor progress."""


@Parameter(name="*")
@dataclass(frozen=True)
class DataOptions:
    """How the data is to be understood, where inference is not wanted."""

    target: str | None = None
    """The column to predict."""
    type: Annotated[list[str], Parameter(consume_multiple=False)] = field(default_factory=list)
    """What a column is, as `column=number` or `column=category`; repeatable."""
    header: Annotated[bool | None, Parameter(negative="--no-header")] = None
    """Whether the first line of a table names the columns; inferred if not said."""
    delimiter: str | None = None
    """What separates columns, `tab` for a tab; inferred if not said."""
    encoding: str | None = None
    """The text encoding of a table; UTF-8 if not said."""

    def changes(self) -> dict[str, Any]:
        """The recipe settings that were given."""
        types = {}
        for text in self.type:
            column, equals, name = text.rpartition("=")
            if not equals:
                raise InputError(f"can't read --type {text!r}", expected="column=number or column=category")
            types[column] = name
        given = {"target": self.target, "header": self.header, "delimiter": self.delimiter, "encoding": self.encoding}
        return {f"data.{key}": value for key, value in {**given, "types": types or None}.items() if value is not None}


Settings = Annotated[list[str] | None, Parameter(name="--set", consume_multiple=False)]


def reporter_of(printing: Printing) -> Any:
    """Who tells the user, as asked for."""
    from modelwright.workflows.reporter import Reporter

    return Reporter(Console(stderr=printing.json), quiet=printing.quiet)


def changes_of(options: DataOptions, **more: Any) -> dict[str, Any]:
    """The recipe settings of the options and of `more`, those that were given."""
    return {**options.changes(), **{key: value for key, value in more.items() if value is not None}}


def answer(printing: Printing, result: Any) -> None:
    """Print the result for a program, if asked for."""
    if printing.json:
        print(json.dumps(result.to_json(), allow_nan=False))
