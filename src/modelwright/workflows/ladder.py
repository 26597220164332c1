"""`ladder`: small runs of growing size that tell what a large one will reach, and which one it should be."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from modelwright.core.disk import disk_errors, write_atomic
from modelwright.core.errors import InputError, RunInterrupted
from modelwright.core.run import claim
from modelwright.core.units import Budget, format_duration
from modelwright.data.dataset import Dataset
from modelwright.models.family import FamilyConfig
from modelwright.planning.laws.law import Law, find_law
from modelwright.planning.laws.points import Points
from modelwright.planning.range import Range
from modelwright.reporting.laws import draw_law
from modelwright.serving.bundle import load_bundle
from modelwright.training.machine import prepare_machine
from modelwright.workflows.candidates import candidates
from modelwright.workflows.job import Job, probe, read
from modelwright.workflows.ladder_answer import LadderAnswer, Plan, Recommendation, show_answer, show_plan
from modelwright.workflows.pricing import Pricing
from modelwright.workflows.recipe import Recipe, chosen_recipe, dump_recipe, is_recipe, load_recipe, values_for
from modelwright.workflows.reporter import Reporter
from modelwright.workflows.rung_jobs import MOST, STARTING, Sharing, lanes_of, ways_to_share
from modelwright.workflows.rung_plan import Guess, guess_target, plan_rungs, shapes
from modelwright.workflows.rung_runs import climb_all
from modelwright.workflows.rungs import (
    Metric,
    Rung,
    RungResult,
    as_table,
    data_per_step,
    judged_on,
    point_of,
    rung_recipe,
    sized,
    unique_data,
)
from modelwright.workflows.train import train

TARGET = 10.0
"""The target's budget over that of the ladder, if it isn't said."""
RUNG_SHARE = 0.85
"""Of what is left of a budget after reading and planning: what the rungs' steps may take; the rest is for starting and judging them."""
LAW_SECONDS = 4.0
"""What the law and its picture take."""
LEAST_LEFT = 0.3
"""Share of a budget that must be left after reading and planning."""
JUDGED_SHARE = 0.1
"""Of a budget: what judging the rungs may take."""
AHEAD = 2.0
"""Up to so many times the guessed target, sizes are priced before the rungs are planned, so that the time is counted; larger ones are seldom recommended."""
FEWEST_JUDGED = 64
"""Examples of the validation split."""
LEARNED_BELOW = 0.9
"""Of the loss of a constant: where none of the shortest trainings falls below this share, sizes can't be told apart yet."""
LARGEST = 4.0
"""Size of the recommended model over that of the largest rung, at most in the square root of the growth in compute."""


