"""`select` against the best single family trained with the whole budget, how well early looks tell the end of a training, and how long one should be.

    python benchmarks/selection.py scores            # 5 data sets, 3 seeds: about three hours on two cores
    python benchmarks/selection.py scores --quick    # 2 data sets, 1 seed, 20 s each
    python benchmarks/selection.py scores --seeds 1 --only digits --only diabetes
    python benchmarks/selection.py scores --only tinyshakespeare --budget 180s
    python benchmarks/selection.py looks             # pausing a training against a complete shorter one, as a trial's early look
    python benchmarks/selection.py looks --quick
    python benchmarks/selection.py lengths           # complete trainings of 4 to 256 passes over few and noisy examples
    python benchmarks/selection.py budget            # does select end when its budget does? 5 runs each of 20 s, 60 s and 180 s

(The file is not called select.py: it would take the place of Python's own module of that name.) With MODELWRIGHT_DATA, the folder that holds
mnist/ and tinyshakespeare/, the sets are digits, breast_cancer, diabetes, MNIST and tinyshakespeare; without it wine and stdlib stand in.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

from result import Column, Result

DATA = os.environ.get("MODELWRIGHT_DATA")
Set = tuple[str, str, tuple[str, ...]]
"""Data, budget, and the families that suit it."""
TABLES, IMAGES, TEXTS = ("mlp", "transformer"), ("cnn", "lstm", "mlp", "transformer"), ("gru", "hybrid", "lstm", "transformer")
SETS: dict[str, Set] = {
    "digits": ("digits", "90s", IMAGES),
    "breast_cancer": ("breast_cancer", "60s", TABLES),
    "diabetes": ("diabetes", "60s", TABLES),
    **(
        {"mnist": (f"{DATA}/mnist", "180s", IMAGES), "tinyshakespeare": (f"{DATA}/tinyshakespeare/input.txt", "300s", TEXTS)}
        if DATA
        else {"wine": ("wine", "60s", TABLES), "stdlib": ("stdlib", "300s", TEXTS)}
    ),
}
QUICK: dict[str, Set] = {"wine": ("wine", "20s", TABLES), "breast_cancer": ("breast_cancer", "20s", TABLES)}
LESS_IS_BETTER = ("rmse", "mae", "loss", "bits_per_byte")


def modelwright(*arguments: str) -> dict[str, Any]:
    """What a command answers, with its wall time."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        command = [sys.executable, "-m", "modelwright.cli", *arguments, "--output", f"{folder}/run", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wall = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with {done.returncode}:\n{done.stderr[-2000:]}")
    return {**json.loads(done.stdout), "wall_seconds": wall}


def scored(evaluation: dict[str, Any], wall: float) -> dict[str, Any]:
    """The test score of an evaluation."""
    metric = evaluation["primary"]
    return {"metric": metric, "score": evaluation["splits"]["test"][metric]["value"], "wall_seconds": wall}


def single(family: str, data: str, budget: str, seed: int) -> dict[str, Any]:
    """One family, by the recipe that a search starts from, with the whole budget."""
    from modelwright.workflows.candidates import candidates, plain_recipe
    from modelwright.workflows.job import read
    from modelwright.workflows.recipe import dump_recipe
    from modelwright.workflows.reporter import Reporter

    values = {"name": family, "seed": seed, "data": {"path": data}, "training": {"budget": budget}}
    dataset = read(plain_recipe(values, family), Reporter())
    recipe = candidates(values, [family], dataset)[family].job.recipe
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(dump_recipe(recipe), encoding="utf-8")
        answer = modelwright("train", str(path))
    return scored(answer["evaluation"], answer["wall_seconds"])


def scores(*, quick: bool, seeds: int | None = None, only: list[str] | None = None, other_budget: str | None = None) -> None:
    """`select --train` with a budget, and each family alone with the same budget."""
    seeds = seeds or (1 if quick else 3)
    verdicts = []
    for name, (data, budget, families) in (QUICK if quick else SETS).items():
        if only and name not in only:
            continue
        budget = other_budget or budget
        result = Result(
            f"select-{name.replace('_', '-')}" + (f"-{other_budget}" if other_budget else ""),
            f"Does `select {name} --budget {budget} --train` reach what the best single family does with all of it?",
        )
        ratios: list[float] = []
        for seed in range(seeds):
            answer = modelwright("select", data, "--budget", budget, "--train", "--seed", str(seed))
            chosen = scored(answer["outcome"]["evaluation"], answer["wall_seconds"])
            chosen |= {"winner": answer["outcome"]["winner"], "trials": len(answer["trials"])}
            result.add("select", chosen, seed=seed)
            alone = {}
            for family in families:
                alone[family] = single(family, data, budget, seed)
                result.add(family, alone[family], seed=seed)
            less = chosen["metric"] in LESS_IS_BETTER
            best = (min if less else max)(values["score"] for values in alone.values())
            ratios.append(best / chosen["score"] if less else chosen["score"] / best)
            print(name, seed, chosen, {family: values["score"] for family, values in alone.items()}, f"{ratios[-1]:.4f}", flush=True)
        mean = sum(ratios) / len(ratios)
        verdicts.append(f"{name} {mean:.4f}")
        remarks = (
            f"Score of select over that of the best single family (turned so that more is better), chosen on the test split itself: "
            f"{', '.join(f'{ratio:.4f}' for ratio in ratios)}; mean {mean:.4f}. Winners: "
            f"{', '.join(str(run['values']['winner']) for run in result.runs if run['contender'] == 'select')}."
        )
        metric = result.runs[0]["values"]["metric"]
        columns = [Column(f"test {metric}", "score", 4, is_score=True), Column("seconds from command to end", "wall_seconds", 1)]
        print(result.write(columns, remarks=remarks, **_place(quick)))
    print("select / best single family:", " · ".join(verdicts))


