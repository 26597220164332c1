"""Which families can be exported where, proved cell by cell; and how fast ONNX Runtime answers, against PyTorch as it is.

    python benchmarks/export.py               # both, some minutes
    python benchmarks/export.py matrix        # families x targets x data, small models
    python benchmarks/export.py latency       # default models of each family, one example at a time
    python benchmarks/export.py latency quick # fewer repetitions

The cells are those of the tests' harness. A cell is proved as `modelwright export` proves it: written, read back in its runtime, compared.
"""

from __future__ import annotations

import string
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

import torch
from result import RESULTS, ROOT, Column, Result

sys.path.insert(0, str(ROOT / "tests"))

from harness.exports import Some, cells, subject
from harness.families import category, image, number, table

from modelwright.core.errors import InputError
from modelwright.data.text import text_schema
from modelwright.data.tokenizers.characters import CharactersConfig
from modelwright.exporting.export import export
from modelwright.exporting.portable import example_inputs, raw_inputs
from modelwright.exporting.target import targets
from modelwright.models.family import families
from modelwright.models.network import can_read

ROUNDS = 5
PASSES = 200
COLUMNS = [
    *(number(f"number {index}", edges=(-1.0, 0.0, 1.0), has_missing=index == 0) for index in range(6)),
    *(category(f"category {index}", 10) for index in range(8)),
]
CHARACTERS = CharactersConfig().train([string.printable])
SCHEMAS = {"image 28x28": image(1, 28, 28), "table of 14 columns": table(*COLUMNS), "text of 128 tokens": text_schema(CHARACTERS, 128)}


def matrix() -> Path:
    """Export every family of every kind of data to every target, and write what agreed, and why the rest has no cell."""
    rows, reasons, raw = [], defaultdict[str, list[str]](list), []
    for family, data, made in cells():
        row = [family, data]
        for name in targets:
            if isinstance(made, str):
                row.append("-")
                continue
            entry: dict[str, Any] = {"family": family, "data": data, "target": name}
            try:
                with tempfile.TemporaryDirectory() as folder:
                    comparison = export(made, name, Some(made.schema), Path(folder) / "out").comparison
                entry |= comparison.to_json()
                row.append(f"{comparison.difference:.0e}, {comparison.agreement:.0%}")
            except InputError as error:
                entry["refused"] = str(error)
                reasons[str(error)].append(f"{family} on {data} to {name}")
                row.append("refused")
            raw.append(entry)
            print(family, data, name, row[-1], flush=True)
        if isinstance(made, str):
            reasons[made].append(f"{family} on {data}")
        rows.append(row)
    result = Result("export-matrix", "Which families can be exported where, and how near do they come?")
    for name in targets:
        mine = [entry for entry in raw if entry["target"] == name]
        refused = sum("refused" in entry for entry in mine)
        result.add(name, {"agreed": len(mine) - refused, "refused": refused, "cells": mine})
    agreeing = sum("refused" not in entry for entry in raw)
    header = ["family", "data", *targets]
    shown = "\n".join(f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *rows])
    remarks = (
        f"{agreeing} of {len(raw)} cells were written, read back in their runtime and agreed; each shows the largest difference of the network's outputs and the "
        "share of equal predictions, over batches of several sizes and texts of several lengths. The others, and why:\n\n"
        + "\n".join(f"- {', '.join(places)}: {reason}" for reason, places in reasons.items())
    )
    columns = [Column("cells that agree", "agreed", 0), Column("refused, with a reason", "refused", 0)]
    page = result.write(columns, remarks=f"{shown}\n\n{remarks}")
    print(page)
    return page


def latency(quick: bool) -> Path:
    """The median time of an answer for one example, by family and kind of data: ONNX Runtime against PyTorch in eager mode, in turns."""
    torch.set_num_threads(1)
    result = Result("export-latency", "How fast does ONNX Runtime answer for one example, against PyTorch?")
    for family, config in families.items():
        for data, schema in SCHEMAS.items():
            settings = config.model_validate({})
            if not can_read(settings, schema) or (schema.causal and family in ("linear", "mlp")):
                continue
            made = subject(settings, schema)
            original, exported = _times(made, 2 if quick else ROUNDS, 20 if quick else PASSES)
            for before, after in zip(original, exported, strict=True):
                result.add(f"{family}, {data}", {"eager": before, "onnx": after, "speedup": before / after})
            print(
                family,
                data,
                f"{median(original):.3f} ms, {median(exported):.3f} ms, {median(original) / median(exported):.1f}x",
                flush=True,
            )
    columns = [
        Column("PyTorch eager, ms", "eager", 3),
        Column("ONNX Runtime, ms", "onnx", 3),
        Column("times as fast", "speedup", 1, less_is_better=False),
    ]
    remarks = (
        "Default settings of each family, random weights. One thread. PyTorch starts from encoded "
        "inputs, in inference mode; ONNX Runtime from raw ones, so that its time holds the preprocessing. A run's value is the median of "
        f"{20 if quick else PASSES} answers; both take turns."
    )
    page = result.write(columns, remarks=remarks, folder=Path(tempfile.mkdtemp()) if quick else RESULTS)
    print(page)
    return page


def _times(made: Any, rounds: int, passes: int) -> tuple[list[float], list[float]]:
    """Median milliseconds of each round, of the original and of the export."""
    target = targets["onnx"]()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        target.write(made, Path(folder))
        runtime = target.load(made, Path(folder))
        batch = next(Some(made.schema, 1).batches(1))
        raw = raw_inputs(made.schema, batch.inputs)
        assert set(raw) == set(example_inputs(made.schema, 1))
        found: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds):
            for seconds, work in zip(found, (lambda: made.network(batch.inputs), lambda: runtime(raw)), strict=True):
                for _ in range(10):
                    work()
                taken = []
                for _ in range(passes):
                    began = time.perf_counter()
                    work()
                    taken.append(1000 * (time.perf_counter() - began))
                seconds.append(median(taken))
    return found


def main() -> None:
    """Do what is asked for."""
    asked = set(sys.argv[1:]) - {"quick"}
    if not asked or "matrix" in asked:
        matrix()
    if not asked or "latency" in asked:
        latency("quick" in sys.argv)


if __name__ == "__main__":
    main()
