"""`plan`: what a recipe's training needs and takes on a machine, and what else would fit, without allocating it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from rich.text import Text

from modelwright.core.errors import InputError
from modelwright.core.schema import Schema
from modelwright.core.units import format_bytes, format_count, format_duration
from modelwright.data.dataset import load
from modelwright.data.shape import PREFIX, parse_shape
from modelwright.planning.devices import Device, device_of, find_device
from modelwright.planning.layout import Layout, parse_layout
from modelwright.planning.machine import Accelerator, Machine, Processor, mapping_seconds, slow_in_bfloat16
from modelwright.training.machine import prepare_machine
from modelwright.training.precision import PRECISION_GAIN
from modelwright.training.steps import plan_steps
from modelwright.workflows.advice import Advice, improvements, remedies
from modelwright.workflows.here import this_cpu
from modelwright.workflows.outlook import Outlook, best_layout
from modelwright.workflows.recipe import Recipe, chosen_recipe
from modelwright.workflows.reporter import Reporter
from modelwright.workflows.tracing import RoughPlan, Subject

BAR = 24
"""Characters of the bar of a memory of which all is used."""
OPERATORS = 6
"""Operators that are shown, those with the most work."""


@dataclass(frozen=True)
class Plan:
    """A plan.

    Attributes:
        outlook: of what was asked for.
        steps: that the budget buys; None where that can't be told.
        examples: of the training split.
        price: of a device's hour.
        advice: what would be better; what would fit, if it doesn't.
        largest_batch: examples of a step that fit, of all devices.
        largest_model: parameters of the widest model that fits; None where the family doesn't grow.
        notes: what to know of the figures.
    """

    outlook: Outlook
    steps: int | None
    examples: int
    price: float | None = None
    advice: list[Advice] = field(default_factory=list)
    largest_batch: int | None = None
    largest_model: int | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def run_seconds(self) -> float | None:
        """Of all steps, evaluations left out."""
        return None if self.steps is None else self.steps * self.outlook.seconds.value

    @property
    def cost(self) -> float | None:
        """In the currency of the price."""
        return (
            None if self.price is None or self.run_seconds is None else self.price * self.outlook.layout.devices * self.run_seconds / 3600
        )

    def operators(self) -> list[dict[str, Any]]:
        """FLOPs of a device's step by operator and pass, the most first."""
        flops: dict[tuple[str, str], float] = {}
        for kind, work in self.outlook.trace.work.items():
            if work.flops:
                key = _readable(kind.name), kind.phase
                flops[key] = flops.get(key, 0) + work.flops
        ranked = sorted(flops.items(), key=lambda pair: -pair[1])
        return [{"operator": name, "pass": phase, "flops": round(number / self.outlook.layout.tensor)} for (name, phase), number in ranked]

    def to_json(self) -> dict[str, Any]:
        """As an object; memory, FLOPs and throughput are those of one device where there are several."""
        outlook, layout = self.outlook, self.outlook.layout
        count, memory, seconds = outlook.subject.count, outlook.memory, outlook.seconds
        tokens = count.tokens if outlook.subject.schema.kind == "text" else None
        each = outlook.samples_per_second / layout.devices
        result: dict[str, Any] = {
            "parameters": count.total_parameters,
            "parameters_by_role": count.parameters,
            "flops_per_step": round(outlook.trace.flops / layout.tensor),
            "flops_per_sample": {"forward": count.flops, "training": count.training_flops},
            "flops_by_operator": self.operators(),
            "memory_bytes": {
                "peak": memory.peak,
                **{part: size for part, size in memory.parts.items() if part != "reserve"},
                "allocator_reserve": memory.reserve + memory.parts.get("reserve", 0),
                "needed": memory.needed,
                "blocks_mapped": memory.mapped,
                "saving_a_checkpoint": memory.saving,
                "evaluating": memory.evaluating,
                "available": None if outlook.machine.limit == float("inf") else round(outlook.machine.limit),
            },
            "step_seconds": {"value": seconds.value, "low": seconds.low, "high": seconds.high},
            "samples_per_second": each,
            "tokens_per_second": None if tokens is None else each * tokens,
            "mfu": outlook.mfu,
            "fits": outlook.fits,
            "device": outlook.machine.name,
            "devices": layout.devices,
            "layout": {"data": layout.data, "sharded": layout.sharded, "tensor": layout.tensor},
            "all_devices": {
                "samples_per_second": outlook.samples_per_second,
                "tokens_per_second": None if tokens is None else outlook.samples_per_second * tokens,
            },
            "precision": outlook.subject.recipe.training.precision,
            "batch_size": outlook.subject.batch_size,
            "steps": self.steps,
            "run_seconds": self.run_seconds,
            "cost": self.cost,
            "largest_batch": self.largest_batch,
            "largest_model": self.largest_model,
            "advice": [advice.to_json() for advice in self.advice],
            "notes": self.notes,
        }
        return result


