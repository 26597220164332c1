"""The trace of a training step: every operation with its FLOPs and bytes, and what lies in memory when.

The step is the real one, on tensors without values (PyTorch's fake tensors): what autograd saves, what autocast copies and what an optimizer keeps
is seen, not modeled, whatever the family. With values, the same recorder times every kernel, which is how a machine's profile is made.
"""

from __future__ import annotations

import weakref
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry

from modelwright.planning.kernels import FLOPS, recurrent_workspace

Phase = Literal["forward", "backward", "update"]
Part = Literal[
    "parameters", "buffers", "inputs", "gradients", "optimizer", "average", "copies", "activations", "logits", "workspace", "untouched"
]
PARTS: tuple[Part, ...] = get_args(Part)
"""What memory is used for. `activations`: what the forward pass leaves for the backward pass; `logits`: that and what else is made from the
head on; `average`: the averaged weights; `copies`: weights in the format of autocast; `workspace`: everything else, gradients of activations above all;
`untouched`: what kernels ask for and don't write to, which takes memory only where something else was before."""
Blocks = Counter[tuple[Part, int]]
"""How many blocks of memory there are, by what they are for and how many bytes each has."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A kind of operation: a kernel on tensors of given shapes.

    Attributes:
        name: of PyTorch's operator, without `aten::`; with `causal` where it leaves out half of what it could do.
        phase: of the step.
        dtype: of what it gives, such as `float32`; `bfloat16` if anything that goes in or out is in that.
        shapes: of the tensors that it reads; of lists of tensors none, as these differ in length only.
    """

    name: str
    phase: Phase
    dtype: str
    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Work:
    """What operations do together.

    Attributes:
        calls: how many there are.
        flops: floating-point operations of products of matrices and convolutions, a multiply and an add being two; 0 for all others.
        read: bytes of the tensors that go in.
        written: bytes of those that come out or are changed.
        seconds: measured; 0 where nothing was.
    """

    calls: float = 0
    flops: float = 0
    read: float = 0
    written: float = 0
    seconds: float = 0

    def __add__(self, other: Work) -> Work:
        return Work(
            self.calls + other.calls,
            self.flops + other.flops,
            self.read + other.read,
            self.written + other.written,
            self.seconds + other.seconds,
        )

    def __mul__(self, factor: float) -> Work:
        return Work(self.calls * factor, self.flops * factor, self.read * factor, self.written * factor, self.seconds * factor)


@dataclass(frozen=True)
class Trace:
    """What a step does and needs.

    Attributes:
        work: by kind of operation.
        memory: for each phase the blocks at the moment when most is used.
        allocated: bytes of all blocks that come in a step, however soon they go.
    """

    work: dict[Operation, Work] = field(default_factory=dict)
    memory: dict[Phase, Blocks] = field(default_factory=dict)
    allocated: float = 0

    @property
    def flops(self) -> float:
        """Of the whole step; recomputed ones count again."""
        return sum(work.flops for work in self.work.values())

    @property
    def peak(self) -> Blocks:
        """The blocks at the moment when most of all is used."""
        return max(self.memory.values(), key=total_bytes)

    @property
    def touched_peak(self) -> Blocks:
        """The same without blocks that nothing writes to."""
        written = [Counter({key: number for key, number in blocks.items() if key[0] != "untouched"}) for blocks in self.memory.values()]
        return max(written, key=total_bytes)

    def towards(self, other: Trace, factor: float) -> Trace:
        """What lies `factor` times as far from this trace as `other` does, along a straight line: of a deeper network, from two shallow ones."""
        nothing = Work()
        kinds = {**self.work, **other.work}
        work = {kind: self.work.get(kind, nothing) * (1 - factor) + other.work.get(kind, nothing) * factor for kind in kinds}
        memory: dict[Phase, Blocks] = {}
        for phase, blocks in self.memory.items():
            more = other.memory[phase]
            memory[phase] = Counter({key: max(0, round(blocks[key] + factor * (more[key] - blocks[key]))) for key in {**blocks, **more}})
        return Trace(work, memory, self.allocated + factor * (other.allocated - self.allocated))