def looks(*, quick: bool) -> None:
    """Rank correlation of an early look with the score after the full training, over random settings; on the validation split only."""
    import torch
    from scipy.stats import spearmanr

    from modelwright.core.errors import DivergedError

    torch.set_num_threads(1)
    trials = 4 if quick else 40
    result = Result("select-looks", "Does a pause of a training tell its end better than a complete shorter training does?")
    sets = (("digits", ("mlp", "cnn", "lstm"), 16), ("diabetes", TABLES, 48), ("breast_cancer", TABLES, 32))
    for name, families, epochs in sets[1:2] if quick else sets:
        rows = []
        for number in range(trials):
            try:
                rows.append(_looks_of_one(name, families[number % len(families)], epochs if not quick else 4, random.Random(number)))
            except DivergedError:
                continue
        for metric in rows[0]["full"].keys() & {"accuracy", "rmse", "log_loss"}:
            told = {
                look: float(spearmanr([row[look][metric] for row in rows], [row["full"][metric] for row in rows]).statistic)
                for look in rows[0]
            }
            print(name, metric, {look: round(value, 2) for look, value in told.items()}, flush=True)
            for share in SHARES:
                result.add(f"{name} {metric}, look at {share}", {"paused": told[f"paused {share}"], "short": told[f"short {share}"]})
    columns = [Column("pause of the full training", "paused", 2), Column("complete shorter training", "short", 2)]
    print(result.write(columns, remarks=f"Spearman's rank correlation with the full training, {trials} settings each.", **_place(quick)))


SHARES = (0.125, 0.25, 0.5)


def _looks_of_one(name: str, family: str, epochs: int, rng: random.Random) -> dict[str, Any]:
    """The metrics of one random configuration after each look and after the full training."""
    from modelwright.core.config import validate
    from modelwright.core.space import Choice
    from modelwright.data.config import DataConfig
    from modelwright.data.dataset import load
    from modelwright.models.family import families
    from modelwright.workflows.candidates import batch_size
    from modelwright.workflows.job import Job
    from modelwright.workflows.recipe import Recipe
    from modelwright.workflows.space import Space

    dataset = load(DataConfig(path=name), 0)
    training = {
        "optimizer": {"name": "adamw", "learning_rate": families[family].learning_rate, "weight_decay": 0.05},
        "batch_size": batch_size(len(dataset.train)),
        "precision": "float32",
        "memory_format": "contiguous",
        "compile": False,
    }
    space = Space.of(validate(Recipe, {"data": {"path": name}, "model": family, "training": training}), {})
    drawn: dict[str, Any] = {}
    for key, dimension in space.dimensions.items():
        if isinstance(dimension, Choice):
            drawn[key] = rng.choice(dimension.values)
        elif dimension.logarithmic:
            drawn[key] = math.exp(
                rng.uniform(math.log(dimension.low), math.log(min(dimension.high, 2.0) if key == "width" else dimension.high))
            )
        else:
            drawn[key] = rng.uniform(dimension.low, dimension.high)
    recipe = space.at(drawn)

    def run(length: int, pauses: tuple[float, ...] = ()) -> list[dict[str, float]]:
        budget = recipe.training.replace(budget=f"{length} epochs", evaluations=1, restore_best=False)
        job = Job.make(recipe.replace(training=budget), dataset)
        network = job.network()
        trainer, seen = job.trainer(network, judged=False), []
        for pause in (*pauses, 1.0):
            trainer.fit(until=pause)
            seen.append(job.validate(network))
        return seen

    *paused, full = run(epochs, SHARES)
    row = {"full": full}
    for share, seen in zip(SHARES, paused, strict=True):
        row |= {f"paused {share}": seen, f"short {share}": run(max(1, round(share * epochs)))[-1]}
    return row


PASSES = (4, 16, 64, 256)