def plan(
    recipe: str | Path | Recipe,
    *,
    device: str | None = None,
    devices: int = 1,
    layout: str | None = None,
    memory: float | None = None,
    efficiency: float | None = None,
    price: float | None = None,
    settings: Iterable[str] = (),
    changes: Mapping[str, Any] | None = None,
    advise: bool = True,
    reporter: Reporter | None = None,
) -> Plan:
    """Foretell memory, time and cost of a training, and look for what would fit better.

    Args:
        recipe: a `Recipe`, a recipe file, a ready recipe's name, or data; `data.path` may be a shape, like `shape:text,vocabulary=50304`.
        device: of the table, a YAML file that describes one, or `cpu` for this machine; None is where `train` would run.
        devices: how many there are.
        layout: `data`, `sharded`, `tensor`, or several with numbers; None is the fastest that fits.
        memory: bytes of a device that may be used; None is all.
        efficiency: share of the peak that products of matrices reach on the device, where it is known better than by the table.
        price: of a device's hour.
        settings: `dotted.key=value` overrides.
        changes: dotted keys with values, likewise.
        advise: whether to look for what would fit better.
        reporter: whom to tell.

    Raises:
        InputError: recipe, device or layout are wrong, or nothing that the recipe asks for can ever fit.
    """
    reporter = reporter or Reporter()
    prepare_machine()
    if devices < 1:
        raise InputError(f"a plan for {devices} devices", expected="at least 1")
    if price is not None and not 0 <= price < float("inf"):
        raise InputError(f"a price of {price:g}", expected="a positive number")
    known = None if device in (None, "cpu") else find_device(device)
    chosen = recipe if isinstance(recipe, Recipe) else chosen_recipe(recipe, settings, changes or {})
    ways = None if layout is None else parse_layout(layout, devices)
    schema, examples = _data(chosen)
    machine = _machine(device, known, memory, efficiency)
    if machine.kind == "cpu" and devices > 1:
        raise InputError(f"{devices} CPUs can't be planned", remedy="Name an accelerator with --device")
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", RoughPlan)
        subject = _resolved(chosen, schema, machine)
        outlook = best_layout(subject, machine, devices) if ways is None else Outlook(subject, machine, ways)
        made = _advised(outlook, examples, price, advise)
    made.notes.extend(dict.fromkeys(str(warning.message) for warning in heard if warning.category is RoughPlan))
    _show(made, reporter)
    return made


def _data(recipe: Recipe) -> tuple[Schema, int]:
    path = recipe.data.path
    if path.startswith(PREFIX):
        return parse_shape(path, recipe.data.context)
    dataset = load(recipe.data, recipe.seed)
    return dataset.schema, len(dataset.train)


def _machine(name: str | None, known: Device | None, memory: float | None, efficiency: float | None) -> Machine:
    if name is None and torch.cuda.is_available():
        called = torch.cuda.get_device_name()
        found = device_of(called)
        if found is not None:
            return _accelerator(called, found, memory or torch.cuda.get_device_properties(0).total_memory, efficiency)
        raise InputError(
            f"nothing is known of {called!r}, on which this would train", remedy="Describe it in a YAML file, and name that by --device"
        )
    if name is None or name == "cpu":
        if efficiency is not None:
            raise InputError("the efficiency of a CPU is measured", remedy="Leave it out, and run doctor --profile once")
        return this_cpu(memory)
    assert known is not None, name
    return _accelerator(name, known, memory or known.usable, efficiency)


