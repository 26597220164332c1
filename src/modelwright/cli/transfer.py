"""The verbs about hyperparameters that are tuned small and used large: transfer check, transfer apply."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from modelwright.cli.arguments import DataOptions, Printing, Settings, answer, app, changes_of, reporter_of

transfer_app = App(
    name="transfer",
    help="Use hyperparameters tuned on a small network for larger ones, and see whether they hold.",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.command(transfer_app)


@transfer_app.command
def check(
    recipe: str,
    /,
    *,
    data: str | None = None,
    family: str | None = None,
    widths: str = "1,2,4",
    steps: int = 100,
    rates: int = 5,
    seeds: int = 1,
    standard: bool = False,
    output: Path | None = None,
    settings: Settings = None,
    options: DataOptions = DataOptions(),
    printing: Printing = Printing(),
) -> None:
    """Train a network and wider ones for a few steps: do its parts move alike at every width, and is the same learning rate the best?

    The picture shows, at each width, how much every part's output changed (flat is right), and the loss by learning rate (the valleys should
    lie above each other). A recipe takes over what was tuned small by its key `transfer`.

    **Examples**

    - `modelwright transfer check digits-cnn`
    - `modelwright transfer check mnist-cnn --data path/to/mnist --widths 1,2,4,8 --steps 200 --seeds 3`
    - `modelwright transfer check path/to/text.txt --family transformer --standard --output transfer.svg`
    - `modelwright transfer check recipe.yaml --rates 0 --json`

    Parameters
    ----------
    recipe
        A recipe file, a ready recipe's name, or data. Its model, or the base of its `transfer`, is width 1.
    data
        The data, in place of the recipe's own.
    family
        The backbone: mlp, cnn, rnn, gru, lstm, transformer or hybrid.
    widths
        Factors of the width, separated by commas.
    steps
        Of each run behind a curve.
    rates
        Learning rates of a curve, by powers of two around the recipe's own; 0 for the coordinates alone.
    seeds
        Runs at each rate, over which the loss is averaged.
    standard
        Beside it, the same without transfer: every hyperparameter stays as it is.
    output
        The picture, a .png, .svg or .pdf; transfer-NAME.png if not said.
    settings
        Any setting of the recipe, as key=value; repeatable.
    """
    from modelwright.core.errors import InputError
    from modelwright.workflows.transfer import transfer_check as work

    try:
        factors = [float(width) for width in widths.split(",")]
    except ValueError:
        raise InputError(f"can't read the widths {widths!r}", expected="factors separated by commas, like 1,2,4") from None
    changes = changes_of(options)
    changes.update({"data.path": data, "model.family": family})
    found = work(
        recipe, widths=factors, steps=steps, rates=rates, seeds=seeds, standard=standard, output=output, settings=settings or (),
        changes=changes, reporter=reporter_of(printing),
    )  # fmt: skip
    answer(printing, found)


@transfer_app.command
def apply(
    recipe: str,
    base: str,
    /,
    *,
    data: str | None = None,
    family: str | None = None,
    horizon: bool = False,
    output: Path | None = None,
    settings: Settings = None,
    options: DataOptions = DataOptions(),
    printing: Printing = Printing(),
) -> None:
    """Write a large model's recipe with the hyperparameters that were tuned on a small one: for its width, depth, batch size and length.

    Width and depth go into the recipe's key `transfer`. The learning rate follows the batch size (like its root for Adam and its kin, else
    like itself), the weight decay the number of steps.

    **Examples**

    - `modelwright transfer apply large.yaml small.yaml`
    - `modelwright transfer apply large.yaml runs/small --set training.batch_size=256 --output tuned.yaml`
    - `modelwright transfer apply large.yaml small.yaml --horizon --json`

    Parameters
    ----------
    recipe
        Of the large model: a recipe file, a ready recipe's name, or data.
    base
        On which the hyperparameters were tuned: a recipe file, a ready recipe's name, or a run's folder.
    data
        The data, in place of the large recipe's own.
    family
        The large model's backbone.
    horizon
        Let the learning rate fall with the length of training too, as measured on language models.
    output
        The file to write; NAME-transferred.yaml if not said.
    settings
        Any setting of the large recipe, as key=value; repeatable.
    """
    from modelwright.workflows.transferred import transfer_apply as work

    changes = changes_of(options)
    changes.update({"data.path": data, "model.family": family})
    found = work(recipe, base, horizon=horizon, output=output, settings=settings or (), changes=changes, reporter=reporter_of(printing))
    answer(printing, found)