def scaled_batch(trace: Trace, factor: float) -> Trace:
    """About the trace of a batch `factor` times as large: weights, gradients and their update stay, all else grows."""
    lasting = {"parameters", "buffers", "gradients", "optimizer", "average", "copies"}
    memory: dict[Phase, Blocks] = {}
    for phase, blocks in trace.memory.items():
        grown: Blocks = Counter()
        for (part, size), number in blocks.items():
            grown[part, size if part in lasting else round(size * factor)] += number
        memory[phase] = grown
    work = {
        kind: each
        if kind.phase == "update"
        else replace(each, flops=each.flops * factor, read=each.read * factor, written=each.written * factor)
        for kind, each in trace.work.items()
    }
    return Trace(work, memory, trace.allocated * factor)


def typical(traces: list[Trace]) -> Trace:
    """The last of several traces of the same step, with the median of their seconds by kind of operation."""
    last = traces[-1]
    work = {
        kind: replace(each, seconds=median([trace.work[kind].seconds for trace in traces if kind in trace.work]))
        for kind, each in last.work.items()
    }
    return replace(last, work=work)


def total_bytes(blocks: Blocks) -> int:
    """Bytes of all blocks together."""
    return sum(size * number for (_, size), number in blocks.items())


def bytes_by_part(blocks: Blocks) -> dict[Part, int]:
    """Bytes of the blocks, by what they are for."""
    parts: dict[Part, int] = dict.fromkeys(PARTS, 0)
    for (part, size), number in blocks.items():
        parts[part] += size * number
    return parts


