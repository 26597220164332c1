"""`transfer check`: whether hyperparameters tuned on a small network hold on wider ones."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from modelwright.core.disk import write_atomic
from modelwright.core.errors import DivergedError, InputError, import_extra
from modelwright.core.units import format_count
from modelwright.data.dataset import Dataset
from modelwright.models.family import FamilyConfig
from modelwright.planning.transfer_curves import Coordinates, Curves
from modelwright.reporting.figures import picture_kind
from modelwright.reporting.transfers import draw_transfer
from modelwright.training.machine import prepare_machine
from modelwright.training.transfer import TransferConfig, differing, summary
from modelwright.workflows.job import Job, read
from modelwright.workflows.practice import activations, loss_after, practice, seeded
from modelwright.workflows.recipe import Recipe, chosen_recipe
from modelwright.workflows.reporter import Reporter, steps_bar
from modelwright.workflows.transferred import at_base

COORDINATE_STEPS, COORDINATE_SEEDS = 5, 3
"""Steps after which activations are compared, and runs over which they are averaged; Yang et al. 2022, appendix D.1, take few steps too."""
MUP, STANDARD = "transfer", "standard"


@dataclass(frozen=True)
class TransferCheck:
    """What `transfer check` found.

    Attributes:
        name: of the recipe.
        base: the model's settings at width 1.
        roles: numbers of parameter tensors of the widest network, by role.
        steps: of the runs behind the curves.
        coordinates: by parametrization, `transfer` and if asked for `standard`.
        curves: likewise; empty if no rates were asked for.
        plot: where the picture lies.
    """

    name: str
    base: FamilyConfig
    roles: dict[str, int]
    steps: int
    coordinates: dict[str, Coordinates]
    curves: dict[str, Curves]
    plot: Path

    def to_json(self) -> dict[str, Any]:
        """`{"recipe", "base", "widths", "steps", "roles", "coordinates": {parametrization: ...}, "curves": {...}, "plot"}`."""
        return {
            "recipe": self.name,
            "base": self.base.model_dump(mode="json"),
            "widths": list(next(iter(self.coordinates.values())).widths),
            "steps": self.steps,
            "roles": self.roles,
            "coordinates": {name: found.to_json() for name, found in self.coordinates.items()},
            "curves": {name: found.to_json() for name, found in self.curves.items()},
            "plot": str(self.plot),
        }


def transfer_check(
    recipe: str | Path | Recipe,
    *,
    widths: Sequence[float] = (1, 2, 4),
    steps: int = 100,
    rates: int = 5,
    seeds: int = 1,
    standard: bool = False,
    output: Path | str | None = None,
    settings: Iterable[str] = (),
    changes: Mapping[str, Any] | None = None,
    reporter: Reporter | None = None,
) -> TransferCheck:
    """See whether the recipe's hyperparameters hold on wider networks: by the coordinate check, and by learning-rate curves.

    Args:
        recipe: whose model, or the base of its transfer, is the base; a `Recipe`, a file, a ready recipe's name, or data with a family.
        widths: factors of the base's width; 1 is added.
        steps: of each run behind the curves.
        rates: learning rates of a curve, by powers of two around the recipe's; 0 leaves the curves out.
        seeds: runs at each rate.
        standard: look at the standard parametrization too, where the hyperparameters stay as they are.
        output: the picture, by its ending a .png, .svg or .pdf; `transfer-<name>.png` if None.
        settings: `dotted.key=value` overrides.
        changes: dotted keys with values, likewise.
        reporter: whom to tell; nobody by default.

    Raises:
        InputError: recipe, data or settings are wrong.
        RunInterrupted: the user asked to stop.
    """
    chosen = at_base(recipe if isinstance(recipe, Recipe) else chosen_recipe(recipe, settings, changes or {}))
    reporter = reporter or Reporter()
    plot = _checked(chosen, widths, steps, rates, seeds, output)
    factors = tuple(sorted({1.0, *widths}, key=lambda width: (width != 1, width)))
    prepare_machine()
    dataset = read(chosen, reporter)
    jobs = {MUP: [_job(chosen, dataset, factor, transfers=True) for factor in factors]}
    if standard:
        jobs[STANDARD] = [jobs[MUP][0], *(_job(chosen, dataset, factor, transfers=False) for factor in factors[1:])]
    _refuse_equal_sizes(jobs[MUP], factors)
    sizes = " · ".join(f"{f:g}x {format_count(job.count.total_parameters)}" for f, job in zip(factors, jobs[MUP], strict=True))
    reporter.say("networks", f"{chosen.model.family}, parameters {sizes}")
    coordinates = _coordinates(jobs, factors, reporter)
    curves = _curves(jobs, factors, steps, rates, seeds, reporter) if rates else {}
    write_atomic(plot, draw_transfer(chosen.name, coordinates, curves, picture_kind(plot)))
    found = TransferCheck(chosen.name, chosen.model, summary(jobs[MUP][-1].growths), steps, coordinates, curves, plot)
    _show(found, reporter)
    return found


def _checked(recipe: Recipe, widths: Sequence[float], steps: int, rates: int, seeds: int, output: Path | str | None) -> Path:
    """See that the arguments make sense before anything is trained, and say where the picture goes."""
    import_extra("matplotlib", "matplotlib", "report")
    if not [width for width in widths if width != 1] or not all(width > 0 and math.isfinite(width) for width in widths):
        raise InputError(f"the widths are {', '.join(f'{width:g}' for width in widths) or 'none'}", expected="positive factors, like 1,2,4")
    for name, value, least in (("steps", steps, 1), ("rates", rates, 0), ("seeds", seeds, 1)):
        if value < least:
            raise InputError(f"{name} is {value}", expected=f"at least {least}")
    if rates in (1, 2):
        raise InputError(f"{rates} rates make no curve", expected="3 or more, or 0 for none")
    plot = Path(output) if output is not None else Path(f"transfer-{recipe.name}.png")
    picture_kind(plot)
    if not plot.parent.is_dir():
        raise InputError("there is no such folder", where=plot.parent)
    return plot


def _job(recipe: Recipe, dataset: Dataset, factor: float, *, transfers: bool) -> Job:
    """The job on a network of another width; of the base's own there is nothing to transfer."""
    model = recipe.model.scaled(width=factor)
    transfer = TransferConfig(base=differing(model, recipe.model)) if transfers and model != recipe.model else None
    return Job.make(recipe.replace(model=model, transfer=transfer), dataset)


