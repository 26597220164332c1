"""The verbs about the product and the machine: recipes, doctor."""

from __future__ import annotations

from modelwright.cli.arguments import Printing, answer, app, reporter_of


@app.command
def recipes(name: str | None = None, /, *, printing: Printing = Printing()) -> None:
    """List the recipes that come with the package, or print one.

    **Examples**

    - `modelwright recipes`
    - `modelwright recipes mnist-cnn > my-recipe.yaml`

    Parameters
    ----------
    name
        The recipe to print.
    """
    from modelwright.workflows.recipes import recipes as work

    reporter = reporter_of(printing)
    answer(printing, work(name, reporter=reporter))


@app.command
def doctor(*, profile: bool = False, printing: Printing = Printing()) -> None:
    """Look at this machine: versions, cores, memory, what number formats are fast, which extras are there.

    **Examples**

    - `modelwright doctor`
    - `modelwright doctor --json`
    - `modelwright doctor --profile`

    Parameters
    ----------
    profile
        Measure for a minute how fast this CPU's kernels are, and keep it for `plan`. The machine should be quiet.
    """
    from modelwright.workflows.doctor import doctor as work

    reporter = reporter_of(printing)
    answer(printing, work(profile=profile, reporter=reporter))
