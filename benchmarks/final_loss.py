"""How often the final loss falls into the interval that `watch` foretold for it, on real trainings.

    python benchmarks/final_loss.py            # 6 sets, of images, tables and text, x 5 families x 3 schedules x 2 seeds, where they fit
    python benchmarks/final_loss.py --quick    # 8 trainings

Each training is of steps, without evaluations; the forecast made at several shares of it is compared with the mean loss of its last twentieth.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import tempfile
from collections import defaultdict
from pathlib import Path

from modelwright.core.config import validate
from modelwright.data.dataset import load
from modelwright.planning.final_loss import TAIL, foretell
from modelwright.training.hooks.metrics_log import MetricsLog
from modelwright.training.resolution import resolve
from modelwright.workflows.job import Job
from modelwright.workflows.recipe import Recipe

SETS = ("digits", "breast_cancer", "diabetes", "wine", "iris", "stdlib")
FAMILIES = ("mlp", "transformer", "cnn", "lstm", "gru")
SCHEDULES = ("cosine", "wsd", "linear")
SHARES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95)


def curve(data: str, family: str, schedule: str, seed: int, steps: int) -> tuple[list[dict], Job] | None:
    training = {"budget": f"{steps} steps", "batch_size": 64, "precision": "float32", "schedule": schedule, "compile": False}
    text = data == "stdlib"
    model = {"family": family, "width": 64, "depth": 2} if text and family != "cnn" else family
    settings = {"path": data, "context": 64} if text else {"path": data}
    training |= {"batch_size": 16} if text else {}
    recipe = validate(Recipe, {"seed": seed, "data": settings, "model": model, "training": training, "baselines": False})
    try:
        job = Job.make(recipe, load(recipe.data, seed))
    except ValueError:
        return None  # the family doesn't fit the data
    network = job.network()
    job = job.replace(**dict(resolve(job.training, network, job.task, job.loader.batch(0), seconds=None, steps=steps)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.jsonl"
        job.trainer(network, hooks=[MetricsLog(path)], judged=False).fit()
        return [json.loads(line) for line in path.read_text().splitlines()], job


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--keep", type=Path, help="write the curves to this JSON file")
    options = parser.parse_args()
    cases = list(itertools.product(SETS, FAMILIES, SCHEDULES, (0, 1)))
    if options.quick:
        cases = [
            case
            for case in cases
            if case[3] == 0 and case[2] != "linear" and case[0] in ("digits", "diabetes") and case[1] in ("mlp", "cnn", "transformer")
        ]
    kept, inside, width, error = [], defaultdict(list), defaultdict(list), defaultdict(list)
    for case in cases:
        made = curve(*case, steps=options.steps)
        if made is None:
            continue
        rows, job = made
        schedule = job.training.schedule.build()
        kept.append(
            {
                "case": case,
                "schedule": job.training.schedule.model_dump(),
                "progress": [r["progress"] for r in rows],
                "loss": [r["loss"] for r in rows],
            }
        )
        score(rows, schedule, inside, width, error)
    if options.keep:
        options.keep.write_text(json.dumps(kept))
    print(f"{len(kept)} trainings\n\n| share done | inside 95 % interval | half-width (factor) | median error |\n| --- | --- | --- | --- |")
    for share in SHARES:
        if inside[share]:
            print(
                f"| {share:.0%} | {sum(inside[share])} of {len(inside[share])} | {middle(width[share]):.2f} | {middle(error[share]):.1%} |"
            )


def score(rows, schedule, inside, width, error) -> None:
    """Add the forecasts along one curve."""
    last = [row["loss"] for row in rows if row["progress"] >= 1 - TAIL]
    final = sum(last) / len(last)
    for share in SHARES:
        seen = [row for row in rows if row["progress"] <= share]
        forecast = foretell([row["progress"] for row in seen], [row["loss"] for row in seen], schedule, rows[-1]["epoch"])
        if forecast is not None:
            inside[share].append(forecast.low <= final <= forecast.high)
            width[share].append(math.sqrt(forecast.high / forecast.low))
            error[share].append(abs(math.log(forecast.value / final)))


def middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    main()
