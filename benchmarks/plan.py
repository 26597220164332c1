"""How near plans come to the truth.

    python benchmarks/plan.py profile               # the profile of this machine, a minute
    python benchmarks/plan.py steps                 # memory and time of 64 trainings against their plans, ten minutes
    python benchmarks/plan.py compiled              # the same of every fourth of them, compiled; a quarter of an hour
    python benchmarks/plan.py batch 2GB             # the largest batch under caps of about 2 GB, against trying; ten minutes
    python benchmarks/plan.py published TABLE.csv   # tokens a second of a published table
    python benchmarks/plan.py large                 # a model of 70B on 64 devices: seconds and memory of planning it

The trainings are none of those by which the profile is made or the plan's constants were fitted. Each runs in a process of its own.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from result import write_page

from modelwright.core.config import validate
from modelwright.core.units import parse_bytes
from modelwright.data.shape import parse_shape
from modelwright.planning.devices import find_device
from modelwright.planning.layout import Layout
from modelwright.planning.machine import Accelerator
from modelwright.training.machine import prepare_machine
from modelwright.workflows.here import profile_path, this_cpu
from modelwright.workflows.outlook import Outlook
from modelwright.workflows.recipe import Recipe
from modelwright.workflows.tracing import Subject

ROWS, DIGITS = "shape:table,numbers=24,categories=6,values=30,classes=5", "shape:image,channels=1,height=28,width=28,classes=10"
PHOTOS, TEXT, WORDS = "shape:image,channels=3,height=48,width=48,classes=40", "shape:text,vocabulary=1000", "shape:text,vocabulary=16000"


def configurations() -> Iterator[dict[str, Any]]:
    """Recipes over families, optimizers, number formats, checkpointing and batches."""
    both, two = ("float32", "bfloat16"), (False, True)
    for precision in both:
        for width in (384, 1536):
            for batch in (128, 1500):
                yield _recipe(ROWS, "mlp", batch, precision, width=width, depth=3)
        yield _recipe(ROWS, "mlp", 300, precision, "muon", width=768, depth=4)
        yield _recipe(DIGITS, "mlp", 600, precision, "sgd", width=1024, depth=2)
        for batch in (48, 384):
            yield _recipe(DIGITS, "cnn", batch, precision, channels=[24, 48, 96])
            yield _recipe(PHOTOS, "cnn", batch // 4, precision, channels=[32, 64, 128], residual=True)
        yield _recipe(PHOTOS, "cnn", 100, precision, "sgd", channels=[24, 48])
        yield _recipe(DIGITS, "cnn", 256, precision, "muon", channels=[16, 32, 64], blocks=2)
        for batch in (48, 320):
            yield _recipe(DIGITS, "lstm", batch, precision, width=160, depth=2)
            yield _recipe(TEXT, "lstm", batch // 4, precision, context=96, width=320, depth=2)
        yield _recipe(WORDS, "lstm", 12, precision, "muon", context=48, width=256, depth=1)
        yield _recipe(DIGITS, "lstm", 100, precision, "sgd", width=400, depth=1)
        for checkpointing in two:
            for batch in (40, 200):
                yield _recipe(DIGITS, "transformer", batch, precision, checkpointing=checkpointing, width=160, depth=4, num_heads=4)
            for batch in (6, 24):
                yield _recipe(
                    TEXT, "transformer", batch, precision, checkpointing=checkpointing, context=192, width=320, depth=4, num_heads=5
                )
        yield _recipe(PHOTOS, "transformer", 32, precision, "sgd", width=192, depth=3, num_heads=3)
        yield _recipe(TEXT, "transformer", 12, precision, "muon", context=128, width=256, depth=6, num_heads=8)
        yield _recipe(WORDS, "transformer", 6, precision, context=160, width=288, depth=3, num_heads=6)
        yield _recipe(ROWS, "transformer", 96, precision, width=96, depth=3, num_heads=4)


def _recipe(
    path: str,
    family: str,
    batch: int,
    precision: str,
    optimizer: str = "adamw",
    *,
    context: int = 64,
    checkpointing: bool = False,
    **model: Any,
) -> dict[str, Any]:
    training = {"batch_size": batch, "precision": precision, "optimizer": optimizer, "activation_checkpointing": checkpointing}
    return {
        "data": {"path": path, "context": context, "validation": 0, "test": 0},
        "model": {"family": family, **model},
        "training": {**training, "compile": False, "memory_format": "contiguous", "budget": "10 steps"},
    }


def subject_of(values: dict[str, Any], kind: str = "cpu") -> Subject:
    """What is planned of a recipe."""
    recipe = validate(Recipe, values)
    return Subject.of(recipe, parse_shape(recipe.data.path, recipe.data.context).schema, kind)


def run_steps(values: dict[str, Any], *more: str) -> dict[str, float]:
    """Train it in another process."""
    command = [sys.executable, str(Path(__file__).with_name("steps.py")), json.dumps(values), *more]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def steps() -> None:
    """Peak memory and seconds a step of every configuration, planned and measured."""
    _compare("plan-steps", "How near do plans come to memory and time of a step on this CPU?", list(configurations()))


def compiled() -> None:
    """The same of some, with `torch.compile`."""
    some = list(configurations())[::4]
    for values in some:
        values["training"]["compile"] = True
    _compare("plan-compiled", "How near do plans come to memory and time of a compiled step on this CPU?", some)


def _compare(name: str, question: str, recipes: list[dict[str, Any]]) -> None:
    base = run_steps(_recipe(ROWS, "mlp", 8, "float32", width=16, depth=1))["base"]
    machine = this_cpu(base=base)
    machine = machine.__class__(machine.name, machine.limit, base, machine.profile)
    rows = []
    for values in recipes:
        outlook = Outlook(subject_of(values), machine, Layout())
        forecast = {"memory": outlook.memory.peak, "seconds": outlook.seconds.value}
        measured = run_steps(values)
        row = {
            "recipe": values,
            "forecast": forecast,
            "measured": {"memory": measured["peak"], "seconds": measured["seconds"], "fastest": measured["fastest"]},
            "parts": outlook.memory.parts,
        }
        row["error"] = {name: forecast[name] / row["measured"][name] - 1 for name in forecast}
        rows.append(row)
        print(_name(values), {name: f"{error:+.1%}" for name, error in row["error"].items()}, flush=True)
    _write(name, question, rows, ("memory", "seconds"))


def _name(values: dict[str, Any]) -> str:
    model, training = values["model"], values["training"]
    more = " checkpointed" if training["activation_checkpointing"] else ""
    return f"{model['family']} x{training['batch_size']} {training['precision']} {training['optimizer']}{more}"


def _write(name: str, question: str, rows: list[dict[str, Any]], quantities: tuple[str, ...]) -> None:
    """A page of errors."""
    about = "by this machine's profile" if this_cpu().profile.samples else "without a profile of this machine"
    lines = [f"{len(rows)} trainings, planned {about}; a forecast's error is forecast / measurement - 1.", ""]
    lines += ["| | median of the absolute error | 95th percentile | mean error |", "| --- | --- | --- | --- |"]
    for quantity in quantities:
        errors = np.array([row["error"][quantity] for row in rows])
        lines.append(f"| {quantity} | {np.median(abs(errors)):.1%} | {np.quantile(abs(errors), 0.95):.1%} | {errors.mean():+.1%} |")
    print("\n".join(lines))
    lines += ["", f"| training | {' | '.join(quantities)} |", f"| --- |{' --- |' * len(quantities)}"]
    lines += [f"| {_name(row['recipe'])} | {' | '.join(format(row['error'][q], '+.1%') for q in quantities)} |" for row in rows]
    write_page(name, question, lines, rows)


def batch(about: str) -> None:
    """The largest batch that a plan says fits under a cap, against what the same trainings need when they are run.

    The cap is what a measured batch needed, its blocks mapped one by one, as `train` does under such a cap; the plan should find that batch.

    Args:
        about: measure the batch that is planned to need so much, like `2GB`.
    """
    rows = []
    base = run_steps(_recipe(ROWS, "mlp", 8, "float32", width=16, depth=1))["base"]
    seen: set[str] = set()
    for values in configurations():
        if values["training"]["optimizer"] != "adamw":
            continue
        # Many differ by their batch alone.
        values["training"]["batch_size"] = 8
        if (key := json.dumps(values)) in seen:
            continue
        seen.add(key)
        values["training"]["batch_size"] = _largest(values, base, parse_bytes(about))
        measured = run_steps(values, "mapped")
        found, size = _largest(values, base, measured["peak"]), values["training"]["batch_size"]
        rows.append({"recipe": values, "cap": measured["peak"], "found": found, "true": size, "error": {"batch": found / size - 1}})
        print(_name(values), size, found, flush=True)
    question = f"How near is the largest batch that a plan finds under a cap of resident memory, of about {about}?"
    _write(f"plan-batch-{about.lower()}", question, rows, ("batch",))
    near = sum(abs(row["error"]["batch"]) <= 0.05 for row in rows)
    print(f"within 5 %: {near} of {len(rows)}")


def _largest(values: dict[str, Any], base: float, limit: float) -> int:
    """The largest batch of a training that a plan finds in so much memory, by the profile of this machine alone."""
    machine = this_cpu(limit, base)
    return Outlook(subject_of(values), machine.__class__(machine.name, limit, base, machine.profile), Layout()).largest_batch()


def published(table: str, share: float = 1 / 3) -> None:
    """Tokens a second and GPU of a published table of GPT-style trainings: one efficiency fitted on a part of the rows, tested on the others."""
    with Path(table).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    numbers = [index for index in range(len(rows)) if index % round(1 / share) == 0]
    efficiency = fit_efficiency([rows[index] for index in numbers])
    tested = []
    for index, row in enumerate(rows):
        speed = tokens_per_second(row, efficiency)
        tested.append({"row": row, "fitted": index in numbers, "forecast": speed, "error": speed / float(row["tokens_per_s_per_gpu"]) - 1})
    errors = np.array([abs(row["error"]) for row in tested if not row["fitted"]])
    lines = [
        f"{len(rows)} rows, of which every third, {len(numbers)}, chose one number, the share of the peak that products of matrices reach: "
        f"{efficiency:.2f}. On the other {len(errors)} rows the median of the absolute error is {np.median(errors):.1%}, the 95th percentile "
        f"{np.quantile(errors, 0.95):.1%}.",
    ]
    name = Path(table).stem.replace("_", "-")
    write_page(f"plan-{name}", f"How near are planned tokens a second and device to those of the published table {name}?", lines, tested)
    print("\n".join(lines))


_TRACED: dict[tuple[Any, ...], Outlook] = {}


def tokens_per_second(row: dict[str, str], efficiency: float) -> float:
    """Of one device of a row of such a table."""
    name = row["gpu"].replace("_", "-")
    gpus, micro, context = int(row["gpus"]), int(row["micro_batch"]), int(row["seq_len"])
    key = (row["model"], context, micro, gpus, row["grad_accum"], row["activation_checkpointing"], name)
    if key not in _TRACED:
        values = {
            "data": {"path": "shape:text,vocabulary=50368", "context": context, "validation": 0},
            "model": {
                "family": "transformer",
                "width": int(row["d_model"]),
                "depth": int(row["n_layers"]),
                "num_heads": int(row["n_heads"]),
                "feedforward_ratio": 4.0,
                "positions": "learned",
                "bias": False,
                "qk_norm": False,
            },
            "training": {
                "batch_size": micro * gpus * int(row["grad_accum"]),
                "accumulation": int(row["grad_accum"]),
                "precision": "bfloat16",
                "activation_checkpointing": row["activation_checkpointing"] == "True",
            },
        }
        layout = Layout(sharded=gpus) if row["sharding"] == "FULL_SHARD" else Layout(data=gpus)
        device = find_device(name)
        _TRACED[key] = Outlook(subject_of(values, "cuda"), Accelerator(name, device, 1e9 * device.memory), layout)
        _ = _TRACED[key].step
    outlook = _TRACED[key]
    machine = Accelerator(name, find_device(name)._replace(efficiency=efficiency), 0.0)
    seconds = machine.seconds(outlook.step, outlook.layout).value
    return outlook.subject.batch_size * context / gpus / seconds


def fit_efficiency(rows: list[dict[str, str]]) -> float:
    """The efficiency at which the median of the absolute errors is least."""
    candidates = np.arange(0.4, 1.0, 0.01)
    truth = np.array([float(row["tokens_per_s_per_gpu"]) for row in rows])
    errors = [median(abs(np.array([tokens_per_second(row, value) for row in rows]) / truth - 1)) for value in candidates]
    return float(candidates[int(np.argmin(errors))])


def large() -> None:
    """Seconds and memory that planning a model of 70 billion parameters takes, from command to end."""
    command = [
        sys.executable, "-c",
        "import resource, sys; from modelwright.cli import main; main()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)",
        "plan", "shape:text,vocabulary=32000", "--family", "transformer", "--set", "model.preset=llama-70b", "--set", "data.context=4096",
        "--set", "training.batch_size=256", "--set", "training.activation_checkpointing=true", "--device", "h100-80gb", "--devices", "64", "--json",
    ]  # fmt: skip
    found = []
    for _ in range(5):
        began = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found.append((time.perf_counter() - began, 1024 * int(done.stderr.split()[-1])))
        plan = json.loads(done.stdout)
    seconds = [row[0] for row in found]
    lines = [
        f"{median(seconds):.1f} s from command to end (median of {len(found)}, {min(seconds):.1f} to {max(seconds):.1f}) and at most "
        f"{max(row[1] for row in found) / 1e9:.2f} GB, advice included.",
    ]
    runs = [{"seconds": row[0], "bytes": row[1]} for row in found]
    write_page(
        "plan-large", "How long does it take to plan a model of 70 billion parameters on 64 devices?", lines, [*runs, {"plan": plan}]
    )
    print("\n".join(lines))


def profile() -> None:
    """Make this machine's profile."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "modelwright.cli", "doctor", "--profile"], check=True)
    print(f"{time.perf_counter() - began:.0f} s, in {profile_path()}")


if __name__ == "__main__":
    prepare_machine()
    parts = {"profile": profile, "steps": steps, "compiled": compiled, "batch": batch, "published": published, "large": large}
    parts[sys.argv[1]](*sys.argv[2:])
