"""The verbs that show runs: report, compare, watch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from modelwright.cli.arguments import Printing, answer, app, reporter_of


@app.command
def report(run: Path, /, *, output: Path | None = None, printing: Printing = Printing()) -> None:
    """Write a run's report: one HTML file that needs nothing else, for a screen of any size, light or dark, and for paper.

    On top what the model is, how good, and whether the forecasts came true; then data, comparison, curves, mistakes, calibration,
    generalization, robustness, cost, recipe. An unfinished run shows what there is. `build` writes a report by itself.

    **Examples**

    - `modelwright report runs/digits`
    - `modelwright report runs/churn --output churn.html`

    Parameters
    ----------
    run
        A run folder.
    output
        The file to write; report.html in the run folder if not said.
    """
    from modelwright.workflows.report import report as work

    answer(printing, work(run, output=output, reporter=reporter_of(printing)))


@app.command
def compare(runs: list[Path], /, *, output: Path | None = None, printing: Printing = Printing()) -> None:
    """Put runs side by side: score, size and cost, and whether the differences are more than chance.

    Runs that were judged on the same examples are compared example by example, corrected for the number of comparisons.

    **Examples**

    - `modelwright compare runs/digits runs/digits-lstm`
    - `modelwright compare runs/churn-* --output churn.html`

    Parameters
    ----------
    runs
        Two or more run folders.
    output
        Also write a page with curves and the differences of the recipes.
    """
    from modelwright.workflows.compare import compare as work

    answer(printing, work(runs, output=output, reporter=reporter_of(printing)))


@app.command
def watch(
    run: Path,
    /,
    *,
    once: bool = False,
    interval: Annotated[float, Parameter(allow_leading_hyphen=True)] = 1.0,
    printing: Printing = Printing(),
) -> None:
    """Watch a training that another process does: curves, speed, memory, time left, and what loss it is heading for.

    It only reads the run folder, and ends when the run does; q or Ctrl-C leaves.

    **Examples**

    - `modelwright watch runs/digits`
    - `modelwright watch runs/digits --once --json`

    Parameters
    ----------
    run
        A run folder.
    once
        Draw one picture and end.
    interval
        Seconds between two looks at the folder.
    """
    from modelwright.workflows.watch import watch as work

    answer(printing, work(run, once=once or printing.json, interval=interval, reporter=reporter_of(printing)))