def _accelerator(name: str, device: Device, limit: float, efficiency: float | None) -> Accelerator:
    if efficiency is not None:
        if not 0 < efficiency <= 1:
            raise InputError(f"an efficiency of {efficiency:g}", expected="a share of the peak, above 0 and at most 1")
        device = device._replace(efficiency=efficiency)
    return Accelerator(name, device, limit)


def _resolved(recipe: Recipe, schema: Schema, machine: Machine) -> Subject:
    """The subject in the number format that training would choose."""
    if recipe.training.precision != "auto":
        return Subject.of(recipe, schema, machine.kind)
    subject = {
        precision: Subject.of(recipe.replace(training=recipe.training.replace(precision=precision)), schema, machine.kind)
        for precision in ("float32", "bfloat16")
    }
    if isinstance(machine, Accelerator):
        return subject["bfloat16" if machine.device.bfloat16 else "float32"]
    if slow_in_bfloat16(machine):
        return subject["float32"]
    part = max(1, recipe.training.batch_size // recipe.training.accumulation)
    seconds = {
        precision: Outlook(each.with_training(batch_size=part, accumulation=1), machine, Layout()).seconds.value
        for precision, each in subject.items()
    }
    return subject["bfloat16" if seconds["bfloat16"] < PRECISION_GAIN * seconds["float32"] else "float32"]


def _advised(outlook: Outlook, examples: int, price: float | None, advise: bool) -> Plan:
    recipe = outlook.subject.recipe
    training, size = recipe.training, outlook.subject.batch_size
    count = outlook.subject.count
    steps_per_epoch = max(1, examples // size)
    most_steps = training.most_steps(steps_per_epoch)
    steps = plan_steps(
        training.budget,
        samples_per_epoch=examples,
        steps_per_epoch=steps_per_epoch,
        flops_per_sample=count.training_flops,
        tokens_per_sample=count.tokens if outlook.subject.schema.kind == "text" else None,
        most_steps=most_steps,
    )
    if training.budget.seconds is not None:
        steps = min(max(1, int(training.budget.seconds / outlook.seconds.value)), most_steps)
    notes = []
    if outlook.compiled and isinstance(outlook.machine, Accelerator):
        notes.append("what compiling joins is that of a CPU's kernels; an accelerator's may join more")
    if isinstance(outlook.machine, Processor) and not outlook.machine.profile.samples:
        notes.append("this machine has no profile yet: run modelwright doctor --profile once for better times")
    if outlook.memory.mapped:
        share = mapping_seconds(outlook.trace) / outlook.seconds.value
        notes.append(
            "memory is short: where the machine or its container has no more, training maps large blocks one by one, as a heap's gaps would "
            f"not fit; that is {share:.0%} of a step"
        )
    made = Plan(outlook, steps, examples, price, notes=notes)
    if not advise:
        return made
    if not outlook.fits:
        return Plan(outlook, steps, examples, price, remedies(outlook), notes=notes)
    batch = outlook.largest_batch() * outlook.layout.batches
    useful = min(batch, max(size, examples)) // outlook.layout.batches
    larger = outlook.larger_model()
    return Plan(
        outlook,
        steps,
        examples,
        price,
        improvements(outlook, useful),
        batch,
        None if larger is None else larger[1].subject.count.total_parameters,
        notes,
    )


def _show(made: Plan, reporter: Reporter) -> None:
    outlook = made.outlook
    subject, memory, seconds, layout = outlook.subject, outlook.memory, outlook.seconds, outlook.layout
    recipe, count = subject.recipe, subject.count
    text = subject.schema.kind == "text"
    what = f"{subject.batch_size:,} x {count.tokens:,} tokens" if text else f"{subject.batch_size:,} examples"
    roles = " · ".join(f"{role} {format_count(number)}" for role, number in count.parameters.items() if number)
    reporter.say("model", f"{recipe.model.family} of {format_count(count.total_parameters)} parameters ({roles})")
    per = "a token" if text else "an example"
    each = count.training_flops_per_token if text else count.training_flops
    reporter.say("step", f"{what} · {recipe.training.precision} · {_flops(each)} {per}")
    where = outlook.machine.name if layout.devices == 1 else f"{layout.devices} x {outlook.machine.name} · {layout}"
    reporter.say("machine", where)
    reporter.show(_memory_table(outlook))
    reporter.show(_operator_table(made))
    rate = outlook.samples_per_second * (count.tokens if text else 1)
    reporter.say(
        "time",
        f"{_short(seconds.value)} a step ({_short(seconds.low)} to {_short(seconds.high)}) · {format_count(rate)} "
        f"{'tokens' if text else 'examples'}/s · {outlook.mfu:.0%} of the peak",
    )
    if made.run_seconds is not None:
        cost = "" if made.cost is None else f" · costs {made.cost:,.2f}"
        reporter.say("run", f"{made.steps:,} steps in {format_duration(made.run_seconds)}{cost}")
    used = f"{memory.needed / outlook.machine.limit:.0%} of {format_bytes(outlook.machine.limit)}"
    if outlook.fits:
        most = [] if made.largest_batch is None else [f"largest batch {made.largest_batch:,}"]
        most += [] if made.largest_model is None else [f"largest model {format_count(made.largest_model)} parameters"]
        reporter.say("fits", " · ".join([f"yes, in {used}", *most]))
    else:
        part = memory.largest
        reporter.say("fits", f"no, it needs {used}, of which {part} take {format_bytes(memory.parts[part])}. What would fit:")
    for number, advice in enumerate(made.advice, 1):
        reporter.say("" if number > 1 else "advice", f"{advice.change}: {advice.text}, {_gain(advice)}, {format_bytes(advice.memory)}")
    for note in made.notes:
        reporter.say("note", note)


def _flops(number: float) -> str:
    """FLOPs with the unit's multiple: 63 TFLOP."""
    text = format_count(number)
    return f"{text[:-1]} {text[-1]}FLOP" if text[-1].isalpha() else f"{text} FLOP"


def _gain(advice: Advice) -> str:
    cheaper = f" at {advice.cost:.2g}x the cost" if abs(advice.cost * advice.speed - 1) > 0.01 else ""
    return f"{advice.speed:.2g}x as fast{cheaper}"


def _readable(operator: str) -> str:
    """An operator's name, without what says which of its kernels was traced."""
    return "attention" if operator.startswith("_scaled_dot_product") else operator.removeprefix("mkldnn_")


def _short(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _memory_table(outlook: Outlook) -> Table:
    memory, limit = outlook.memory, outlook.machine.limit
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(justify="left", min_width=12)
    table.add_column(justify="right", min_width=9)
    table.add_column()
    whole = max(memory.needed, limit if limit != float("inf") else memory.needed)
    for part, size in sorted(memory.parts.items(), key=lambda pair: -pair[1]):
        if size >= 0.002 * memory.needed:
            table.add_row(f"  {part}", format_bytes(size), Text("█" * max(1, round(BAR * size / whole)), style="cyan"))
    if memory.reserve:
        table.add_row("  reserve", format_bytes(memory.reserve), Text("░" * max(1, round(BAR * memory.reserve / whole)), style="cyan"))
    table.add_row("  memory", format_bytes(memory.needed), Text("a device" if outlook.layout.devices > 1 else "", style="dim"))
    return table


def _operator_table(made: Plan) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    operators = made.operators()
    whole = sum(row["flops"] for row in operators) or 1
    for row in operators[:OPERATORS]:
        share = row["flops"] / whole
        table.add_row(
            f"  {row['operator']}",
            row["pass"],
            _flops(row["flops"]),
            Text("█" * max(1, round(BAR * share)), style="magenta"),
        )
    return table
