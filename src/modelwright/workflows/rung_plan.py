"""The rungs that a budget pays for: sizes, lengths and prices, from those of the target downwards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from modelwright.core.errors import InputError
from modelwright.core.units import format_duration
from modelwright.models.family import FamilyConfig
from modelwright.planning.size import TOKENS_PER_PARAMETER
from modelwright.workflows.job import Job
from modelwright.workflows.pricing import Price, Pricing
from modelwright.workflows.rung_jobs import makespan
from modelwright.workflows.rungs import HORIZONS, Rung, data_per_step

SIZES = (5, 4)
"""Rungs of different size, tried in turn."""
FEWEST_SIZES = min(SIZES)
STEP_DOWN = 0.6
"""Parameters of a rung over those of the next larger one, about."""
SHAPES = range(-18, 10)
"""Exponents of 2^(1/4) by which width and depth are tried."""
TILTS = (0, -1, 1)
"""By which the exponent of the width lies above that of the depth: in small models whole blocks and heads leave few sizes of one proportion."""
SHALLOWEST = 3
"""Blocks below which no size goes, or the model's own if it has fewer: networks of one or two learn less than a law of deeper ones says."""
DISTINCT = 1.2
"""Factor between the parameters of two shapes that count as different."""
FEWEST_STEPS = (500, 400, 300, 200, 120, 80, 40)
"""Of the shortest training, tried in turn: in their first few hundred steps networks of all sizes learn the same, and a loss follows no law yet."""
STEPS_DOWN = (STEP_DOWN, 0.85)
"""Tried in turn: sizes that lie closer together where there are few."""
RATIOS = tuple(2 ** (exponent / 2) for exponent in range(2, -17, -1))
"""Data a parameter of the longest training of the largest rung, over that of the target as it is first guessed."""
POWERS = (1.0, 0.5, 0.0)
"""Of size, by which smaller rungs see less data, but never less than the fewest steps. With 1 all see as much a parameter."""


@dataclass(frozen=True)
class Guess:
    """The target as guessed before any rung: a size, and how much data a parameter it sees in the target's budget."""

    price: Price
    ratio: float


def shapes(model: FamilyConfig, pricing: Pricing, dials: Sequence[str]) -> list[tuple[int, FamilyConfig]]:
    """Sizes of a model to which its hyperparameters can be carried over, the smallest first, each with the parameters of its backbone.

    Args:
        model: what is scaled.
        pricing: counts parameters.
        dials: `width`, `depth` or both.

    Raises:
        InputError: the family can't be scaled that way.
    """
    found: dict[int, FamilyConfig] = {}
    least = min(1.0, SHALLOWEST / model.num_blocks)
    unit = 4 if len(dials) > 1 else 3
    for tilt, exponent in product(TILTS if len(dials) > 1 else (0,), SHAPES):
        factors = {"width": 2 ** ((exponent + tilt) / unit), "depth": max(least, 2 ** ((exponent - tilt) / unit))}
        try:
            scaled = model.scaled(**{dial: factors[dial] for dial in dials})
            scaled.check_base(model)
            found.setdefault(pricing.params(scaled), scaled)
        except InputError:
            continue
    ordered: list[tuple[int, FamilyConfig]] = []
    for params, scaled in sorted(found.items(), key=lambda item: item[0]):
        if params > 0 and (not ordered or params > DISTINCT * ordered[-1][0]):
            ordered.append((params, scaled))
    if len(ordered) < FEWEST_SIZES:
        raise InputError(
            f"{' and '.join(dials)} of a {model.family} give {len(ordered)} different sizes", expected=f"at least {FEWEST_SIZES}",
            remedy="Choose other --dials, or a larger model to begin with",
        )  # fmt: skip
    return ordered


def guess_target(job: Job, seconds: float, pricing: Pricing, sizes: Sequence[tuple[int, FamilyConfig]]) -> Guess:
    """About what the target's budget pays for: a text's compute-optimal size, else the recipe's own size, as often over the data as there is time."""
    batch = data_per_step(job)
    if job.tokens_per_sample is None:
        price = pricing.of(job.recipe.model)
        return Guess(price, seconds / price.step_seconds * batch / price.params)

    def data(model: FamilyConfig) -> float:
        return seconds / pricing.of(model).step_seconds * batch

    low, high = 0, len(sizes) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if data(sizes[middle][1]) >= TOKENS_PER_PARAMETER * sizes[middle][0]:
            low = middle
        else:
            high = middle - 1
    price = pricing.of(sizes[low][1])
    return Guess(price, data(price.model) / price.params)


