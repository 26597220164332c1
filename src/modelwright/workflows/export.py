"""`export`: a run's model for another runtime, read back there and compared on held-out examples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from modelwright.core.errors import InputError
from modelwright.core.units import format_bytes
from modelwright.data.dataset import load
from modelwright.data.split import Split
from modelwright.exporting.export import TOLERANCE, Export, check_place
from modelwright.exporting.export import export as write
from modelwright.exporting.subject import Subject
from modelwright.exporting.target import targets
from modelwright.metrics.estimate import exactly, show
from modelwright.serving.bundle import Bundle, load_bundle
from modelwright.workflows.evaluate import labeled_split
from modelwright.workflows.recipe import load_recipe
from modelwright.workflows.reporter import Reporter

EXAMPLES, WINDOWS = 1000, 32
"""Examples that are compared on, and windows of a text, at most, unless said."""


def export(
    run: Path | str,
    to: str,
    *,
    output: Path | str | None = None,
    data: str | None = None,
    split: str = "validation",
    examples: int | None = None,
    tolerance: float = TOLERANCE,
    changes: Mapping[str, Any] | None = None,
    reporter: Reporter | None = None,
) -> Export:
    """Write a run's model for a target, read it back there, and compare it with the original on real examples.

    Args:
        run: a run folder, or with `data` a bundle too.
        to: the target: `torch`, `onnx`, `safetensors`, `huggingface`, or a registered one.
        output: the folder to make; None: `exports/<target>` in the run.
        data: labelled data to compare on, in the form that the run was trained on; None: the run's own, of its validation split.
        split: which split of `data`, where it has several.
        examples: how many, at most; of a text, windows.
        tolerance: the largest difference that is let pass, as a share of the largest value of an output, or of 1 if that is less.
        changes: settings of `data` by dotted key.
        reporter: whom to tell.

    Raises:
        InputError: there is no such run, target or data; the target can't hold the model; the folder is taken; or the export differs by more
            than the tolerance. Nothing is left of a refused export.
    """
    reporter = reporter or Reporter()
    if not 0 < tolerance < math.inf:
        raise InputError(f"the tolerance is {tolerance:g}", expected="a positive number, like 1e-4")
    if examples is not None and examples < 1:
        raise InputError(f"{examples} examples can't be compared on", expected="at least 1")
    path = Path(run)
    target = targets[to]
    bundle = load_bundle(path)
    subject = subject_of(bundle)
    folder = Path(output) if output is not None else _home(path) / "exports" / to
    # What is wrong with the target or the place should be told before data is read.
    target().check(subject)
    check_place(folder)
    if data is None:
        compared, name = _held_out(path, bundle, reporter)
    else:
        compared, name, _ = labeled_split(data, bundle, split, changes or {}, reporter)
    compared = compared.sample(examples or (WINDOWS if subject.schema.kind == "text" else EXAMPLES))
    reporter.say("export", f"{subject.family.family} of {subject.parameters:,} parameters to {to}, for {target.runtime}")
    doing = {
        "write": "writing the model",
        "compare": f"on {len(compared):,} {'windows' if subject.schema.kind == 'text' else 'examples'} of {name}",
    }
    source = {"run": _home(path).resolve().name, "data": Path(bundle.config.data.path).name, "compared_on": Path(name).name}
    made = write(
        subject, to, compared, folder, tolerance=tolerance, source={**source, "data_digest": bundle.config.data_digest},
        report=lambda stage: reporter.say(stage, doing[stage]),
    )  # fmt: skip
    _show(made, reporter)
    return made


def subject_of(bundle: Bundle) -> Subject:
    """A bundle as an export takes it."""
    config = bundle.config
    return Subject(
        config.name, config.data_schema, config.stem, config.model, config.head, config.task, bundle.task, bundle.network.to("cpu").eval()
    )  # fmt: skip


def _home(path: Path) -> Path:
    """The run folder of a bundle, or the path itself."""
    return path if (path / "model" / "bundle.json").is_file() else path.resolve().parent


def _held_out(path: Path, bundle: Bundle, reporter: Reporter) -> tuple[Split, str]:
    """The validation split that the run was trained beside; where the data has changed since, all of it as it is now.

    Raises:
        InputError: the data is not where it was.
    """
    recipe_file = _home(path) / "recipe.yaml"
    if not recipe_file.is_file():
        raise InputError("a bundle alone doesn't know its data", where=path, remedy="Give labelled data to compare on with --data")
    recipe = load_recipe(recipe_file)
    try:
        dataset = load(recipe.data, recipe.seed)
        if dataset.schema == bundle.config.data_schema:
            name = "validation" if "validation" in dataset.splits else "train"
            return dataset.splits[name], name
        reporter.say("note", "the data has changed since the run was trained; all of it is compared on")
        return labeled_split(recipe.data.path, bundle, "all", {}, reporter)[:2]
    except InputError as error:
        raise InputError(
            f"the run's data can't be read to compare on ({str(error).rstrip('.')})",
            where=path,
            remedy="Give labelled data of the same form with --data",
        ) from None


def _show(made: Export, reporter: Reporter) -> None:
    """What was found, side by side, and where everything lies."""
    found, latency = made.comparison, made.latency
    table = Table("", box=None, header_style="bold", padding=(0, 2, 0, 0))
    for title in (found.metric.replace("_", " "), "agreement", "largest difference", "one example"):
        table.add_column(title, justify="right")
    table.add_row("original", show(found.metric, exactly(found.original)), "", "", f"{1000 * latency.original:.3g} ms")
    table.add_row(
        made.target,
        show(found.metric, exactly(found.exported)),
        f"{found.agreement:.2%}",
        f"{found.difference:.1e} of {next(iter(found.largest.values())):.3g}",
        f"{1000 * latency.exported:.3g} ms ({latency.speedup:.1f}x)",
    )
    reporter.show(table)
    reporter.say("ship", f"{made.path} {format_bytes(made.size)} · {', '.join(sorted(made.record['files']))}, export.json")
