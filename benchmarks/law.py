"""Laws against published runs: what small runs foretell of large ones that were really made.

    python benchmarks/law.py gadre PATH/TO/gadre2024_c4_refinedweb.csv

Runs of at most 412M parameters, and of at most 1/60 or 1/300 of the compute of the largest, foretell the runs of 1.4B and 6.9B.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
from result import write_page

from modelwright.planning.laws.law import find_law
from modelwright.planning.laws.points import Points

LARGEST_RUNG, SMALLEST_TARGET = 4.2e8, 1e9
HOPELESS = 1.6e8


def gadre(path: str) -> None:
    """Every training set and every validation loss of the table."""
    with Path(path).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    runs = [
        told
        for dataset in sorted({row["dataset"] for row in rows})
        for loss in [name for name in rows[0] if name.startswith("loss_")]
        for limit in ("1/60", "1/300", "160M")
        for told in _foretold([row for row in rows if row["dataset"] == dataset], dataset, loss, limit)
    ]
    lines = [
        "Gadre et al. 2024, 69 runs on C4 and RefinedWeb. Each law is fitted to runs of at most 412M parameters and a part of the largest compute, and",
        "foretells the five runs of 1.4B and 6.9B parameters. `160M`: a fit that is known to be hopeless, which should be refused.",
        "",
        "| runs of at most | loss | fits | identified | mean absolute error | inside the 90 % interval |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for limit in ("1/60", "1/300", "160M"):
        for name, chosen in (("C4 validation", ["loss_c4_val"]), ("all eight", sorted({run["loss"] for run in runs}))):
            mine = [run for run in runs if run["limit"] == limit and run["loss"] in chosen]
            fits = {(run["dataset"], run["loss"]): run["identified"] for run in mine}
            errors, inside = [abs(run["error"]) for run in mine], [run["inside"] for run in mine]
            lines.append(
                f"| {limit} | {name} | {len(fits)} | {sum(fits.values())} | {np.mean(errors):.2%} | {np.mean(inside):.0%} of {len(inside)} |"
            )
    lines += ["", "| runs of at most | trained on | loss | form | errors (1.4B, ..., 6.9B) |", "| --- | --- | --- | --- | --- |"]
    for limit, dataset, loss in dict.fromkeys((run["limit"], run["dataset"], run["loss"]) for run in runs):
        mine = [run for run in runs if (run["limit"], run["dataset"], run["loss"]) == (limit, dataset, loss)]
        errors = ", ".join(f"{run['error']:+.1%}{'' if run['inside'] else ' (outside)'}" for run in mine)
        lines.append(f"| {limit} | {dataset} | {loss.removeprefix('loss_')} | {mine[0]['form']} | {errors} |")
    print("\n".join(lines[:12]))
    write_page("law-gadre", "How near do laws through small published runs come to large ones?", lines, runs)


def _foretold(rows: list[dict[str, str]], dataset: str, loss: str, limit: str) -> list[dict[str, Any]]:
    """What a law through the smaller runs says of the larger ones, beside what these reached."""
    params, data, values = (np.array([float(row[name]) for row in rows]) for name in ("params", "tokens", loss))
    compute = params * data
    if limit == "160M":
        small = params <= HOPELESS
    else:
        small = (params <= LARGEST_RUNG) & (compute <= compute.max() / float(limit.removeprefix("1/")))
    large = params > SMALLEST_TARGET
    points = Points({"params": params, "data": data})
    law = find_law(points.take(small), values[small], "loss")
    targets = points.take(large)
    told, low, high = law.predict(targets)
    reason = law.objection(targets)
    return [
        {
            "dataset": dataset, "loss": loss, "limit": limit, "form": law.fit.form.name, "identified": reason is None, "reason": reason,
            "params": float(targets["params"][number]), "data": float(targets["data"][number]), "forecast": float(told[number]),
            "low": float(low[number]), "high": float(high[number]), "measured": float(value), "error": float(told[number] / value - 1),
            "inside": bool(low[number] <= value <= high[number]),
        }
        for number, value in enumerate(values[large])
    ]  # fmt: skip


if __name__ == "__main__":
    {"gadre": gadre}[sys.argv[1]](*sys.argv[2:])
