"""Initialization: one table of standard deviations by role, and the walk that fills a network from a seed.

A network is built on the meta device, allocated, and filled here. A module of PyTorch is known by its type; its role in the table is a mark
made by `with_role`. A module that owns raw parameters or computed buffers has a method `initialize(fill)` that fills these and no others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from modelwright.core.errors import InputError
from modelwright.core.randomness import generator

M = TypeVar("M", bound=nn.Module)


class Row(NamedTuple):
    """How large the random weights of one role are.

    Attributes:
        std: the standard deviation as a function of (fan_in, fan_out).
        source: where that comes from.
    """

    std: Callable[[int, int], float]
    source: str


TABLE: dict[str, Row] = {
    # A layer is named by what follows it. The gain keeps the second moment of a signal: gain² = 1 / E[f(z)²], z standard normal.
    "linear": Row(lambda fan_in, _: 1 / math.sqrt(fan_in), "LeCun et al. 1998, Efficient BackProp, section 4.6"),
    "relu": Row(lambda fan_in, _: math.sqrt(2 / fan_in), "He et al. 2015, Delving Deep into Rectifiers, equation 10"),
    "gelu": Row(lambda fan_in, _: 1.5335 / math.sqrt(fan_in), "as relu, with E[gelu(z)²] = 0.4252"),
    "silu": Row(lambda fan_in, _: 1.6765 / math.sqrt(fan_in), "as relu, with E[silu(z)²] = 0.3558"),
    "tanh": Row(lambda fan_in, _: 1.5925 / math.sqrt(fan_in), "as relu, with E[tanh(z)²] = 0.3943"),
    "gates": Row(lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out)), "Glorot and Bengio 2010, equation 12; of each gate"),
    "recurrent": Row(lambda fan_in, _: 1 / math.sqrt(fan_in), "orthogonal, of each gate; Saxe et al. 2014"),
    "embedding": Row(lambda _, fan_out: 1 / math.sqrt(fan_out), "a row of norm 1"),
    "position": Row(lambda _, __: 1.0, "as large as what it is added to; sinusoids have 0.71"),
    "token": Row(
        lambda _, fan_out: 0.5 / math.sqrt(fan_out),
        "as it scores tokens too: with a normed state the scores deviate by 1/2, so that the first loss is ln V + 1/8; "
        "0.018 at a width of 768, where Radford et al. 2019 have 0.02",
    ),
    "score": Row(lambda fan_in, _: 0.5 / math.sqrt(fan_in), "as token, read the other way round"),
    "output": Row(lambda fan_in, _: 1 / math.sqrt(fan_in), "as linear"),
}
"""Standard deviations by role. Biases start at 0 and the scales of norms at 1, but for the forget gate of an LSTM."""

FORGET_GATE_BIAS = 1.0
"""An LSTM remembers at first (Jozefowicz et al. 2015, section 2.2)."""


class Fill:
    """Fills the tensors of one module; each draw depends on the seed, the module's path and its number only."""

    def __init__(self, seed: int, path: str) -> None:
        self._seed, self._path, self._draws = seed, path, 0

    def __call__(self, tensor: Tensor, role: str, *, fan_in: int, fan_out: int = 1, scale: float = 1.0) -> None:
        """Draw `tensor` from a normal distribution with `scale` times the standard deviation of `role`."""
        std = scale * TABLE[role].std(fan_in, fan_out)
        tensor.copy_(torch.empty(tensor.shape).normal_(0, std, generator=self._next()))

    def orthogonal(self, tensor: Tensor) -> None:
        """Draw a square `tensor` (D, D) as a random rotation."""
        tensor.copy_(nn.init.orthogonal_(torch.empty(tensor.shape), generator=self._next()))

    def _next(self) -> torch.Generator:
        self._draws += 1
        return generator(self._seed, "initialization", self._path, self._draws)


class Draw(NamedTuple):
    """What is drawn for a parameter.

    Attributes:
        std: the standard deviation.
        fan_in: how many numbers are summed up with these weights.
        scale: the factor of its module in `std`.
    """

    std: float
    fan_in: int
    scale: float = 1.0


class _Noted(Fill):
    """Draws nothing and notes what would be drawn, by the memory that a tensor and its parts share."""

    def __init__(self) -> None:
        super().__init__(0, "")
        self.draws: dict[int, Draw] = {}

    def __call__(self, tensor: Tensor, role: str, *, fan_in: int, fan_out: int = 1, scale: float = 1.0) -> None:
        draw = Draw(scale * TABLE[role].std(fan_in, fan_out), fan_in, scale)
        self.draws.setdefault(tensor.untyped_storage()._cdata, draw)

    def orthogonal(self, tensor: Tensor) -> None:
        self(tensor, "recurrent", fan_in=tensor.shape[1])


