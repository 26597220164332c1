"""The verb that makes a larger model of a trained one: grow."""

from __future__ import annotations

from pathlib import Path

from modelwright.cli.arguments import STARTED, Printing, Settings, answer, app, reporter_of


@app.command
def grow(
    run: Path,
    /,
    *,
    width: float = 1,
    depth: float = 1,
    budget: str | None = None,
    output: Path | None = None,
    settings: Settings = None,
    printing: Printing = Printing(),
) -> None:
    """Make a wider and deeper network of a run's model, which gives the same outputs at first, and train it on.

    The outputs of both are compared on validation examples before anything is trained. Data, splits and all settings are those of the run,
    but for the learning rate, which is the lower the shorter the training is beside that of the run: at most a quarter of it, or half of it if only the
    width grows; and a bound on the passes over the data (`training.max_epochs`), which was for the smaller network. Go on with an interrupted run by `modelwright train --resume`.

    **Examples**

    - `modelwright grow runs/2026-11-21-digits-cnn --width 2 --depth 2`
    - `modelwright grow runs/shakespeare --width 2 --budget 10m --output runs/shakespeare-large`
    - `modelwright grow runs/churn --depth 2 --budget 0`
    - `modelwright grow runs/digits --width 2 --budget "5 epochs" --set training.optimizer.learning_rate=0.001`

    Parameters
    ----------
    run
        A finished run folder of a mlp, cnn, rnn, gru, lstm, transformer or hybrid.
    width
        Factor of the width. Where a norm goes over all channels it must be a whole number.
    depth
        Factor of the number of layers.
    budget
        How much training may spend: 90s, 5 epochs, 500 steps; 0 grows only. As much as the run's own if not said.
    output
        The run folder to make; runs/DATE-NAME if not said.
    settings
        Any setting of the recipe that doesn't change what the network computes, as key=value; repeatable.
    """
    from modelwright.workflows.grow import grow as work

    reporter = reporter_of(printing)
    result = work(run, width=width, depth=depth, budget=budget, output=output, settings=settings or (), reporter=reporter, started=STARTED)
    answer(printing, result)