def ladder(
    recipe: str | Path | Recipe | None = None,
    *,
    budget: str | Budget | None = None,
    target_budget: str | Budget | None = None,
    dials: Sequence[str] = ("width", "depth"),
    jobs: int | None = None,
    run: bool = False,
    output: Path | str | None = None,
    resume: Path | str | None = None,
    settings: Iterable[str] = (),
    changes: Mapping[str, Any] | None = None,
    reporter: Reporter | None = None,
) -> LadderAnswer:
    """Train small networks of growing size, fit a law, and say what to train with a larger budget and what that will reach.

    Args:
        recipe: a `Recipe`, a recipe file, a ready recipe's name, or data (then `model.family` must be among the settings).
        budget: for all rungs, in time.
        target_budget: of the training that they are to foretell, in time; ten times that of the ladder if not said.
        dials: what is scaled: `width`, `depth` or both.
        jobs: rungs that are trained at once, each in a process of its own with its share of the cores; None takes several where that tells more.
        run: go on to train the target.
        output: the folder to make.
        resume: an interrupted ladder to go on with.
        settings: `dotted.key=value` overrides.
        changes: dotted keys with values, likewise.
        reporter: whom to tell.

    Raises:
        InputError: the recipe, the data or a setting is wrong; or the budget is too small for a ladder.
        RunInterrupted: the user asked to stop; everything is saved.
    """
    began = time.monotonic()
    reporter = reporter or Reporter()
    prepare_machine()
    if jobs is not None and jobs < 1:
        raise InputError(f"{jobs} jobs", expected="at least 1")
    if resume is not None:
        folder = Path(resume)
        chosen, plan = _opened(folder)
        dataset = read(chosen, reporter)
        if dataset.digest() != plan.digest:
            raise InputError(
                "the data changed since the ladder began", where=chosen.data.path, remedy="Bring the data back, or start a new ladder"
            )
        plan = plan.model_copy(update={"jobs": min(jobs or plan.jobs, MOST)})
        pricing = Pricing(chosen, dataset)
    else:
        if recipe is None or budget is None:
            raise InputError("a ladder needs a recipe and a budget", remedy="Like: modelwright ladder recipe.yaml --budget 10m")
        limits = _seconds(budget), TARGET * _seconds(budget) if target_budget is None else _seconds(target_budget)
        chosen, dataset = _chosen(recipe, settings, changes or {}, *limits, reporter)
        chosen, plan, pricing = _planned(chosen, dataset, *limits, dials, jobs, began)
        folder = claim(Path("runs"), f"{chosen.name}-ladder") if output is None else _new_folder(Path(output))
        write_atomic(folder / "recipe.yaml", dump_recipe(chosen))
        write_atomic(folder / "ladder.json", plan.model_dump_json(indent=2) + "\n")
    show_plan(plan, chosen, reporter)
    try:
        results = climb_all(folder, plan.rungs, chosen, dataset, plan.judged, plan.jobs, reporter)
    except (KeyboardInterrupt, RunInterrupted):
        raise RunInterrupted(f"Interrupted. Go on with: modelwright ladder --resume {folder}") from None
    answer = _concluded(folder, chosen, dataset, plan, results, pricing, began)
    show_answer(answer, reporter)
    _write(answer)
    if run:
        answer = _carried_out(answer, dataset, reporter)
        _write(answer)
    return answer


def _write(answer: LadderAnswer) -> None:
    write_atomic(answer.folder / "answer.json", json.dumps(answer.to_json(), indent=2, allow_nan=False) + "\n")


def _seconds(budget: str | Budget) -> float:
    parsed = Budget.parse(budget)
    if parsed.seconds is None:
        raise InputError(f"a ladder's budget of {parsed}", expected="one of time, like 30m or 2h")
    return parsed.seconds