class Unfilled(Fill):
    """Draws nothing, for parameters that are read from a file at once; what is computed and not drawn is filled by its module."""

    def __call__(self, tensor: Tensor, role: str, *, fan_in: int, fan_out: int = 1, scale: float = 1.0) -> None:
        """Leave `tensor` as it is."""

    def orthogonal(self, tensor: Tensor) -> None:
        """Leave `tensor` as it is."""


@runtime_checkable
class SelfFilling(Protocol):
    """A module with parameters or computed buffers of its own."""

    def initialize(self, fill: Fill) -> None:
        """Fill the tensors that belong to this very module, in place."""
        ...


def with_role(module: M, role: str, *, scale: float = 1.0) -> M:
    """Mark a linear or convolution module for the table, and return it.

    Args:
        module: an `nn.Linear` or `nn.Conv2d`.
        role: a row of `TABLE`.
        scale: factor on the standard deviation, such as 1/√(number of residual branches).
    """
    assert role in TABLE, role
    module.role, module.role_scale = role, scale  # type: ignore[assignment]
    return module


def ending_branch(module: M, *parameters: str) -> M:
    """Mark a module whose output a residual stream takes up, and return it.

    Args:
        module: the last one of a branch that has parameters.
        parameters: names of those that scale what it gives; none are all of its own.
    """
    module.ends_branch = parameters or tuple(name for name, _ in module.named_parameters(recurse=False))  # type: ignore[assignment]
    return module


def branch_ends(module: nn.Module) -> dict[str, tuple[str, ...]]:
    """The modules below `module` that end a residual branch: the path of each, and the names of the parameters that scale what it gives."""
    found: dict[str, tuple[str, ...]] = {}
    for path, part in module.named_modules():
        if parameters := getattr(part, "ends_branch", ()):
            found[path] = tuple(f"{path}.{name}" if path else name for name in parameters)
    return found


@torch.no_grad()
def draws(module: nn.Module) -> dict[str, Draw]:
    """What `init_weights` would draw, by the parameter's name; what it would set to a constant is left out.

    Args:
        module: on the meta device. Parameters of modules that don't say how they start are left out too.
    """
    assert all(parameter.is_meta for parameter in module.parameters()), "noting must touch no weights"
    noted = _Noted()
    for path, part in module.named_modules():
        if _starts(part):
            _init_part(part, path, noted)
    memory = {name: parameter.untyped_storage()._cdata for name, parameter in module.named_parameters()}
    return {name: noted.draws[place] for name, place in memory.items() if place in noted.draws}


@torch.no_grad()
def init_weights(module: nn.Module, seed: int | None) -> None:
    """Fill every parameter and buffer below `module`, in place, from `seed` alone; with None nothing is drawn, and weights are still to be read.

    Raises:
        InputError: a module has tensors of its own and doesn't say how they start.
    """
    for path, part in module.named_modules():
        _init_part(part, path, Unfilled(0, path) if seed is None else Fill(seed, path))


def _starts(part: nn.Module) -> bool:
    """Whether it is known how a module's own parameters start."""
    return isinstance(part, SelfFilling | nn.Linear | nn.Conv2d | nn.Embedding | nn.RNNBase)


def _init_part(part: nn.Module, path: str, fill: Fill) -> None:
    if isinstance(part, SelfFilling):
        part.initialize(fill)
    elif isinstance(part, nn.Linear | nn.Conv2d):
        receptive = math.prod(part.weight.shape[2:])
        fan_in, fan_out = part.weight.shape[1] * receptive, part.weight.shape[0] * receptive
        fill(part.weight, getattr(part, "role", "linear"), fan_in=fan_in, fan_out=fan_out, scale=getattr(part, "role_scale", 1.0))
        if part.bias is not None:
            part.bias.zero_()
    elif isinstance(part, nn.Embedding):
        fill(part.weight, "embedding", fan_in=part.num_embeddings, fan_out=part.embedding_dim)
    elif isinstance(part, nn.RNNBase):
        _init_recurrent(part, fill)
    elif isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm | nn.RMSNorm):
        part.reset_parameters()
    elif next(part.parameters(recurse=False), None) is not None or next(part.buffers(recurse=False), None) is not None:
        raise InputError(
            f"the module {path or 'at the root'} of type {type(part).__name__} doesn't say how its weights start",
            remedy="Give it a method initialize(fill) that fills its own parameters and buffers",
        )


def _init_recurrent(part: nn.RNNBase, fill: Fill) -> None:
    """Gates lie below each other in a weight (gates * D, ...); the forget gate is the second of an LSTM's four."""
    for name, parameter in part.named_parameters(recurse=False):
        gates = parameter.split(part.hidden_size)
        for gate in gates:
            if name.startswith("weight_ih"):
                fill(gate, "gates", fan_in=gate.shape[1], fan_out=gate.shape[0])
            elif name.startswith("weight_hh"):
                fill.orthogonal(gate)
            else:
                gate.zero_()
        if isinstance(part, nn.LSTM) and name.startswith("bias_ih"):
            gates[1].fill_(FORGET_GATE_BIAS)
