"""What a training on this machine is expected to need and take, told before it begins."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch

from modelwright.core.errors import InputError
from modelwright.planning.devices import device_of
from modelwright.planning.forecast import Seconds
from modelwright.planning.layout import Layout
from modelwright.planning.machine import Accelerator, Machine, Processor
from modelwright.workflows.here import MEMORY, STEP, machine_name, this_cpu
from modelwright.workflows.job import Probe
from modelwright.workflows.outlook import Outlook

SHORTEST = 30.0
"""Seconds of a budget from which on a trace, which takes one or two, is affordable."""
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

    seconds: Seconds
    memory: int
    plain: dict[str, float]


def device_name() -> str:
    """What the device that networks are trained on here is called."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else machine_name()


def expect(timed: Probe) -> Expectation | None:
    """The plan of a probed job; None where the budget is too short for it, or nothing is known of the device."""
    job = timed.job
    budget = job.training.budget.seconds
    machine = _machine(timed.held)
    if machine is None or (budget is not None and budget < SHORTEST):
        return None
    from modelwright.workflows.tracing import Subject

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            outlook = Outlook(Subject.of(job.recipe, job.dataset.schema, machine.kind), machine, Layout())
            seconds, memory = outlook.seconds, outlook.memory.peak
        except InputError:
            return None
    correction, memory_correction = (machine.correction, machine.memory_correction) if isinstance(machine, Processor) else (1.0, 1.0)
    return Expectation(seconds, memory, {STEP: seconds.value / correction, MEMORY: memory / memory_correction})


def _machine(held: int) -> Machine | None:
    if not torch.cuda.is_available():
        return this_cpu(base=held)
    found = device_of(torch.cuda.get_device_name())
    return None if found is None else Accelerator(found.chip, found, torch.cuda.get_device_properties(0).total_memory)