class Recorder(TorchDispatchMode):
    """Records operations, and the life of every block of memory, while it is active.

    Args:
        clock: seconds; with it every kernel is timed, which on a CPU runs to its end.

    Attributes:
        phase: to be set by who runs the step.
        part: what new blocks are for, if they are for anything in particular.
        timed: whether there is a clock.
    """

    supports_higher_order_operators = True

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        super().__init__()
        self.phase: Phase = "forward"
        self.part: Part | None = None
        self.timed = clock is not None
        self._clock = clock or (lambda: 0.0)
        self._work: dict[Operation, Work] = defaultdict(Work)
        self._live: dict[int, _Block] = {}
        self._events: list[tuple[_Block, bool, Phase]] = []
        self._before: set[_Block] = set()
        self._divided: dict[int, tuple[_Block, _Block]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        began = self._clock()
        out = func(*args, **kwargs)
        seconds = self._clock() - began
        if func is torch.ops.prim.device.default:
            return out
        if not isinstance(func, HigherOrderOperator):
            self._watch(func, args, kwargs, out, seconds)
        elif func.name() == "run_and_save_rng_state":
            # The compiler's way to draw the same at random in both passes.
            self._watch(args[0], args[1:], kwargs, out[1], seconds)
        elif func.name() == "run_with_rng_state":
            self._watch(args[1], args[2:], kwargs, out, seconds)
        else:
            raise NotImplementedError(f"nothing is known of {func.name()}")
        return out

    def _watch(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, seconds: float) -> None:
        inputs, outputs = _tensors((args, kwargs)), _tensors(out)
        known = {_key(tensor) for tensor in inputs}
        made = [tensor for tensor in outputs if _key(tensor) not in known]
        if func is torch.ops.aten.mkldnn_rnn_layer_backward.default:
            whole, _, touched = recurrent_workspace(args[0], args[2])
            self._divide(args[-1], whole, touched)
        copies = func is torch.ops.aten._to_copy.default and inputs and self._part_of(inputs[0]) == "parameters"
        for tensor in made:
            self._see(tensor, "copies" if copies else self.part)
        if func is torch.ops.aten.mkldnn_rnn_layer.default:
            # Its memory between the passes, of which fake tensors know nothing.
            self._live[_key(outputs[3])].size = 0
            self._divide(outputs[3], *recurrent_workspace(args[0], args[2])[:2])
        written = _changed(func, args, kwargs) if func._schema.is_mutable else made
        if written and func is not torch.ops.aten.empty_strided.default:
            self._note(func, args, kwargs, out, inputs, written, seconds)

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """What the compiler does is none of the step; what it makes is."""
        return True

    def note_made(self, name: str, read: list[Tensor], written: list[Tensor]) -> None:
        """Record a kernel, or a part of its work, that the compiler makes of several operations, none of which multiplies matrices."""
        self._add(name, 0, read, written, 0.0)
        weights = {tensor.numel() for tensor in read if self._part_of(tensor) == "parameters"}
        self.own((tensor for tensor in written if tensor.dtype == torch.bfloat16 and tensor.numel() in weights), "copies")

    def own(self, tensors: Iterable[Tensor], part: Part) -> None:
        """Count the blocks of these tensors as a part, also if they were there before."""
        for tensor in tensors:
            self._see(tensor, part).part = part

    def forget(self) -> None:
        """Begin anew with what is in memory now."""
        self._work.clear()
        self._before = set(self._live.values())
        self._divided.clear()
        self._events = [(block, True, self.phase) for block in self._live.values()]

    def trace(self) -> Trace:
        """What has been recorded."""
        for block, comes, phase in self._events:
            if not comes and block.born == "forward" != phase and block.part is None:
                block.part = "activations"
        memory: dict[Phase, Blocks] = {}
        most: dict[Phase, int] = {}
        now: Blocks = Counter()
        used = allocated = 0
        for block, comes, phase in self._events:
            now[block.part or "workspace", block.size] += 1 if comes else -1
            used += block.size if comes else -block.size
            allocated += block.size if comes and block not in self._before else 0
            if used > most.get(phase, -1):
                most[phase] = used
                memory[phase] = now
                now = now.copy()
        return Trace(dict(self._work), {phase: +blocks for phase, blocks in memory.items()}, allocated)

    def _divide(self, tensor: Tensor, whole: int, touched: int) -> None:
        """From now on, so many bytes of a block of `whole` bytes are written to, and the others aren't."""
        key = _key(tensor)
        self._end_division(key, again=True)
        pair = self._divided[key] = _Block(touched, "forward", "activations"), _Block(max(0, whole - touched), "forward", "untouched")
        for block in pair:
            self._events.append((block, True, self.phase))

    def _end_division(self, key: int, *, again: bool = False) -> None:
        for block in (pair := self._divided.pop(key, ())):
            self._events.append((block, False, self.phase))
        if again:
            # What it was is allocated once.
            self._before.update(pair)

    def _see(self, tensor: Tensor, part: Part | None) -> _Block:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._live:
            block = self._live[key] = _Block(storage.nbytes(), self.phase, part)
            self._events.append((block, True, self.phase))
            weakref.finalize(storage, self._let_go, key)
        return self._live[key]

    def _part_of(self, tensor: Tensor) -> Part | None:
        block = self._live.get(_key(tensor))
        return None if block is None else block.part

    def _let_go(self, key: int) -> None:
        self._end_division(key)
        self._events.append((self._live.pop(key), False, self.phase))

    def _note(self, func: Any, args: Any, kwargs: Any, out: Any, inputs: list[Tensor], written: list[Tensor], seconds: float) -> None:
        name = func.overloadpacket._qualified_op_name.removeprefix("aten::")
        formula = flop_registry.get(func.overloadpacket)
        flops = formula(*args, **kwargs, out_val=out) if formula else FLOPS[name](*args) if name in FLOPS else 0
        if name.startswith("_scaled_dot_product") and any(argument is True for argument in args):
            name += " causal"
        in_lists = any(isinstance(argument, list | tuple) and argument and isinstance(argument[0], Tensor) for argument in args)
        self._add(name, flops, inputs, written, seconds, shaped=not in_lists)

    def _add(self, name: str, flops: float, read: list[Tensor], written: list[Tensor], seconds: float, *, shaped: bool = True) -> None:
        shapes = tuple(tuple(tensor.shape) for tensor in read) if shaped else ()
        dtype = torch.bfloat16 if any(tensor.dtype == torch.bfloat16 for tensor in (*read, *written)) else written[0].dtype
        kind = Operation(name, self.phase, str(dtype).removeprefix("torch."), shapes)
        self._work[kind] += Work(1, flops, sum(map(_bytes, read)), sum(map(_bytes, written)), seconds)


@dataclass(eq=False, slots=True)
class _Block:
    """A block of memory: its size in bytes, the phase in which it was made, and what it is for."""

    size: int
    born: Phase
    part: Part | None


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_iter(tree) if isinstance(leaf, Tensor)]


def _changed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors that an operation writes into."""
    changed: list[Tensor] = []
    for number, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            changed += _tensors(kwargs.get(argument.name) if argument.kwarg_only else args[number] if number < len(args) else None)
    return changed


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _bytes(tensor: Tensor) -> int:
    """What must be moved to go through a tensor once."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