def plan_rungs(
    job: Job, seconds: float, guess: Guess, pricing: Pricing, sizes: Sequence[tuple[int, FamilyConfig]], lanes: int = 1
) -> list[Rung]:
    """The largest rungs that fit into a time.

    If possible, each size is trained on as much data a parameter as the target, on half and on a quarter of it. Where the time doesn't reach for
    that, sizes see less data, or lie closer together: what makes the largest rung most like the target is taken. Trainings of many steps go before
    larger sizes; small sizes get more steps than their share, if those would be too few.

    Args:
        job: the recipe.
        seconds: for all of them.
        guess: the target.
        pricing: of sizes.
        sizes: to choose from.
        lanes: rungs that are trained at once, at these prices.

    Raises:
        InputError: the time is too short for the smallest sizes.
    """
    known = [entry for entry in sizes if entry[0] <= 1.05 * guess.price.params]
    if len(known) < FEWEST_SIZES:
        raise InputError(
            f"no ladder leads to a model of {guess.price.params:,} parameters in its backbone: there are {len(known)} sizes up to that",
            expected=f"{FEWEST_SIZES} sizes", remedy="Begin with a larger model, or give a larger --target-budget",
        )  # fmt: skip
    for fewest in FEWEST_STEPS:
        best, merit = None, 0.0
        for times, power, step, count in product(RATIOS, POWERS, STEPS_DOWN, SIZES):
            for top in range(FEWEST_SIZES - 1, len(known)):
                rungs = _rungs_below(job, known[: top + 1], times * guess.ratio, power, step, count, pricing, fewest)
                if makespan((rung.seconds for rung in rungs), lanes) > seconds:
                    break
                # The largest rung should be dear, and see about as much data a parameter as the target.
                worth = rungs[-1].flops * rungs[-1].steps[-1] * min(1.0, times) ** 0.5
                if len(rungs) >= FEWEST_SIZES and worth > 1.01 * merit:
                    best, merit = rungs, worth
        if best is not None:
            return best
    smallest = _rungs_below(
        job, known[: 2 * FEWEST_SIZES], RATIOS[-1] * guess.ratio, 0.0, STEPS_DOWN[-1], FEWEST_SIZES, pricing, FEWEST_STEPS[-1]
    )
    raise InputError(
        f"no ladder fits: small rungs take {format_duration(makespan((rung.seconds for rung in smallest), lanes))} of the {format_duration(seconds)} that there "
        f"are, the shortest of them of {smallest[0].steps[0]:,} steps",
        expected=f"{FEWEST_SIZES} sizes of at least {FEWEST_STEPS[-1]} steps each",
        remedy="Give a larger --budget, another --target-budget, or a smaller training.batch_size",
    )


def _rungs_below(
    job: Job, sizes: Sequence[tuple[int, FamilyConfig]], ratio: float, power: float, step: float, count: int, pricing: Pricing, fewest: int
) -> list[Rung]:
    """Rungs whose largest is the last of `sizes`, the smallest first; `ratio` is the most data a parameter of the largest, `power` as in
    `POWERS`, `step` the size of one over that of the next larger one, at most about, `count` how many there are at most, and `fewest` the steps
    of the shortest training of any.
    """
    chosen: list[tuple[int, FamilyConfig]] = [sizes[-1]]
    for params, model in reversed(sizes[:-1]):
        if params <= step * 1.1 * chosen[-1][0] and len(chosen) < count:
            chosen.append((params, model))
    batch = data_per_step(job)
    rungs = []
    for params, model in reversed(chosen):
        price = pricing.of(model)
        longest = max(fewest / HORIZONS[0], ratio * sizes[-1][0] * (params / sizes[-1][0]) ** power / batch)
        steps = tuple(max(1, math.ceil(share * longest)) for share in HORIZONS)
        rungs.append(
            Rung(
                name=f"{params}-parameters",
                model=model.model_dump(mode="json"),
                params=params,
                flops=price.flops,
                step_seconds=price.step_seconds,
                steps=steps,
            )
        )
    return rungs
