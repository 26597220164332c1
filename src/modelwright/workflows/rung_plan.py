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
from modelwright.workflows.rungs import Rung, all_steps, data_per_step

SIZES = 4
"""Rungs of different size."""
SHAPES = range(-18, 10)
"""Exponents of 2^(1/4) by which width and depth are tried."""
TILTS = (0, -1, 1)
"""By which the exponent of the width lies above that of the depth: in small models whole blocks and heads leave few sizes of one proportion."""
SHALLOWEST = 3
"""Blocks below which no size goes, or the model's own if it has fewer: networks of one or two learn less than a law of deeper ones says."""
DISTINCT = 1.2
"""Factor between the parameters of two shapes that count as different."""
SHRINKS = (0.6, 0.85)
"""Parameters of a rung over those of the next larger one, about: the closer sizes only where no others fit."""
ENOUGH_STEPS, FEWEST_STEPS = 600, 40
"""Of the shortest training: in their first few hundred steps networks of all sizes learn the same, and a loss follows no law yet."""
SHORT_STEPS = (FEWEST_STEPS, *(round(ENOUGH_STEPS * 2 ** (exponent / 4)) for exponent in range(-15, 60)))
"""Steps of the short trainings that are tried."""
DOUBLINGS = (2, 3)
"""How often the leading size's training is doubled, tried in turn."""


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
    if len(ordered) < SIZES:
        raise InputError(
            f"{' and '.join(dials)} of a {model.family} give {len(ordered)} different sizes", expected=f"at least {SIZES}",
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
) -> tuple[list[Rung], float]:
    """The most telling rungs that fit into a time, and what they are worth.

    Every size is trained for the same few steps, which tells what a size is worth, and the leading one, the second largest, several times as long,
    which tells what data is worth: a cross of runs foretells as much as a grid that takes twice the time (`benchmarks/ladder_designs.py`).

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
    known = [(params, pricing.of(model)) for params, model in sizes if params <= 1.05 * guess.price.params]
    if len(known) < SIZES:
        raise InputError(
            f"no ladder leads to a model of {guess.price.params:,} parameters in its backbone: there are {len(known)} sizes up to that",
            expected=f"{SIZES} sizes", remedy="Begin with a larger model, or give a larger --target-budget",
        )  # fmt: skip
    batch, least = data_per_step(job), math.inf
    for shrink in SHRINKS:
        best, most = [], 0.0
        for chosen in (_chosen_below(known[: top + 1], shrink) for top in range(SIZES - 1, len(known))):
            for doublings, steps in product(DOUBLINGS, SHORT_STEPS if len(chosen) == SIZES else ()):
                rungs = _Cross(chosen, steps, doublings)
                needed = rungs.seconds(lanes)
                least = min(least, needed)
                worth = rungs.worth(batch, guess)
                if needed <= seconds and worth > 1.01 * most:
                    best, most = rungs.made(), worth
        if best:
            return best, most
    raise InputError(
        f"no ladder fits: the smallest rungs take {format_duration(least)} of the {format_duration(seconds)} that there are",
        expected=f"{SIZES} sizes of at least {FEWEST_STEPS} steps each",
        remedy=f"Give {format_duration(least - seconds)} more for --budget at least, another --target-budget, or a smaller training.batch_size",
    )


def _chosen_below(sizes: Sequence[tuple[int, Price]], shrink: float) -> list[Price]:
    """The largest of `sizes` and smaller ones at distances of about `shrink`, the smallest first."""
    chosen = [sizes[-1]]
    for size in reversed(sizes[:-1]):
        if size[0] <= 1.1 * shrink * chosen[-1][0] and len(chosen) < SIZES:
            chosen.append(size)
    return [price for _, price in reversed(chosen)]


@dataclass(frozen=True)
class _Cross:
    """Sizes, the smallest first, of `steps` each; the training of the last but one is doubled so many times, each length a run."""

    sizes: Sequence[Price]
    steps: int
    doublings: int

    def lengths(self, rank: int) -> tuple[int, ...]:
        """Steps of one size's trainings."""
        leads = rank == len(self.sizes) - 2
        return tuple(self.steps * 2**doubled for doubled in range(self.doublings + 1)) if leads else (self.steps,)

    def seconds(self, lanes: int) -> float:
        """Until all are trained."""
        return makespan((all_steps(self.lengths(rank)) * price.step_seconds for rank, price in enumerate(self.sizes)), lanes)

    def worth(self, batch: float, guess: Guess) -> float:
        """The leading rung should be dear and see about as much data a parameter as the target, and no training should be too short."""
        leading, longest = self.sizes[-2], self.steps * 2**self.doublings
        ratio = longest * batch / leading.params / guess.ratio
        return leading.flops * longest * min(ratio, 1 / ratio) ** 0.5 * min(1.0, self.steps / ENOUGH_STEPS) ** 2

    def made(self) -> list[Rung]:
        """As rungs."""
        return [
            Rung(
                name=f"{price.params}-parameters", model=price.model.model_dump(mode="json"), params=price.params, flops=price.flops,
                step_seconds=price.step_seconds, steps=self.lengths(rank),
            )
            for rank, price in enumerate(self.sizes)
        ]  # fmt: skip
