"""Recipes that take over what was tuned on a smaller model; and `transfer apply`, which writes one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from modelwright.core.disk import write_atomic
from modelwright.core.errors import InputError
from modelwright.core.run import Run
from modelwright.planning.hyperparameters import decay_for_timescale, rate_for_batch, rate_for_horizon
from modelwright.training.transfer import TransferConfig, differing
from modelwright.workflows.recipe import Recipe, chosen_recipe, dump_recipe, load_recipe
from modelwright.workflows.reporter import Reporter


@dataclass(frozen=True)
class Transferred:
    """A recipe that took over hyperparameters.

    Attributes:
        path: where it lies.
        recipe: itself.
        changes: what differs from the recipe as it was given, by dotted key: before and after.
    """

    path: Path
    recipe: Recipe
    changes: dict[str, tuple[Any, Any]]

    def to_json(self) -> dict[str, Any]:
        """`{"recipe": path, "changes": {key: [before, after]}}`."""
        return {"recipe": str(self.path), "changes": {key: list(pair) for key, pair in self.changes.items()}}


def at_base(recipe: Recipe) -> Recipe:
    """The recipe on the model for which its hyperparameters were tuned, where nothing is to be transferred.

    Raises:
        InputError: the base of its transfer is wrong.
    """
    if recipe.transfer is None:
        return recipe
    # A run's own copy says what the scale of its head became.
    return recipe.replace(model=recipe.transfer.of(recipe.model), transfer=None, head=recipe.head.replace(scale="auto"))


def transferred(recipe: Recipe, base: Recipe, *, horizon: bool = False) -> Recipe:
    """The recipe with the hyperparameters of `base` carried over to its own size, batch and length.

    Width and depth by parametrization (`Recipe.transfer`), the learning rate by the batch size, the weight decay by the number of steps; the
    rest of the optimizer's settings are those of the base.

    Args:
        recipe: of a model of the same family.
        base: on which the hyperparameters were tuned; or which took them over itself.
        horizon: whether the learning rate falls with the length of training too, as measured on language models.

    Raises:
        InputError: the families differ, or something grew that hyperparameters can't follow.
    """
    transfer = TransferConfig(base=differing(recipe.model, at_base(base).model))
    transfer.of(recipe.model)
    tuned, batch = base.training.optimizer, recipe.training.batch_size / base.training.batch_size
    factor = rate_for_batch(1.0, batch, adaptive=tuned.adaptive)
    budgets = recipe.training.budget, base.training.budget
    optimizer = tuned
    if budgets[0].unit == budgets[1].unit != "seconds":
        longer = budgets[0].amount / budgets[1].amount
        # FLOPs and the like count examples; the FLOPs of one depend on the model, so that these say nothing.
        steps = longer if budgets[0].unit == "steps" else longer / batch if budgets[0].unit != "flops" else None
        if steps is not None:
            factor = rate_for_horizon(factor, steps * batch) if horizon else factor
            if tuned.weight_decay:
                optimizer = optimizer.replace(weight_decay=decay_for_timescale(tuned.weight_decay, rate=factor, steps=steps))
    training = recipe.training.replace(optimizer=optimizer.times(factor))
    head = recipe.head if recipe.transfer is None else recipe.head.replace(scale="auto")
    return recipe.replace(training=training, transfer=transfer, head=head)


def transfer_apply(
    recipe: str | Path | Recipe,
    base: str | Path | Recipe,
    *,
    horizon: bool = False,
    output: Path | str | None = None,
    settings: Iterable[str] = (),
    changes: Mapping[str, Any] | None = None,
    reporter: Reporter | None = None,
) -> Transferred:
    """Write the recipe with the hyperparameters of `base` carried over, as `transferred` does.

    Args:
        recipe: of the large model; a `Recipe`, a file, a ready recipe's name, or data with a family.
        base: on which the hyperparameters were tuned: a `Recipe`, a file, a ready recipe's name, or a run's folder.
        horizon: whether the learning rate falls with the length of training too.
        output: the file to write; `NAME-transferred.yaml` if None.
        settings: `dotted.key=value` overrides of the large recipe.
        changes: dotted keys with values, likewise.
        reporter: whom to tell; nobody by default.

    Raises:
        InputError: a recipe is wrong, the families differ, something grew that hyperparameters can't follow, or the file is there already.
    """
    large = recipe if isinstance(recipe, Recipe) else chosen_recipe(recipe, settings, changes or {})
    if not isinstance(base, Recipe):
        base = load_recipe(Run.open(Path(base)).recipe if Path(base).is_dir() else base)
    path = Path(output) if output is not None else Path(f"{large.name}-transferred.yaml")
    if path.exists():
        raise InputError("is there already", where=path, remedy="Give another file by --output")
    found = transferred(large, base, horizon=horizon)
    before, after = (dict(_flat(each.model_dump(mode="json"))) for each in (large, found))
    differing_keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    write_atomic(path, dump_recipe(found))
    answer = Transferred(path, found, {key: (before.get(key), after.get(key)) for key in differing_keys})
    _show(answer, reporter or Reporter())
    return answer


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Leaves by dotted key."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _show(found: Transferred, reporter: Reporter) -> None:
    reporter.say("recipe", f"{found.path}" + ("" if found.changes else " · it has the settings of the base already"))
    if not found.changes:
        return
    table = Table("setting", "was", "is", box=None, header_style="bold", padding=(0, 2, 0, 0))
    for key, (before, after) in found.changes.items():
        table.add_row(
            key, *("-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value) for value in (before, after))
        )
    reporter.show(table)
