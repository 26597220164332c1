"""Which small trainings foretell a large one best for their cost? A grid of trainings, and the law through parts of it.

    python benchmarks/ladder_designs.py runs --seed 0    # hours: the grid and its target, on one core; kept as a row
    python benchmarks/ladder_designs.py page             # the designs, through all grids that were kept

Decoders of four sizes learn the bytes of WikiText-2, each for 300 to 3,600 steps, which are branches of one trunk, and one of a larger size learns for as long
as its budget allows. A design is a part of the grid; what it costs is the steps of its trunks and branches at the time that a step took.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from result import RESULTS, write_page

from modelwright.planning.laws.law import find_law
from modelwright.planning.laws.points import Points
from modelwright.workflows.candidates import candidates
from modelwright.workflows.job import probe, read
from modelwright.workflows.ladder import prepare_machine
from modelwright.workflows.pricing import Pricing
from modelwright.workflows.recipe import chosen_recipe, values_for
from modelwright.workflows.reporter import Reporter
from modelwright.workflows.rung_plan import shapes
from modelwright.workflows.rungs import Climb, Rung, all_steps, judged_on, sized

DATA = Path(os.environ.get("MODELWRIGHT_DATA", "data"))
LENGTHS = (300, 600, 1200, 1800, 2400, 3600)
SIZES, TARGET = (26_080, 100_928, 134_528, 224_928), 299_840
JUDGED = 1500
"""Examples of the validation split."""
KEPT = RESULTS.parent / "ladder-designs.jsonl"

LARGEST = len(SIZES) - 1
DESIGNS: dict[str, tuple[tuple[int, ...], int | None, tuple[int, ...]]] = {
    "all sizes for 300 and 600 steps": ((300, 600), None, ()),
    "all for 300, 600 and 1,200": ((300, 600, 1200), None, ()),
    "all for 600, 1,200 and 2,400": ((600, 1200, 2400), None, ()),
    "all for 300, the second largest also for 600 and 1,200": ((300,), LARGEST - 1, (600, 1200)),
    "all for 300, the largest also for 600 and 1,200": ((300,), LARGEST, (600, 1200)),
    "all for 300, the second largest also for 600, 1,200, 2,400 and 3,600": ((300,), LARGEST - 1, (600, 1200, 2400, 3600)),
    "all for 600, the second largest also for 1,200": ((600,), LARGEST - 1, (1200,)),
    "all for 600, the second largest also for 1,200 and 2,400": ((600,), LARGEST - 1, (1200, 2400)),
    "all for 600, the smallest also for 1,200 and 2,400": ((600,), 0, (1200, 2400)),
}
"""Steps of every size; the size that leads; its further steps."""


def runs(seed: int, target_seconds: float) -> dict[str, Any]:
    """Train the grid and its target."""
    prepare_machine()
    settings = ["data.tokenizer=bytes", "data.context=64", "training.batch_size=8", f"seed={seed}", "baselines=false"]
    source, budget = str(DATA / "wikitext-2"), {"training.budget": f"{target_seconds}s", "training.compile": False}
    dataset = read(chosen_recipe(source, settings, {"model.family": "transformer"}), Reporter())
    job = probe(
        candidates(values_for(source, settings, {"model.family": "transformer", **budget}), ["transformer"], dataset)["transformer"].job
    ).job
    pricing = Pricing(job.recipe, dataset)
    models = dict(shapes(job.recipe.model, pricing, ("width", "depth")))
    judged = judged_on(dataset, JUDGED)
    pricing.measure(models[TARGET])
    lengths = dict.fromkeys(SIZES, LENGTHS) | {TARGET: (round(target_seconds / pricing.of(models[TARGET]).step_seconds),)}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for params, steps in lengths.items():
            price = pricing.of(models[params])
            rung = Rung(
                name=str(params), model=price.model.model_dump(mode="json"), params=params, flops=price.flops, step_seconds=price.step_seconds,
                steps=steps,
            )  # fmt: skip
            (Path(folder) / rung.name).mkdir()
            results = Climb(Path(folder) / rung.name, rung, sized(job.recipe, price.model), judged, lambda step: None).run()
            rows += [result.model_dump() for result in results]
    return {"seed": seed, "rungs": rows[:-1], "target": rows[-1]}


def off(chosen: list[dict[str, Any]], target: dict[str, Any]) -> float:
    """How far the law through runs is from the target, relative."""
    law = find_law(_points(chosen), np.array([row["value"] for row in chosen]), "loss")
    return float(law.predict(_points([target]))[0][0]) / target["value"] - 1


def _points(rows: list[dict[str, Any]]) -> Points:
    return Points({axis: np.array([row[axis] for row in rows]) for axis in ("params", "data", "compute")})


def page() -> None:
    """The table of designs, cheapest first."""
    kept = [json.loads(line) for line in KEPT.read_text(encoding="utf-8").splitlines()]
    table = []
    for name, (base, leader, further) in DESIGNS.items():
        trained = {size: (*base, *(further if rank == leader else ())) for rank, size in enumerate(SIZES)}
        shares, errors = [], []
        for grid in kept:
            rungs, target = {(row["params"], row["steps"]): row for row in grid["rungs"]}, grid["target"]
            seconds = sum(all_steps(steps) * rungs[size, LENGTHS[-1]]["step_seconds"] for size, steps in trained.items())
            shares.append(seconds / (target["steps"] * target["step_seconds"]))
            errors.append(off([rungs[size, count] for size, steps in trained.items() for count in steps], target))
        table.append((float(np.mean(shares)), name, errors))
    seeds = " | ".join(f"seed {grid['seed']}" for grid in kept)
    lines = [f"| trained | cost / target's | {seeds} |", "| --- | ---: |" + " ---: |" * len(kept)]
    lines += [f"| {name} | {share:.2f} | {' | '.join(f'{error:+.1%}' for error in errors)} |" for share, name, errors in sorted(table)]
    print("\n".join(lines))
    write_page("ladder-designs", "Which small trainings foretell a large one best for their cost?", lines, kept)


def main() -> None:
    """Train a grid and keep it, or show what is made of all that were kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["runs", "page"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", type=float, default=1200.0, help="seconds")
    given = parser.parse_args()
    if given.what == "page":
        page()
    else:
        row = runs(given.seed, given.target)
        with KEPT.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
