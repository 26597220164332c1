"""The outlook: what a step of a recipe needs and takes on a machine, in a layout; and the search for what would fit better."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from modelwright.core.errors import InputError
from modelwright.planning.forecast import Memory
from modelwright.planning.layout import Layout, likely_layouts
from modelwright.planning.machine import Accelerator, Machine, Step
from modelwright.planning.range import Range
from modelwright.planning.trace import Trace, scaled_batch
from modelwright.workflows.tracing import DEEP, Subject

MOST = 1 << 22
"""Examples of the largest batch that is looked for."""
FEWEST_BLOCKS = 4
"""Into which a network without blocks is taken to fall, where gradients are exchanged while others are still computed."""
TRACES = 8
"""Traces that a search may take."""
FARTHEST = 16
"""How many times as far as the known ones the next one lies at most."""


@dataclass(frozen=True)
class Outlook:
    """A subject on a machine.

    Attributes:
        subject: what is trained.
        machine: one of the devices.
        layout: how they share the work.
        known: the trace, where it needs not be made; for this subject and layout only.
    """

    subject: Subject
    machine: Machine
    layout: Layout
    known: Trace | None = None

    def __post_init__(self) -> None:
        check_layout(self.subject, self.layout)

    @property
    def share(self) -> int:
        """Examples of a step that one device gets."""
        return self.subject.batch_size // self.layout.batches

    @cached_property
    def trace(self) -> Trace:
        """Of one device with the whole model."""
        return self.known or self.subject.trace(self.share)

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
            blocks=max(subject.depth, FEWEST_BLOCKS),
            micro_batches=slices,
            kept=4 * subject.count.total_parameters if subject.recipe.data.validation else 0,
            compiled=self.compiled,
        )

    @cached_property
    def memory(self) -> Memory:
        """Of a device."""
        return self.machine.memory(self.step, self.layout)

    @cached_property
    def seconds(self) -> Range:
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
        return self.with_training(batch_size=share * self.layout.batches)

    def with_training(self, **settings: object) -> Outlook:
        """The same with other settings of training."""
        return replace(self, subject=self.subject.with_training(**settings), known=None)

    def with_layout(self, layout: Layout) -> Outlook:
        """The same in another layout."""
        return replace(self, layout=layout, known=None)

    def nearly(self, layout: Layout) -> Outlook:
        """About the same in another layout, told by this one's trace."""
        other = self.with_layout(layout)
        return replace(other, known=scaled_batch(self.trace, other.share / self.share))

    @property
    def device_seconds(self) -> float:
        """Seconds of all devices that an example takes: what it costs."""
        return self.layout.devices / self.samples_per_second

    @property
    def dear(self) -> bool:
        """Whether a trace takes so long, of a deep network or a compiled one, that no search should make many."""
        return self.subject.depth > DEEP or self.compiled

    @property
    def compiled(self) -> bool:
        """Whether the network is compiled for certain."""
        return self.subject.recipe.training.compile is True

    def largest_batch(self) -> int:
        """The most examples a device that fit, 0 if none does; found by tracing, without allocating anything."""
        whole = self.with_training(accumulation=1)
        limit = whole.machine.limit
        if self.dear:
            # Tracing is dear: what was traced is scaled, and the guess seen to.
            guess = _search(lambda share: whole._about(share).needed, self.share, limit, 64)
            while guess and (needed := whole.with_batch(guess).memory.needed) > limit:
                guess = int(0.97 * guess * limit / needed)
            return guess
        return _search(lambda share: whole.with_batch(share).memory.needed, self.share, limit, TRACES)

    def _about(self, share: int) -> Memory:
        """The memory of another batch, from the trace of this one."""
        slices = min(self.subject.recipe.training.accumulation, self.share)
        return self.machine.memory(self._step(scaled_batch(self.trace, share * slices / self.share), share), self.layout)

    def larger_model(self) -> tuple[float, Outlook] | None:
        """The factor of the width at which the largest model fits, and what it is; None where the family can't grow or nothing fits.

        Where traces are dear it is told by proportion, and a little on the safe side.
        """
        parts = self.memory.parts
        square = sum(parts.get(part, 0) for part in ("parameters", "gradients", "optimizer", "average", "best", "copies"))
        straight = sum(parts.get(part, 0) for part in ("activations", "logits", "workspace", "gathered"))
        # What is left doesn't grow with the width.
        room = self.machine.limit - (self.memory.needed - square - straight)
        if room <= 0 or square <= 0 or room == math.inf:
            return None
        factor = (-straight + math.sqrt(straight**2 + 4 * square * room)) / (2 * square)
        best: tuple[float, Outlook] | None = None
        factor *= 0.97 if self.dear else 1
        for _ in range(5):
            try:
                model = self.subject.recipe.model.scaled(width=factor)
                grown = replace(self, subject=replace(self.subject, recipe=self.subject.recipe.replace(model=model)), known=None)
                if self.dear:
                    return factor, grown
                needed = grown.memory.needed
            except (InputError, NotImplementedError):
                return best
            if needed <= self.machine.limit and (best is None or factor > best[0]):
                best = factor, grown
            if best is not None and needed > 0.97 * self.machine.limit:
                break
            fixed = self.memory.needed - square - straight
            factor *= 0.99 * math.sqrt(room / max(1.0, needed - fixed))
        return best


