"""Is the learning rate that is best at width 64 still good at width 512? And what would it cost without transfer?

    python benchmarks/transfer.py             # transformer, lstm (tinyshakespeare by character) and cnn (MNIST), 8 times as wide
    python benchmarks/transfer.py --quick     # a few steps at twice the width, to see that it runs
    python benchmarks/transfer.py --family cnn --steps 200 --seeds 2

The rate is chosen at width 64 by its own seeds; at width 512 it is judged by others, against the lowest mean of a sweep by the same seeds, which
is to its disadvantage. Losses are those of the validation split after so many steps, so that the machine's speed plays no part.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from statistics import fmean
from typing import Any

from result import Column, Result

from modelwright.core.config import validate
from modelwright.data.dataset import load
from modelwright.training.machine import prepare_machine
from modelwright.training.transfer import differing
from modelwright.workflows.job import Job
from modelwright.workflows.practice import loss_after, seeded
from modelwright.workflows.recipe import Recipe

DATA = Path(os.environ.get("MODELWRIGHT_DATA", "shared/data"))
TEXT: dict[str, Any] = {"path": str(DATA / "tinyshakespeare" / "input.txt"), "context": 64, "tokenizer": "characters", "test": 0}
SCHEDULE = {"name": "cosine", "warmup": 0.1}


def recipe(family: str, optimizer: str) -> dict[str, Any]:
    """The base: width 64, settings that nobody tuned, the rate in the middle of the sweep."""
    rate = {"adamw": {"transformer": 8e-3, "lstm": 3.2e-2, "cnn": 4e-3}, "muon": {"transformer": 2e-2, "lstm": 2e-2, "cnn": 2e-2}}[
        optimizer
    ]
    training = {"optimizer": {"name": optimizer, "learning_rate": rate[family]}, "schedule": SCHEDULE}
    models: dict[str, Any] = {
        "transformer": {"family": "transformer", "width": 64, "depth": 2, "num_heads": 2},
        "lstm": {"family": "lstm", "width": 64, "depth": 1, "dropout": 0.0},
        "cnn": {"family": "cnn", "channels": [16, 32, 64], "blocks": 1},
    }
    data = {"path": str(DATA / "mnist")} if family == "cnn" else TEXT
    return {"data": data, "model": models[family], "training": {**training, "batch_size": 64 if family == "cnn" else 16}}


def sweep(job: Job, factors: list[float], steps: int, seeds: range) -> list[list[float]]:
    """The loss for each factor of the rate and each seed."""
    return [[loss_after(seeded(job, seed), steps, factor=factor) for seed in seeds] for factor in factors]


def measure(family: str, optimizer: str, wider: float, factors: list[float], steps: int, seeds: int, standard: bool) -> dict[str, Any]:
    """One family's sweeps at both widths, and how far the small one's choice is from the best."""
    base = validate(Recipe, recipe(family, optimizer))
    dataset = load(base.data, 0)
    model = base.model.scaled(width=wider)
    small = sweep(Job.make(base, dataset), factors, steps, range(100, 100 + seeds))
    best = min(range(len(factors)), key=lambda number: fmean(small[number]))
    found: dict[str, Any] = {"rates": [base.training.optimizer.learning_rate * factor for factor in factors], "small": small}
    found["best_rate"] = found["rates"][best]
    found["at_edge"] = best in (0, len(factors) - 1)
    for name in ("transfer", "standard") if standard else ("transfer",):
        wide = base.replace(model=model, transfer={"base": differing(model, base.model)} if name == "transfer" else None)
        losses = sweep(Job.make(wide, dataset), factors, steps, range(seeds))
        means = [fmean(row) for row in losses]
        found[name] = losses
        found[f"{name}_excess_percent"] = 100 * (means[best] / min(means) - 1)
        found[f"{name}_best_loss"] = min(means)
    return found


def write(family: str, optimizer: str, values: dict[str, Any], steps: int, seeds: int, width: float) -> Path:
    """The page of one family."""
    name = f"transfer-{family}" + ("" if optimizer == "adamw" else f"-{optimizer}")
    result = Result(name, f"How far from the best is the learning rate of a {family} that was best at 1/{width:g} of the width?")
    result.add(f"{family}, {optimizer}", values, steps=steps, seeds=seeds, width=width)
    columns = [Column("rate chosen at width 64", "best_rate", 4), Column("loss above the best there, %", "transfer_excess_percent", 2)]
    columns += [Column("without transfer, %", "standard_excess_percent", 2)] if "standard" in values else []
    columns += [Column("best loss", "transfer_best_loss", 4)]
    columns += [Column("without transfer", "standard_best_loss", 4)] if "standard" in values else []
    return result.write(columns, remarks=(__doc__ or "").split("\n\n")[-1].strip())


def main() -> None:
    """Read the options, sweep, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs; nothing is written")
    parser.add_argument("--family", choices=("transformer", "lstm", "cnn"), action="append")
    parser.add_argument("--optimizer", choices=("adamw", "muon"), default="adamw")
    parser.add_argument("--width", type=float, default=8.0, help="factor of the base's width")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rates", type=int, default=7, help="by factors of two around the middle")
    parser.add_argument("--no-standard", action="store_true")
    parser.add_argument("--print", action="store_true", help="print one JSON object a family, write nothing")
    options = parser.parse_args()
    if options.quick:
        options.width, options.steps, options.seeds, options.rates = 2.0, 5, 1, 3
    prepare_machine()
    factors = [2.0 ** (number - options.rates // 2) for number in range(options.rates)]
    for family in options.family or ("transformer", "lstm", "cnn"):
        values = measure(family, options.optimizer, options.width, factors, options.steps, options.seeds, not options.no_standard)
        print(json.dumps({"family": family, **values}), flush=True)
        if not (options.quick or options.print):
            print(write(family, options.optimizer, values, options.steps, options.seeds, options.width))


if __name__ == "__main__":
    main()