def _refuse_equal_sizes(jobs: Sequence[Job], factors: Sequence[float]) -> None:
    models = [job.recipe.model for job in jobs]
    for number, model in enumerate(models):
        if model in models[:number]:
            raise InputError(f"at {factors[number]:g}x the {model.family} is no other network than at {factors[models.index(model)]:g}x")


def _coordinates(jobs: Mapping[str, Sequence[Job]], factors: tuple[float, ...], reporter: Reporter) -> dict[str, Coordinates]:
    """The coordinate check of each parametrization."""
    found: dict[str, Coordinates] = {}
    total = sum(job.count.flops for row in jobs.values() for job in row) * COORDINATE_SEEDS
    done = 0
    with steps_bar(reporter, "coordinates") as tell:
        for name, row in jobs.items():
            changes: dict[str, list[float]] = {}
            for job in row:
                moved: dict[str, list[float]] = {}
                for seed in range(COORDINATE_SEEDS):
                    for part, change in _moved(seeded(job, job.recipe.seed + seed)).items():
                        moved.setdefault(part, []).append(change)
                    done += job.count.flops
                    tell(done, total)
                for part, values in moved.items():
                    changes.setdefault(part, []).append(statistics.fmean(values))
            found[name] = Coordinates(factors, changes)
    return found


def _moved(job: Job) -> dict[str, float]:
    """The root mean square of the change of each part's output, after a few steps at a constant rate; infinite if training diverged."""
    network, batch = job.network(), job.loader.batch(COORDINATE_STEPS)
    before = activations(network, batch)
    try:
        practice(job.replace(schedule="constant"), network, COORDINATE_STEPS)
    except DivergedError:
        return dict.fromkeys(before, math.inf)
    after = activations(network, batch)
    return {name: float((after[name] - value).square().mean().sqrt()) for name, value in before.items()}