def _new_folder(path: Path) -> Path:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError("the folder exists and is not empty", where=path, remedy="Choose another --output, or go on by --resume")
    with disk_errors(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def _opened(folder: Path) -> tuple[Recipe, Plan]:
    """The recipe and plan of a ladder that was begun.

    Raises:
        InputError: there is none, or it is damaged.
    """
    if not (folder / "ladder.json").is_file():
        raise InputError("is no ladder" if folder.exists() else "does not exist", where=folder, expected="a folder made by ladder")
    try:
        plan = Plan.model_validate_json((folder / "ladder.json").read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise InputError(f"is damaged ({str(error).splitlines()[0]})", where=folder / "ladder.json", remedy="Start a new ladder") from None
    return load_recipe(folder / "recipe.yaml"), plan


def _chosen(
    recipe: str | Path | Recipe, settings: Iterable[str], changes: Mapping[str, Any], budget: float, target: float, reporter: Reporter
) -> tuple[Recipe, Dataset]:
    """The recipe and its data; where data was named, what the user leaves open is chosen as `build` does: to suit it and the target, but the
    batch size to suit the rungs, which are to have many steps.
    """
    if isinstance(recipe, Recipe):
        return recipe, read(recipe, reporter)
    chosen = chosen_recipe(recipe, settings, changes)
    dataset = read(chosen, reporter)
    if not is_recipe(recipe):
        family = chosen.model.family

        def suited(seconds: float) -> Job:
            values = values_for(
                recipe, settings, {**changes, "training.budget": str(Budget(seconds, "seconds")), "training.compile": False}
            )
            return candidates(values, [family], dataset)[family].job

        chosen = suited(target).recipe
        if dataset.schema.causal:
            chosen = chosen.replace(training=chosen.training.replace(batch_size=suited(budget).training.batch_size))
    return chosen, dataset


def _planned(
    recipe: Recipe, dataset: Dataset, budget: float, target: float, dials: Sequence[str], jobs: int | None, began: float
) -> tuple[Recipe, Plan, Pricing]:
    """What the budget pays for, the recipe with nothing left open, and the prices of sizes."""
    reading = time.monotonic() - began
    unknown = set(dials) - {"width", "depth"}
    if unknown or not dials:
        raise InputError(f"can't scale {', '.join(sorted(unknown)) or 'nothing'}", expected="--dials width, depth or both")
    if target < budget:
        raise InputError(f"a target of {format_duration(target)} is less than the ladder's {format_duration(budget)}")
    if "validation" not in dataset.splits:
        raise InputError("there is no validation split to judge the rungs on", remedy="Set data.validation to a share like 0.1")
    job = probe(Job.make(recipe, dataset).replace(compile=False)).job
    Metric.of(job)
    pricing = Pricing(job.recipe, dataset)
    sizes = shapes(job.recipe.model, pricing, dials)
    ends = sizes[0][1], job.recipe.model
    for model in ends:
        pricing.measure(model)
    ways = ways_to_share(pricing, ends, jobs, budget)
    guess = guess_target(job, target, pricing, sizes)
    for params, model in sizes:
        if params <= AHEAD * guess.price.params:
            pricing.of(model)
    left = budget - (time.monotonic() - began) - LAW_SECONDS
    if left < LEAST_LEFT * budget:
        raise InputError(
            f"of {format_duration(budget)}, reading and planning leave {format_duration(max(left, 0))} for the rungs",
            remedy=f"Give a --budget of at least {format_duration((budget - left) / (1 - LEAST_LEFT))}",
        )
    rungs, sharing = _most_telling(job, left, reading + STARTING, guess, sizes, ways)
    cost = sum(len(rung.steps) * rung.step_seconds for rung in rungs) / 3 / job.training.batch_size
    affordable = max(FEWEST_JUDGED, round(JUDGED_SHARE * budget / cost))
    judged = affordable if affordable < len(dataset.splits["validation"]) else None
    plan = Plan(
        budget=budget, target=target, digest=dataset.digest(), judged=judged, rungs=rungs, dials=list(dials), jobs=sharing.jobs,
        unit="examples" if job.tokens_per_sample is None else "tokens",
    )  # fmt: skip
    return job.recipe, plan, pricing


def _most_telling(
    job: Job, left: float, starting: float, guess: Guess, sizes: Sequence[tuple[int, FamilyConfig]], ways: Sequence[Sharing]
) -> tuple[list[Rung], Sharing]:
    """The rungs of the greatest worth, and how they share the machine.

    Args:
        job: the recipe.
        left: seconds for rungs and their judging.
        starting: seconds that processes of their own take before they train.
        guess: the target.
        sizes: to choose from.
        ways: to share the machine.

    Raises:
        InputError: there is too little time, whichever way.
    """
    plans, refused = [], None
    for way in ways:
        try:
            seconds = RUNG_SHARE * (left - (starting if way.jobs > 1 else 0.0))
            rungs, worth = plan_rungs(job, seconds, guess, way.pricing, sizes, lanes_of(way.jobs))
            plans.append((worth, rungs, way))
        except InputError as error:
            refused = refused or error
    if not plans:
        assert refused is not None
        raise refused
    _, rungs, way = max(plans, key=lambda plan: plan[0])
    return rungs, way


def _concluded(
    folder: Path, recipe: Recipe, dataset: Dataset, plan: Plan, results: list[RungResult], pricing: Pricing, began: float
) -> LadderAnswer:
    """The law through the results, and the recommendation; both written down."""
    job = Job.make(recipe, dataset)
    metric = Metric.of(job).name
    write_atomic(folder / "rungs.csv", as_table(results, metric))
    points = Points({axis: np.array([float(getattr(row, axis)) for row in results]) for axis in ("params", "data", "unique", "compute")})
    flops = float(np.median(points["compute"] / (points["params"] * points["data"])))
    law = find_law(points, np.array([row.value for row in results]), "loss", flops=flops, seed=recipe.seed)
    best = _recommended(law, job, plan, results, pricing.fresh())
    write_atomic(folder / "target.yaml", dump_recipe(best.recipe))
    write_atomic(folder / "law.png", draw_law(law, "loss", [best.point], [best.value], [None], ".png"))
    constant = Metric(metric).of_constant(Job.make(recipe, judged_on(dataset, plan.judged)))
    reason = _hardly_better(metric, results, constant) or law.objection(best.point)
    return LadderAnswer(folder, metric, plan, results, law, reason, best, law.next_run(best.point), time.monotonic() - began)


def _hardly_better(metric: str, results: list[RungResult], constant: float | None) -> str | None:
    """Why no law is to be believed through networks that have learned little: sizes differ only where they have, and the curve falls there, if it does."""
    shortest = min(row.steps for row in results)
    lowest = min(row.value for row in results if row.steps == shortest)
    if constant is None or lowest < LEARNED_BELOW * constant:
        return None
    return f"the rungs are hardly better than a constant: after {shortest:,} steps the best reaches a {metric} of {lowest:.4g}, and the constant {constant:.4g}"


def _recommended(law: Law, job: Job, plan: Plan, results: list[RungResult], pricing: Pricing) -> Recommendation:
    """The size that reaches most in the target's time, and how far it gets; the prices are those that rungs really had, or have alone."""
    trained = [rung for rung in plan.rungs if rung.name in {row.rung for row in results}]
    largest = max(trained, key=lambda rung: rung.params)
    alone = {row.rung: row.step_seconds for row in results if row.threads == torch.get_num_threads()}
    for rung in trained:
        if rung.name in alone:
            pricing.correct(rung.config(job.recipe), alone[rung.name])
    if largest.name not in alone:
        pricing.measure(largest.config(job.recipe))
    limit = LARGEST * math.sqrt(plan.target / plan.budget) * largest.params
    batch, unique = data_per_step(job), unique_data(job.dataset)
    offers = []
    for params, sized_model in shapes(job.recipe.model, pricing, plan.dials):
        if plan.rungs[0].params <= params <= limit:
            price = pricing.of(sized_model)
            steps = max(1, math.floor(plan.target / price.step_seconds))
            point = point_of(params, steps * batch, unique, price.flops * steps * batch / (job.tokens_per_sample or 1))
            offers.append((price, steps, point))
    offers = [offer for offer in offers if offer[0].fits] or offers[:1]
    price, steps, point = min(offers, key=lambda offer: float(law.predict(offer[2])[0][0]))
    warmup = max(1, round(job.training.schedule.warmup * steps))
    recipe = rung_recipe(sized(job.recipe, price.model), steps, warmup).replace(name=f"{job.recipe.name}-target")
    value = Range(*(float(bound[0]) for bound in law.predict(point)))
    return Recommendation(recipe, point, steps, steps * price.step_seconds, value)


def _carried_out(answer: LadderAnswer, dataset: Dataset, reporter: Reporter) -> LadderAnswer:
    """Train what was recommended, or go on with that, and put the measurement beside the forecast.

    Raises:
        InputError: the law isn't identified.
        RunInterrupted: the user asked to stop; everything is saved.
    """
    if answer.reason is not None:
        raise InputError(
            f"the target isn't trained, as its forecast isn't identified: {answer.reason}",
            remedy=f"Add a run of {answer.next_run.told(answer.plan.unit)}, or train {answer.folder / 'target.yaml'} all the same"
            if answer.next_run
            else None,
        )
    best = answer.recommended
    target = answer.folder / "target"
    try:
        begun = (target / "run.json").is_file()
        outcome = train(resume=target, reporter=reporter) if begun else train(best.recipe, output=target, reporter=reporter)
    except RunInterrupted:
        raise RunInterrupted(f"Interrupted. Go on with: modelwright ladder --resume {answer.folder} --run") from None
    quantity = f"validation {answer.metric} on the ladder's examples" if answer.plan.judged else f"validation {answer.metric}"
    bundle = load_bundle(outcome.run.bundle)
    measured = Metric(answer.metric).measure(Job.make(best.recipe, judged_on(dataset, answer.plan.judged)), bundle.network)
    outcome.run.ledger.forecast(quantity, "1", best.value.value, best.value.low, best.value.high)
    outcome.run.ledger.measure(quantity, "1", measured)
    inside = "inside" if best.value.low <= measured <= best.value.high else "outside"
    reporter.say(
        "came true",
        f"{answer.metric} {measured:.4g}, {inside} the forecast of {best.value.value:.4g} ({best.value.low:.4g}-{best.value.high:.4g}); "
        f"off by {best.value.value / measured - 1:+.1%}",
    )
    return replace(answer, outcome=outcome, measured=measured)
