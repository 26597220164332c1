"""Forecasts of a training step: memory by part and seconds, from its trace, the machine and the layout."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from modelwright.planning.devices import Device
from modelwright.planning.layout import Layout
from modelwright.planning.trace import PARTS, Blocks, Operation, Trace, Work, bytes_by_part

SHARED_BY_SHARDS = ("parameters", "gradients", "optimizer", "average")
"""Parts of memory that shards of a model divide among them."""
MEMORY_REACHED = 0.8
"""Share of an accelerator's memory bandwidth that elementwise kernels reach."""
LAUNCH_SECONDS = 8e-6
"""What Python and PyTorch need for a kernel; an accelerator waits where its kernels are shorter."""
WORKSPACE = 8_519_680
"""Bytes that cuBLAS keeps for itself, PyTorch's default of `CUBLAS_WORKSPACE_CONFIG`; on Hopper and later 32 MiB."""
CONTEXT = 600e6
"""Bytes of an accelerator's memory that its driver and kernels take."""
FRAGMENTS = 0.03
"""Share of what is allocated that a caching allocator keeps beside it."""
TRANSFER_HIDDEN = 0.9
"""Share of computing behind which an exchange can hide."""
SPREAD = 0.2
"""Relative half-width of the interval of an accelerator's seconds, where nothing was measured there."""


@dataclass(frozen=True)
class Memory:
    """Bytes of a device at the moment when most is used.

    Attributes:
        parts: by what they are for; their sum is `peak`.
        reserve: what the allocator and the driver take beside that, on an accelerator.
        saving: bytes that saving a checkpoint takes on top of what is there between two steps, in the process's own memory.
        evaluating: bytes at the moment of an evaluation when most is used.
        aside: bytes at the moment when most is used outside of steps, on this device.
        mapped: whether large blocks must be mapped one by one so that it fits, as the gaps of a heap would take too much.
    """

    parts: dict[str, int]
    reserve: int = 0
    saving: int = 0
    evaluating: int = 0
    aside: int = 0
    mapped: bool = False

    @property
    def peak(self) -> int:
        """All parts together."""
        return sum(self.parts.values())

    @property
    def needed(self) -> int:
        """What a device must have."""
        return max(self.peak + self.reserve, self.aside)

    @property
    def largest(self) -> str:
        """The part that takes most."""
        return max(self.parts, key=lambda part: self.parts[part])

    def plus(self, part: str, size: float) -> Memory:
        """The same with more of a part."""
        return replace(self, parts={**self.parts, part: self.parts.get(part, 0) + round(size)})


def divide(trace: Trace, layout: Layout, *, stream: int, unit: int, item: int) -> dict[str, int]:
    """Bytes by part of one device of a layout, at its worst moment.

    Args:
        trace: of a step on one device that has the whole model, with the share of the batch that a device gets.
        layout: the devices.
        stream: elements of what goes from block to block, which all devices of a tensor parallel group have whole.
        unit: parameters of the largest part that is gathered at once.
        item: bytes of a number in computing.
    """
    phases = [_divided(blocks, layout, stream, unit, item) for blocks in trace.memory.values()]
    return max(phases, key=lambda parts: sum(parts.values()))


def _divided(blocks: Blocks, layout: Layout, stream: int, unit: int, item: int) -> dict[str, int]:
    if layout.holders == 1:
        return {**bytes_by_part(blocks)}
    shared: Counter[str] = Counter(dict.fromkeys(PARTS, 0))
    for (part, size), number in blocks.items():
        total = size * number
        if part in SHARED_BY_SHARDS:
            total = -(-total // layout.holders)
        elif part == "copies":
            # In the format of computing there is only what is gathered.
            total = 0 if layout.sharded > 1 else total // layout.tensor
        elif layout.tensor > 1 and size > 4 * stream:
            total //= layout.tensor
        shared[part] += total
    if layout.sharded > 1:
        # One unit is used while the next one comes, and in the backward pass its gradient waits to be given away.
        shared["gathered"] = 2 * unit * item // layout.tensor + 4 * unit // layout.tensor
    return dict(shared)


def accelerator_seconds(trace: Trace, device: Device, layout: Layout) -> float:
    """What a step's kernels take on a device: each as long as its FLOPs or its bytes take, whichever is more (Williams et al. 2009, Roofline)."""
    total = sum(_roofline(kind, work, device) for kind, work in trace.work.items()) / layout.tensor
    return max(total, LAUNCH_SECONDS * sum(work.calls for work in trace.work.values()))


def _roofline(kind: Operation, work: Work, device: Device) -> float:
    # Causal attention leaves out half of what is counted here, and its kernels reach about half of what plain products do (Dao 2023,
    # FlashAttention-2, section 4.1): together as if all were computed.
    moving = (work.read + work.written) / (MEMORY_REACHED * 1e9 * device.bandwidth)
    return max(work.flops / (device.efficiency * device.peak(kind.dtype)), moving)


def with_exchange(computing: float, hidden: float, waited: float, blocks: int) -> float:
    """Seconds of a step in which devices compute so long, and exchange what `exchange_seconds` says; what the last block gives is seen by all."""
    return computing + waited + max(hidden - TRANSFER_HIDDEN * computing, hidden / blocks)


def with_update_share(trace: Trace, share: float) -> Trace:
    """The trace with only a share of the update's work, as of a device that updates a shard."""
    return replace(trace, work={kind: work * share if kind.phase == "update" else work for kind, work in trace.work.items()})


def accelerator_memory(parts: dict[str, int]) -> Memory:
    """The memory of an accelerator: what PyTorch allocates, its blocks rounded, and what it reserves beside."""
    # Nothing is resident there that wasn't allocated, and all that was.
    kept = {part: size for part, size in parts.items() if part != "untouched"}
    memory = Memory(kept).plus("workspace", WORKSPACE + parts.get("untouched", 0))
    return replace(memory, reserve=round(CONTEXT + FRAGMENTS * memory.peak))
