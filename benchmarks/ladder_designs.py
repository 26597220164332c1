"""Which small trainings foretell a large one best for their cost? A grid of trainings, and the law through parts of it.

    python benchmarks/ladder_designs.py runs --seed 0    # hours: the grid and its target, on one core; kept as a row
    python benchmarks/ladder_designs.py page             # the designs, through all grids that were kept; both also with --subject noisy-cnn

Decoders of four sizes learn the bytes of WikiText-2, each for 300 to 3,600 steps, which are branches of one trunk, and one of a larger size learns for as long
as its budget allows; or CNNs of nine sizes the digits in noise of `ladder.py`, for 300 to 2,400 steps. A design is a part of the grid; what it costs is the
steps of its trunks and branches at the time that a step took. (The CNNs' targets of the page that is committed are those of `ladder.py`.)
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ladder import MADE, SUBJECTS
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
KEPT = RESULTS.parent / "ladder-designs.jsonl"
Design = tuple[dict[int, tuple[int, ...]], str]
"""Steps by size, and how it is called."""


@dataclass(frozen=True)
class Grid:
    """What is trained, and the parts of it that are compared.

    Attributes:
        source: the data.
        changes: the family.
        settings: of the recipe.
        sizes: parameters of the backbones.
        lengths: steps of each.
        target: parameters of what is foretold.
        judged: examples of the validation split; None for all.
        designs: parts of the grid.
    """

    source: str
    changes: dict[str, Any]
    settings: list[str]
    sizes: tuple[int, ...]
    lengths: tuple[int, ...]
    target: int
    judged: int | None
    designs: tuple[Design, ...]


def crosses(
    sizes: tuple[int, ...], base: tuple[int, ...], leader: int | None = None, further: tuple[int, ...] = ()
) -> dict[int, tuple[int, ...]]:
    """All sizes for the same steps, the one at `leader` for further ones too."""
    return {size: (*base, *(further if rank == leader else ())) for rank, size in enumerate(sizes)}


# Parameters of the grids' networks, and four of the CNNs each, ever farther apart.
TEXT, CNN = (26_080, 100_928, 134_528, 224_928), (3048, 5384, 8872, 12_936, 18_152, 24_520, 38_984, 51_792, 72_016)
SPREADS = ((3048, 5384, 8872, 18_152), (3048, 5384, 12_936, 24_520), (5384, 12_936, 24_520, 51_792), (3048, 8872, 24_520, 72_016))
GRIDS = {
    "text": Grid(
        str(DATA / "wikitext-2"), *SUBJECTS["text"][1:], TEXT, (300, 600, 1200, 1800, 2400, 3600), 299_840, 1500,
        (
            (crosses(TEXT, (300, 600)), "all sizes for 300 and 600 steps"),
            (crosses(TEXT, (300, 600, 1200)), "all for 300, 600 and 1,200"),
            (crosses(TEXT, (600, 1200, 2400)), "all for 600, 1,200 and 2,400"),
            (crosses(TEXT, (300,), 2, (600, 1200)), "all for 300, the second largest also for 600 and 1,200"),
            (crosses(TEXT, (300,), 3, (600, 1200)), "all for 300, the largest also for 600 and 1,200"),
            (crosses(TEXT, (300,), 2, (600, 1200, 2400, 3600)), "all for 300, the second largest also for 600, 1,200, 2,400 and 3,600"),
            (crosses(TEXT, (600,), 2, (1200,)), "all for 600, the second largest also for 1,200"),
            (crosses(TEXT, (600,), 2, (1200, 2400)), "all for 600, the second largest also for 1,200 and 2,400"),
            (crosses(TEXT, (600,), 0, (1200, 2400)), "all for 600, the smallest also for 1,200 and 2,400"),
        ),
    ),
    "noisy-cnn": Grid(
        *SUBJECTS["noisy-cnn"], CNN, (300, 600, 1200, 2400), 109_552, None,
        tuple(
            (crosses(sizes, base, 2, further), f"{', '.join(f'{size:,}' for size in sizes)} parameters for {base[0]}, the second largest to 2,400")
            for sizes in SPREADS
            for base, further in (((300,), (600, 1200, 2400)), ((600,), (1200, 2400)))
        ),
    ),
}  # fmt: skip


def runs(subject: str, seed: int, target_seconds: float) -> dict[str, Any]:
    """Train the grid and its target."""
    prepare_machine()
    grid = GRIDS[subject]
    settings = [*grid.settings, f"seed={seed}", "baselines=false"]
    budget = {"training.budget": f"{target_seconds}s", "training.compile": False}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        source = MADE[grid.source](Path(folder)) if grid.source in MADE else grid.source
        dataset = read(chosen_recipe(source, settings, grid.changes), Reporter())
        family = grid.changes["model.family"]
        job = probe(candidates(values_for(source, settings, {**grid.changes, **budget}), [family], dataset)[family].job).job
        pricing = Pricing(job.recipe, dataset)
        models = dict(shapes(job.recipe.model, pricing, ("width", "depth")))
        judged = judged_on(dataset, grid.judged)
        pricing.measure(models[grid.target])
        lengths = dict.fromkeys(grid.sizes, grid.lengths) | {
            grid.target: (round(target_seconds / pricing.of(models[grid.target]).step_seconds),)
        }
        for params, steps in lengths.items():
            price = pricing.of(models[params])
            rung = Rung(
                name=str(params), model=price.model.model_dump(mode="json"), params=params, flops=price.flops, step_seconds=price.step_seconds,
                steps=steps,
            )  # fmt: skip
            (Path(folder) / rung.name).mkdir()
            results = Climb(Path(folder) / rung.name, rung, sized(job.recipe, price.model), judged, lambda step: None).run()
            rows += [result.model_dump() for result in results]
    return {"subject": subject, "seed": seed, "rungs": rows[:-1], "target": rows[-1]}


def off(chosen: list[dict[str, Any]], target: dict[str, Any]) -> float:
    """How far the law through runs is from the target, relative."""
    law = find_law(_points(chosen), np.array([row["value"] for row in chosen]), "loss")
    return float(law.predict(_points([target]))[0][0]) / target["value"] - 1


def _points(rows: list[dict[str, Any]]) -> Points:
    return Points({axis: np.array([row[axis] for row in rows]) for axis in ("params", "data", "compute")})


def page(subject: str) -> None:
    """The table of designs, cheapest first."""
    grid = GRIDS[subject]
    kept = [row for row in map(json.loads, KEPT.read_text(encoding="utf-8").splitlines()) if row["subject"] == subject]
    table = []
    for trained, name in grid.designs:
        shares, errors = [], []
        for row in kept:
            rungs, target = {(rung["params"], rung["steps"]): rung for rung in row["rungs"]}, row["target"]
            seconds = sum(all_steps(steps) * rungs[size, grid.lengths[-1]]["step_seconds"] for size, steps in trained.items())
            shares.append(seconds / (target["steps"] * target["step_seconds"]))
            errors.append(off([rungs[size, count] for size, steps in trained.items() for count in steps], target))
        table.append((float(np.mean(shares)), name, errors))
    seeds = " | ".join(f"seed {row['seed']}" for row in kept)
    lines = [f"| trained | cost / target's | {seeds} |", "| --- | ---: |" + " ---: |" * len(kept)]
    lines += [f"| {name} | {share:.2f} | {' | '.join(f'{error:+.1%}' for error in errors)} |" for share, name, errors in sorted(table)]
    print("\n".join(lines))
    what = "ladder-designs" if subject == "text" else f"ladder-designs-{subject}"
    write_page(what, "Which small trainings foretell a large one best for their cost?", lines, kept)


def main() -> None:
    """Train a grid and keep it, or show what is made of all that were kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["runs", "page"])
    parser.add_argument("--subject", choices=list(GRIDS), default="text")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", type=float, default=1200.0, help="seconds")
    given = parser.parse_args()
    if given.what == "page":
        page(given.subject)
    else:
        row = runs(given.subject, given.seed, given.target)
        with KEPT.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
