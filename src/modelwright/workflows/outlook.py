"""The outlook: what a step of a recipe needs and takes on a machine, in a layout; and the search for what would fit better."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

from modelwright.core.errors import InputError
from modelwright.planning.forecast import Memory, Seconds
from modelwright.planning.layout import Layout, likely_layouts
from modelwright.planning.machine import Accelerator, Machine, Step
from modelwright.planning.trace import Trace
from modelwright.workflows.tracing import DEEP, Subject

MOST = 1 << 22
"""Examples of the largest batch that is looked for."""
TRACES = 7
"""Traces that a search may take."""


@dataclass(frozen=True)
class Outlook:
    """A subject on a machine.

    Attributes:
        subject: what is trained.
        machine: one of the devices.
        layout: how they share the work.
    """

    subject: Subject
    machine: Machine
    layout: Layout

    def __post_init__(self) -> None:
        check_layout(self.subject, self.layout)

    @property
    def share(self) -> int:
        """Examples of a step that one device gets."""
        return self.subject.batch_size // self.layout.batches

    @cached_property
    def trace(self) -> Trace:
        """Of one device with the whole model."""
        return self.subject.trace(self.share)

    @cached_property
    def step(self) -> Step:
        """What a machine is asked about."""
        return self._step(self.trace, self.share)

    def _step(self, trace: Trace, share: int) -> Step:
        subject, training = self.subject, self.subject.recipe.training
        tokens = subject.schema.text.shape[0] if subject.schema.kind == "text" else 1
        slices = min(training.accumulation, share)
        return Step(
            trace=trace,
            precision=training.precision,
            parameters=subject.count.total_parameters,
            unit=subject.largest_unit if self.layout.sharded > 1 else 0,
            stream=-(-share // slices) * tokens * getattr(subject.recipe.model, "width", 1),
            blocks=subject.depth,
            micro_batches=slices,
            kept=4 * subject.count.total_parameters if subject.recipe.data.validation else 0,
        )

    @cached_property
    def memory(self) -> Memory:
        """Of a device."""
        return self.machine.memory(self.step, self.layout)

    @cached_property
    def seconds(self) -> Seconds:
        """Of a step."""
        return self.machine.seconds(self.step, self.layout)

    @property
    def fits(self) -> bool:
        """Whether a device has the memory."""
        return self.memory.needed <= self.machine.limit

    @property
    def samples_per_second(self) -> float:
        """Of all devices."""
        return self.subject.batch_size / self.seconds.value

    @property
    def mfu(self) -> float:
        """Model FLOPs utilization (Chowdhery et al. 2022, appendix B)."""
        needed = self.subject.count.training_flops * self.samples_per_second / self.layout.devices
        return needed / self.machine.peak(self.subject.recipe.training.precision)

    def with_batch(self, share: int) -> Outlook:
        """The same with so many examples a device."""
        return replace(self, subject=self.subject.with_training(batch_size=share * self.layout.batches))

    def with_training(self, **settings: object) -> Outlook:
        """The same with other settings of training."""
        return replace(self, subject=self.subject.with_training(**settings))

    def with_layout(self, layout: Layout) -> Outlook:
        """The same in another layout."""
        return replace(self, layout=layout)

    @property
    def deep(self) -> bool:
        """Whether a trace is told by two others, and no search should make many."""
        return self.subject.depth > DEEP

    def largest_batch(self) -> int:
        """The most examples a device that fit, 0 if none does; found by tracing, without allocating anything."""
        unsliced = self.with_training(accumulation=1)
        needs: dict[int, int] = {}

        def need(share: int) -> int:
            if share not in needs:
                needs[share] = unsliced.with_batch(share).memory.needed
            return needs[share]

        limit = unsliced.machine.limit
        first = max(1, self.share)
        low, high = 0, None
        guess = first
        other = 2 * first
        for _ in range(3 if self.deep else TRACES):
            if need(guess) <= limit:
                low = max(low, guess)
            else:
                high = guess if high is None else min(high, guess)
            if high is not None and high - low <= 1:
                break
            if len(needs) == 1:
                need(other)
                if needs[other] <= limit:
                    low = max(low, other)
                else:
                    high = other if high is None else min(high, other)
            guess = _along_line(needs, limit)
            if high is not None:
                guess = min(guess, high - 1)
            guess = min(max(guess, low + 1), MOST)
            if guess in needs or (high is None and low >= MOST):
                break
        if self.deep or (high is not None and high - low <= 1):
            return low if not self.deep else max(low, min(guess, (high or MOST + 1) - 1))
        return low

    def larger_model(self) -> tuple[float, Outlook] | None:
        """The factor of the width at which the largest model fits, and what it is; None where the family can't grow or nothing fits."""
        parts = self.memory.parts
        lasting = sum(parts.get(part, 0) for part in ("parameters", "gradients", "optimizer", "average", "best", "copies"))
        fixed = sum(parts.get(part, 0) for part in ("process", "inputs"))
        growing = self.memory.needed - lasting - fixed
        room = self.machine.limit - fixed
        if room <= 0 or lasting <= 0:
            return None
        factor = (-growing + math.sqrt(growing**2 + 4 * lasting * room)) / (2 * lasting)
        for _ in range(1 if self.deep else 4):
            try:
                model = self.subject.recipe.model.scaled(width=factor)
            except (InputError, NotImplementedError):
                return None
            grown = replace(self, subject=replace(self.subject, recipe=self.subject.recipe.replace(model=model)))
            if grown.fits:
                return factor, grown
            factor *= min(0.97, math.sqrt(self.machine.limit / grown.memory.needed))
        return None