def _search(need: Callable[[int], float], first: int, limit: float, tries: int) -> int:
    """The largest number, up to `MOST`, that needs no more than the limit; need grows about in a straight line.

    Args:
        need: of a number.
        first: where to begin.
        limit: of need.
        tries: after which the largest number is given that was seen to need no more.
    """
    if limit == math.inf:
        return MOST
    needs: dict[int, float] = {}
    low, high, guess = 0, MOST + 1, max(1, first)
    while len(needs) < tries and high - low > 1:
        needs[guess] = need(guess)
        low, high = (guess, high) if needs[guess] <= limit else (low, guess)
        guess = min(max(_next_guess(needs, low, high, limit), low + 1), high - 1)
    return low


def _next_guess(needs: dict[int, float], low: int, high: int, limit: float) -> int:
    """Where the straight line through the two known needs next to the limit meets it; never far beyond what is known, as small needs hardly grow."""
    known = sorted(needs)
    if len(known) == 1:
        return 2 * low if low else high // 2
    one, other = (low, high) if low and high in needs else known[-2:] if low else known[:2]
    if needs[other] <= needs[one]:
        return FARTHEST * low if low else high // FARTHEST
    guess = int(one + (limit - needs[one]) * (other - one) / (needs[other] - needs[one]))
    return min(max(guess, high // FARTHEST if high in needs else 0), FARTHEST * low if low else high)


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
    if not shares_products(subject):
        raise InputError(
            f"the family {model.family} can't be shared tensor parallel", expected="attention over a text", remedy="Use data or sharded"
        )
    heads = model.num_heads
    for what, number in (("attention heads", heads), ("heads of keys and values", getattr(model, "num_kv_heads", None) or heads)):
        if number % layout.tensor:
            raise InputError(f"{number} {what} can't be divided among {layout.tensor} devices", where=f"layout tensor={layout.tensor}")


def shares_products(subject: Subject) -> bool:
    """Whether the network can be shared tensor parallel."""
    return subject.schema.kind == "text" and subject.recipe.model.tensor_parallel


def best_layout(subject: Subject, machine: Machine, devices: int) -> Outlook:
    """The layout that fits and is fastest; if none fits, the one that needs least.

    Raises:
        InputError: none divides the batch.
    """
    node = machine.device.node if isinstance(machine, Accelerator) else devices
    found: list[Outlook] = []
    problem: InputError | None = None
    for layout in likely_layouts(devices, node, shares_products(subject)):
        try:
            found.append(Outlook(subject, machine, layout))
        except InputError as error:
            problem = problem or error
    if not found:
        assert problem is not None
        raise problem
    # Layouts that cut the batch alike share a trace, which is most of the work; of a deep network others are told by it.
    traces: dict[int, Trace] = {}
    for place, outlook in enumerate(found):
        if outlook.share not in traces:
            near = next(iter(traces), None)
            traces[outlook.share] = outlook.trace if near is None or not outlook.dear else scaled_batch(traces[near], outlook.share / near)
        found[place] = replace(outlook, known=traces[outlook.share])
    fitting = [outlook for outlook in found if outlook.fits]
    chosen = min(fitting, key=lambda outlook: outlook.seconds.value) if fitting else min(found, key=lambda outlook: outlook.memory.needed)
    return chosen if chosen.share == found[0].share else Outlook(subject, machine, chosen.layout)