def lengths(*, quick: bool) -> None:
    """What complete trainings of so many passes over few examples reach on the test split; the recipes are those of a search."""
    result = Result("select-lengths", "How many passes over few and noisy examples are too many?")
    with tempfile.TemporaryDirectory() as folder:
        sets = {**few_and_noisy(Path(folder)), "wine": "wine"}
        for name, family, seed in product(list(sets)[:1] if quick else sets, TABLES, range(1 if quick else 3)):
            values = {
                metric: value for passes in (PASSES[:2] if quick else PASSES) for metric, value in _after(sets[name], family, seed, passes)
            }
            print(name, family, seed, values, flush=True)
            result.add(f"{name}, {family}", values, seed=seed)
    columns = [Column(f"loss or RMSE after {passes}", f"loss {passes}", 3, is_score=True) for passes in PASSES]
    columns += [Column(f"accuracy after {passes}", f"accuracy {passes}", 3, less_is_better=False, is_score=True) for passes in PASSES]
    print(
        result.write(
            columns, remarks="On the test split of a tenth of the rows; a search sees the validation split alone.", **_place(quick)
        )
    )


def few_and_noisy(folder: Path) -> dict[str, str]:
    """Tables of which half of the variance, or a good part of the answers, is noise: 442 rows linear and of Friedman's function, 600 of a logistic model."""
    import numpy as np
    import pandas as pd
    from sklearn.datasets import make_friedman1

    random = np.random.default_rng(0)
    mixed = random.normal(size=(442, 10)) @ random.normal(size=(10, 10))
    signal = mixed @ random.normal(size=10)
    numbers = random.normal(size=(600, 20))
    odds = 0.7 * numbers[:, :8] @ random.normal(size=8) + numbers[:, 0] * numbers[:, 1]
    yes = random.random(600) < 1 / (1 + np.exp(-odds))
    tables = {
        "linear": (mixed, signal / signal.std() + random.normal(size=442)),
        "friedman": make_friedman1(442, 10, noise=2.5, random_state=0),
        "logistic": (numbers, np.where(yes, "yes", "no")),
    }
    for name, (inputs, target) in tables.items():
        pd.DataFrame(inputs).add_prefix("x").assign(target=target).to_csv(folder / f"{name}.csv", index=False)
    return {name: str(folder / f"{name}.csv") for name in tables}


def _after(data: str, family: str, seed: int, passes: int) -> list[tuple[str, float]]:
    """The test scores of a complete training."""
    from modelwright.evaluation.evaluate import evaluate
    from modelwright.workflows.candidates import candidates, plain_recipe
    from modelwright.workflows.job import read
    from modelwright.workflows.reporter import Reporter

    values = {"name": family, "seed": seed, "data": {"path": data}, "training": {"budget": "60s"}}
    dataset = read(plain_recipe(values, family), Reporter())
    job = candidates(values, [family], dataset)[family].job.replace(
        budget=f"{passes} epochs", evaluations=1, restore_best=False, compile=False
    )
    network = job.network()
    job.trainer(network, judged=False).fit()
    found = {name: estimate.value for name, estimate in evaluate(network, job.task, dataset.splits["test"], replicates=0).estimates.items()}
    loss = found[job.task.tie_breaker or job.task.primary]
    return [(f"loss {passes}", loss), *([(f"accuracy {passes}", found["accuracy"])] if "accuracy" in found else [])]


def budget(*, quick: bool) -> None:
    """How long `select` takes, against what it was given."""
    result = Result("select-budget", "Does `select digits` end when its budget does?")
    for seconds in (20,) if quick else (20, 60, 180):
        for seed in range(1 if quick else 5):
            answer = modelwright("select", "digits", "--budget", f"{seconds}s", "--seed", str(seed))
            over = answer["wall_seconds"] - seconds
            result.add(f"{seconds} s", {"over": over, "trials": len(answer["trials"])}, seed=seed)
            print(seconds, seed, f"{over:+.1f} s", len(answer["trials"]), flush=True)
    print(result.write([Column("seconds over the budget", "over", 1), Column("trials", "trials", 0)], **_place(quick)))


def _place(quick: bool) -> dict[str, Any]:
    """Quick runs leave no results behind."""
    return {"folder": Path(tempfile.mkdtemp())} if quick else {}


def main() -> None:
    """Run the parts that are asked for."""
    parts = {"scores": scores, "looks": looks, "lengths": lengths, "budget": budget}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(parts)}; all if none is named")
    parser.add_argument("--quick", action="store_true", help="to see that it runs; leaves no results")
    parser.add_argument("--seeds", type=int, help="of scores")
    parser.add_argument("--budget", help="of scores, in place of each set's own")
    parser.add_argument("--only", action="append", help="a data set of scores; repeatable")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(parts):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    for part in options.parts or parts:
        more = {"seeds": options.seeds, "only": options.only, "other_budget": options.budget} if part == "scores" else {}
        parts[part](quick=options.quick, **more)


if __name__ == "__main__":
    main()