def _along_line(needs: dict[int, int], limit: float) -> int:
    """Where the straight line through the two batches nearest to the limit reaches it."""
    (b1, m1), (b2, m2) = sorted(sorted(needs.items(), key=lambda pair: abs(pair[1] - limit))[:2])
    if m2 <= m1:
        return MOST
    return int(b1 + (limit - m1) * (b2 - b1) / (m2 - m1))


def check_layout(subject: Subject, layout: Layout) -> None:
    """See that a layout divides what it shares.

    Raises:
        InputError: it doesn't.
    """
    if subject.batch_size % layout.batches:
        raise InputError(
            f"a batch of {subject.batch_size} can't be divided evenly among {layout.batches} devices",
            remedy=f"Set training.batch_size to a multiple of {layout.batches}, such as {-(-subject.batch_size // layout.batches) * layout.batches}",
        )
    if layout.tensor == 1:
        return
    model = subject.recipe.model
    heads = getattr(model, "num_heads", None)
    if heads is None or subject.schema.kind != "text":
        raise InputError(f"the family {model.family} can't be shared tensor parallel", expected="attention over a text", remedy="Use data or sharded")
    for what, number in (("attention heads", heads), ("heads of keys and values", getattr(model, "num_kv_heads", None) or heads)):
        if number % layout.tensor:
            raise InputError(f"{number} {what} can't be divided among {layout.tensor} devices", where=f"layout tensor={layout.tensor}")


def best_layout(subject: Subject, machine: Machine, devices: int) -> Outlook:
    """The layout that fits and is fastest; if none fits, the one that needs least.

    Raises:
        InputError: none divides the batch.
    """
    node = machine.device.node if isinstance(machine, Accelerator) else devices
    shareable = subject.schema.kind == "text" and hasattr(subject.recipe.model, "num_heads")
    found: list[Outlook] = []
    problem: InputError | None = None
    for layout in likely_layouts(devices, node, shareable):
        try:
            found.append(Outlook(subject, machine, layout))
        except InputError as error:
            problem = problem or error
    if not found:
        assert problem is not None
        raise problem
    # Layouts that cut the batch alike share a trace, which is most of the work.
    traces: dict[int, Trace] = {}
    for outlook in found:
        outlook.__dict__["trace"] = traces.setdefault(outlook.share, traces.get(outlook.share) or outlook.trace)
    fitting = [outlook for outlook in found if outlook.fits]
    if fitting:
        return min(fitting, key=lambda outlook: outlook.seconds.value)
    return min(found, key=lambda outlook: outlook.memory.needed)
