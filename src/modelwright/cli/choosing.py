"""The verb that chooses: select."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from modelwright.cli.arguments import STARTED, DataOptions, Printing, Settings, answer, app, changes_of, reporter_of


@app.command
def select(
    data: str | None = None,
    /,
    *,
    budget: str | None = None,
    family: Annotated[list[str] | None, Parameter(consume_multiple=False)] = None,
    output: Path | None = None,
    storage: str | None = None,
    study: str | None = None,
    train: bool = False,
    seed: int | None = None,
    settings: Settings = None,
    resume: Path | None = None,
    options: DataOptions = DataOptions(),
    printing: Printing = Printing(),
) -> None:
    """Which family, with which settings, is best: compare at equal compute, name ties, show what size and speed cost, and write the recipe.

    **Examples**

    - `modelwright select digits --budget 5m`
    - `modelwright select customers.csv --target churn --budget 20m --train --output runs/churn`
    - `modelwright select photos/ --budget 2h --family cnn --family transformer --set training.optimizer=muon`
    - `modelwright select corpus.txt --budget 1h --storage postgresql://user@host/studies`
    - `modelwright select --resume runs/churn`

    Parameters
    ----------
    data
        As for `build`: a table, a folder of images, a text, ...
    budget
        How much may be spent, all included: 90s, 5m, 2h.
    family
        Compare only these families, of linear, mlp, cnn, rnn, gru, lstm, transformer and hybrid; repeatable.
    output
        The folder to make: study.sqlite3, trials.json, pareto.png and recipe.yaml, which `train` takes; runs/DATE-NAME-select if not said.
    storage
        An Optuna storage that several processes or machines share, each with a budget of its own: sqlite:///PATH, postgresql://..., journal:PATH.
    study
        Its name there; made of the data if not said, so that whoever has the same data joins.
    train
        Leave most of the budget for training the best recipe afresh and proving it on the test split, as `build` does.
    seed
        Decides splits, weights and order.
    settings
        Any setting of the recipe, as key=value; it stays so in every trial; repeatable.
    resume
        Go on with an interrupted search, in its folder; a storage whose URL has a password must be named again.
    """
    from modelwright.workflows.select import select as work

    reporter = reporter_of(printing)
    changes = changes_of(options, seed=seed)
    result = work(
        data, budget=budget, families=family, output=output, storage=storage, study=study, train=train, settings=settings or (),
        changes=changes, resume=resume, reporter=reporter, started=STARTED,
    )  # fmt: skip
    answer(printing, result)