def _curves(
    jobs: Mapping[str, Sequence[Job]], factors: tuple[float, ...], steps: int, rates: int, seeds: int, reporter: Reporter
) -> dict[str, Curves]:
    """The learning-rate curves of each parametrization; at the base's width they are the same."""
    times = [2.0 ** (number - rates // 2) for number in range(rates)]
    rate = jobs[MUP][0].training.optimizer.learning_rate
    distinct = {id(job): job for row in jobs.values() for job in row}.values()
    reporter.say("curves", f"{len(distinct) * rates * seeds} runs of {steps} steps, rates {rate * times[0]:.2g} to {rate * times[-1]:.2g}")
    total = sum(job.count.flops for job in distinct) * rates * seeds * steps
    done = 0
    known: dict[int, list[list[float]]] = {}
    with steps_bar(reporter, "curves") as tell:
        for job in distinct:
            losses: list[list[float]] = []
            for factor in times:
                losses.append([])
                for seed in range(seeds):
                    on_step = _telling(tell, done, job.count.flops, total)
                    losses[-1].append(loss_after(seeded(job, job.recipe.seed + seed), steps, factor=factor, tell=on_step))
                    done += job.count.flops * steps
            known[id(job)] = losses
    return {name: Curves(factors, tuple(rate * f for f in times), [known[id(job)] for job in row]) for name, row in jobs.items()}


def _telling(tell: Callable[[int, int], None], done: int, each: int, total: int) -> Callable[[int], None]:
    return lambda step: tell(done + step * each, total)


def _show(found: TransferCheck, reporter: Reporter) -> None:
    roles = ", ".join(f"{count} {role}" for role, count in found.roles.items())
    reporter.say("roles", f"of the parameters, by their shapes: {roles}")
    for name, coordinates in found.coordinates.items():
        reporter.show(_coordinates_table(name, coordinates))
    for name, curves in found.curves.items():
        reporter.show("")
        reporter.show(_curves_table(name, curves))
    for name, coordinates in found.coordinates.items():
        steep = max(coordinates.slopes.items(), key=lambda item: abs(item[1]))
        word = "flat" if coordinates.flat else f"not flat: {steep[0]} changes like width^{steep[1]:.2f}"
        word = word if math.isfinite(steep[1]) else "not flat: training diverged within a few steps"
        curves = found.curves.get(name)
        reporter.say(name, f"coordinates {word}" + ("" if curves is None else f"\n{curves.verdict}"))
    if any(curves.at_edge for curves in found.curves.values()):
        reporter.say("note", "the base's best rate lies at the edge of those tried: set another learning_rate, or more --rates")
    reporter.say("picture", str(found.plot))


def _coordinates_table(name: str, coordinates: Coordinates) -> Table:
    """The output and the parts that are least flat."""
    slopes = coordinates.slopes
    steepest = sorted((part for part in slopes if part != "output"), key=lambda part: -abs(slopes[part]))[:4]
    heads = [f"{factor:g}x" for factor in coordinates.widths]
    table = Table(f"{name}: change of", *heads, "slope", box=None, header_style="bold", padding=(0, 1, 0, 0))
    for part in [*(part for part in slopes if part in steepest), "output"]:
        table.add_row(part, *(f"{value:.3g}" for value in coordinates.changes[part]), f"{slopes[part]:+.2f}")
    if len(slopes) > 5:
        middle = statistics.median(slopes.values())
        table.add_row(f"median of {len(slopes)} parts", *("" for _ in heads), f"{middle:+.2f}")
    return table


def _curves_table(name: str, curves: Curves) -> Table:
    """The mean loss by rate and width; the best of each width is marked."""
    table = Table(
        f"{name}: loss at rate", *(f"{factor:g}x" for factor in curves.widths), box=None, header_style="bold", padding=(0, 1, 0, 0)
    )
    for number, rate in enumerate(curves.rates):
        cells = []
        for width in range(len(curves.widths)):
            value = curves.mean(width, number)
            text = f"{value:.4f}" if math.isfinite(value) else "diverged"
            cells.append(f"[bold]{text} *[/bold]" if number == curves.best(width) else text)
        table.add_row(f"{rate:.3g}", *cells)
    table.add_row("above the best", *(f"{curves.excess(width):.2%}" for width in range(len(curves.widths))))
    return table
