"""The verbs of scaling up: law."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from modelwright.cli.arguments import Printing, answer, app, reporter_of

Several = Annotated[list[str] | None, Parameter(consume_multiple=False)]

Numbers = Annotated[list[float] | None, Parameter(consume_multiple=False)]


@app.command
def law(
    runs: Path,
    /,
    *,
    params: str | None = None,
    data: str | None = None,
    compute: str | None = None,
    unique: str | None = None,
    loss: str | None = None,
    accuracy: str | None = None,
    where: Several = None,
    form: str | None = None,
    predict: Several = None,
    predict_file: Path | None = None,
    optimal: Numbers = None,
    decision: float | None = None,
    every_run: bool = False,
    plot: Path | None = None,
    printing: Printing = Printing(),
) -> None:
    """Fit a scaling law to a table of runs, foretell larger ones, and say when the runs don't tell.

    **Examples**

    - `modelwright law runs.csv --predict params=7e9,data=140e9`
    - `modelwright law runs.csv --params n_million*1e6 --data tokens --loss c4 --where dataset=c4 --where "params<=4e8" --plot law.png`
    - `modelwright law runs.csv --predict-file larger.csv --optimal 1e21 --json`
    - `modelwright law runs.csv --compute flops --accuracy top1`

    Parameters
    ----------
    runs
        A CSV or TSV file with a header and a run a row.
    params
        Column of the parameters; `name*1e6` where it counts in millions. Found by its name if not said, like the others.
    data
        Column of the tokens or examples trained on, repetitions counted.
    compute
        Column of the training's FLOPs; 6 a parameter and token where there is none.
    unique
        Column of the tokens or examples that are different, where some were read several times.
    loss
        Column of the loss.
    accuracy
        Column of the accuracy, in place of a loss.
    where
        A condition on a column that a run must meet, like `dataset=c4` or `params<=4e8`; repeatable.
    form
        chinchilla, tied, compute, repeated or sigmoid; the one that foretells the largest runs best if not said.
    predict
        A run to foretell, like `params=6.9e9,data=138e9` or `compute=1e22`; repeatable.
    predict_file
        A table of runs to foretell, with columns of the same names; with the loss among them, errors are told.
    optimal
        A compute in FLOPs of which the best size and data are asked for; repeatable.
    decision
        Half-width of an interval, relative to its value, that is still of use; the gain over the best run if not said.
    every_run
        Keep runs of fewer than 20 tokens a parameter, whatever they do to the law.
    plot
        A picture to write: .png, .svg or .pdf.
    """
    from modelwright.workflows.law import law as work

    columns = {"params": params, "data": data, "compute": compute, "unique": unique, "loss": loss, "accuracy": accuracy}
    found = work(
        runs, columns=columns, where=where or (), form=form, predict=predict or (), predict_file=predict_file, optimal=optimal or (),
        decision=decision, every_run=every_run, plot=plot, reporter=reporter_of(printing),
    )  # fmt: skip
    answer(printing, found)
