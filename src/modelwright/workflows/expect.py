"""What a training on this machine is expected to need and take, told before it begins."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import torch

from modelwright.core.errors import InputError
from modelwright.planning.devices import device_of
from modelwright.planning.layout import Layout
from modelwright.planning.machine import Accelerator, Machine, Processor
from modelwright.planning.range import Range
from modelwright.training.memory import used_bytes
from modelwright.workflows.here import MEMORY, STEP, machine_name, this_cpu
from modelwright.workflows.job import Probe
from modelwright.workflows.outlook import Outlook
from modelwright.workflows.tracing import Subject

SHORTEST = 30.0
"""Seconds of a budget from which on a trace, which takes one or two, is affordable."""
SHORTEST_COMPILED = 300.0
"""The same of a compiled step, whose trace takes some ten."""
MEMORY_SPREAD = 1.15
"""Factor from a forecast of memory to the ends of its interval."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """A forecast from the plan.

    Attributes:
        seconds: of a step.
        memory: bytes at most.
        plain: both without what earlier runs correct, by quantity.
    """

    seconds: Range
    memory: int
    plain: dict[str, float]


def device_name() -> str:
    """What the device that networks are trained on here is called."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else machine_name()


def expect(timed: Probe) -> Expectation | None:
    """The plan of a probed job; None where the budget is too short for it, or nothing is known of the device."""
    job = timed.job
    budget = job.training.budget.seconds
    if budget is not None and budget < (SHORTEST_COMPILED if job.training.compile is True else SHORTEST):
        return None
    machine = machine_here(timed.held)
    if machine is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            outlook = Outlook(Subject.of(job.recipe, job.dataset.schema, machine.kind), machine, Layout())
            plain = (
                replace(outlook, machine=replace(machine, correction=1.0, memory_correction=1.0))
                if isinstance(machine, Processor)
                else outlook
            )
            # A heap that the choice of settings has made larger stays so.
            kept = 0 if outlook.memory.mapped else used_bytes()
            memory = max(outlook.memory.needed - outlook.memory.reserve, kept)
            # Trainings with mapped blocks, and compiled ones, tell nothing of others.
            foretold: dict[str, float] = {}
            if not (outlook.memory.mapped or outlook.compiled):
                foretold = {MEMORY: float(max(plain.memory.needed - plain.memory.reserve, kept)), STEP: plain.seconds.value}
        except InputError:
            return None
    return Expectation(outlook.seconds, memory, foretold)


def machine_here(held: int) -> Machine | None:
    """What networks are trained on here, as the plan knows it; None for a device that it doesn't know.

    Args:
        held: bytes that the process holds before it trains.
    """
    if not torch.cuda.is_available():
        return this_cpu(base=held)
    found = device_of(torch.cuda.get_device_name())
    return None if found is None else Accelerator(found.chip, found, torch.cuda.get_device_properties(0).total_memory)
