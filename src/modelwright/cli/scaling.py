"""The verbs of scaling up: law, and ladder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from modelwright.cli.arguments import DataOptions, Printing, Settings, answer, app, changes_of, reporter_of

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
    epochs: str | None = None,
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

    - `modelwright law runs.csv --params n_million*1e6 --data tokens --loss c4 --where dataset=c4 --where "params<=4e8" --predict params=7e9,data=140e9 --plot law.png`
    - `modelwright law runs.csv --compute flops --accuracy top1 --predict-file larger.csv --json`

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
    epochs
        Column of how often they were read, in place of `data` or `unique`.
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

    answer(printing, work(
        runs, columns={"params": params, "data": data, "compute": compute, "unique": unique, "epochs": epochs, "loss": loss, "accuracy": accuracy},
        where=where or (), form=form, predict=predict or (), predict_file=predict_file, optimal=optimal or (),
        decision=decision, every_run=every_run, plot=plot, reporter=reporter_of(printing),
    ))  # fmt: skip


@app.command
def ladder(
    recipe: str | None = None,
    /,
    *,
    budget: str | None = None,
    target_budget: str | None = None,
    run: bool = False,
    jobs: int | None = None,
    dials: Several = None,
    data: str | None = None,
    family: str | None = None,
    output: Path | None = None,
    resume: Path | None = None,
    settings: Settings = None,
    options: DataOptions = DataOptions(),
    printing: Printing = Printing(),
) -> None:
    """Train small networks of growing size, and say what a large one should be and will reach.

    **Examples**

    - `modelwright ladder stdlib --family transformer --budget 10m --target-budget 2h`
    - `modelwright ladder mnist-cnn --data path/to/mnist --budget 5m --target-budget 50m --run`
    - `modelwright ladder recipe.yaml --budget 1h --target-budget 100h --jobs 4 --output ladders/mine`
    - `modelwright ladder --resume ladders/mine`

    Parameters
    ----------
    recipe
        A recipe file, a ready recipe's name, or data.
    budget
        For all rungs: 10m, 1h.
    target_budget
        Of the training that they are to foretell; ten times the ladder's if not said.
    run
        Go on to train the target, and write the measurement beside the forecast.
    jobs
        Rungs that are trained at once, each in a process of its own; several where that tells more, if not said.
    dials
        What is scaled: width or depth; repeatable, both if not said.
    data
        The data, in place of the recipe's own.
    family
        The backbone: linear, mlp, cnn, rnn, gru, lstm, transformer or hybrid.
    output
        The folder to make; one below runs/ if not said.
    resume
        An interrupted ladder to go on with.
    settings
        Any setting of the recipe, as key=value; repeatable.
    """
    from modelwright.workflows.ladder import ladder as work

    changes = changes_of(options, **{"data.path": data, "model.family": family})
    made = work(
        recipe, budget=budget, target_budget=target_budget, dials=dials or ("width", "depth"), jobs=jobs, run=run, output=output, resume=resume,
        settings=settings or (), changes=changes, reporter=reporter_of(printing),
    )  # fmt: skip
    answer(printing, made)
