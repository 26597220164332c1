"""What the foundation must show: recipes on MNIST and Adult, `build` on digits and MNIST, against the scripts that people start from.

    python benchmarks/foundation.py cnn cnn-128  # the common CNN against plain PyTorch, alternating, three runs each
    python benchmarks/foundation.py lstm
    python benchmarks/foundation.py recipes      # every recipe's test score over seeds
    python benchmarks/foundation.py digits       # build digits, ten seeds: score, time, forecast
    python benchmarks/foundation.py mnist        # build on the folder of MNIST files

Needs MODELWRIGHT_DATA, the folder that holds mnist/ and adult/.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from result import Column, Result, run_modelwright

DATA = Path(os.environ.get("MODELWRIGHT_DATA", "data"))
TRAINING_EXAMPLES = 60_000
"""Examples of an epoch: the peers train on all of MNIST's training file; a recipe keeps a part of it for validation."""
RECIPES = {"mnist-quick": ("mnist", 3), "mnist-mlp": ("mnist", 3), "adult-mlp": ("adult", 3), "mnist-vit": ("mnist", 3)}
"""Recipes, the folder of data of each, and over how many seeds it is run."""
ACCURACY = Column("test accuracy", "test_accuracy", 4, less_is_better=False, is_score=True)
WALL = Column("seconds from command to end", "wall_seconds", 1)


def modelwright(result: Result, contender: str, *arguments: str) -> dict[str, Any]:
    """Run a command of Modelwright in a folder that is thrown away, and keep its score, speed and forecasts."""
    answer, values, command = run_modelwright(*arguments)
    score = answer["evaluation"]["splits"]["test"]["accuracy"]["value"]
    values |= {
        "test_accuracy": score,
        "test_error_percent": 100 * (1 - score),
        "seconds_per_epoch": TRAINING_EXAMPLES / answer["samples_per_second"],
    }
    values |= {f"{name}_accuracy": row["accuracy"]["value"] for name, row in answer["evaluation"]["baselines"].items()}
    print(contender, {key: value for key, value in values.items() if not key.endswith("_accuracy") or key == "test_accuracy"}, flush=True)
    return result.add(contender, values, command=command)


def against_peer(recipe: str, peer: str, batch_size: int, runs: int, *settings: str) -> None:
    """A recipe and a plain PyTorch script of the same network and batch size, taking turns."""
    result = Result(
        f"{recipe}-batch-{batch_size}",
        f"How fast is an epoch of {recipe}, at batch {batch_size}, against a plain PyTorch script of its network?",
    )
    options = [part for setting in (f"training.batch_size={batch_size}", *settings) for part in ("--set", setting)]
    for seed in range(runs):
        modelwright(result, "modelwright", "train", recipe, "--data", str(DATA / "mnist"), "--seed", str(seed), *options)
        command = [sys.executable, f"benchmarks/peers/{peer}.py", "--data", str(DATA / "mnist"), "--seed", str(seed)]
        run = result.run("plain PyTorch", [*command, "--epochs", "1", "--batch-size", str(batch_size)])
        print("peer", run["values"]["seconds_per_epoch"], flush=True)
    remarks = (
        "Seconds are those of training on 60,000 examples, evaluation not counted on either side. The accuracy of the plain script is that after "
        "the epochs it was given here, fewer than the recipe's: only its speed is compared."
    )
    print(result.write([Column("seconds per epoch", "seconds_per_epoch"), ACCURACY], reference="plain PyTorch", remarks=remarks))


def recipes() -> None:
    """Test scores of the ready recipes."""
    result = Result("recipes", "What do the ready recipes reach on the test split?")
    for recipe, (folder, seeds) in RECIPES.items():
        for seed in range(seeds):
            modelwright(result, recipe, "train", recipe, "--data", str(DATA / folder), "--seed", str(seed))
    errors = Column("test error, %", "test_error_percent", 2, is_score=True)
    print(result.write([ACCURACY, errors, Column("training seconds", "training_seconds", 1), WALL]))


def build(name: str, data: str, budget: str, seeds: int) -> None:
    """The main job, over seeds: does it keep its budget, and do its forecasts hold?"""
    result = Result(
        name,
        f"What does `modelwright build {name.removeprefix('build-')} --budget {budget}` reach, does it keep its budget, does its forecast hold?",
    )
    for seed in range(seeds):
        modelwright(result, f"build, {budget}", "build", data, "--budget", budget, "--seed", str(seed))
    held = sum(run["values"]["forecast_held"] for run in result.runs)
    families = ", ".join(str(run["values"]["family"]) for run in result.runs)
    remarks = f"The measured test accuracy was inside the forecast's 95 % interval in {held:.0f} of {seeds} seeds. Winners: {families}."
    forecast = [
        Column("forecast", "forecast_forecast", 4),
        Column("its low end", "forecast_low", 4),
        Column("its high end", "forecast_high", 4),
    ]
    print(result.write([ACCURACY, *forecast, WALL], remarks=remarks))


def main() -> None:
    """Run the part that is asked for."""
    parts = {
        "cnn": lambda: against_peer("mnist-cnn", "plain_pytorch_cnn", 512, 3),
        "cnn-128": lambda: against_peer("mnist-cnn", "plain_pytorch_cnn", 128, 3, "training.budget=2 epochs"),
        "lstm": lambda: against_peer("mnist-lstm", "plain_pytorch_lstm", 256, 3),
        "recipes": recipes,
        "digits": lambda: build("build-digits", "digits", "90s", 10),
        "mnist": lambda: build("build-mnist", str(DATA / "mnist"), "5m", 3),
    }
    for part in sys.argv[1:] or parts:
        parts[part]()


if __name__ == "__main__":
    main()
