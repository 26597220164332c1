"""The maximal update parametrization (muP): what each parameter of a network needs, so that hyperparameters tuned on a smaller one hold.

Nothing is known of names. A network is compared with its base, parameter by parameter, both on the meta device: which sizes grew says whether a
parameter is an input, hidden or output one, and the growth of its fan-in and fan-out says by how much its initial weights, learning rate, weight
decay and epsilon change. All of it goes into initial weights and parameter groups (the equivalence of Yang et al. 2022, Tensor Programs V,
lemma J.1), so that the trained network is a plain one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

from torch import Tensor, nn

from modelwright.core.errors import InputError
from modelwright.nn.initialization import Draw, branch_ends, draws

Role = Literal["input", "hidden", "output", "fixed"]

_WRAPPINGS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")


class Growth(NamedTuple):
    """How a parameter grew from the base network.

    Attributes:
        fan_in: factor of how many numbers are summed up with these weights; 1 where none are, as with biases, norms and embeddings.
        fan_out: factor of its other sizes.
        multiplier: factor of the number by which the forward pass multiplies it.
        branches: factor of the number of residual branches, where it scales what one of them gives; else 1.
        initial: factor of the initial weights, over what they would be otherwise.
        base_shape: in the base network.
    """

    fan_in: float = 1.0
    fan_out: float = 1.0
    multiplier: float = 1.0
    branches: float = 1.0
    initial: float = 1.0
    base_shape: tuple[int, ...] = ()

    @property
    def role(self) -> Role:
        """What grows: only what it gives (`input`; biases and norms too), only what it sums up (`output`), both, or nothing."""
        if self.fan_in == self.fan_out == 1:
            return "fixed"
        return "input" if self.fan_in == 1 else "output" if self.fan_out == 1 else "hidden"


Growths = Mapping[str, Growth]
"""By the parameter's name."""


class Factors(NamedTuple):
    """Of a parameter's learning rate, weight decay and epsilon."""

    learning_rate: float = 1.0
    weight_decay: float = 1.0
    epsilon: float = 1.0


def plain_name(name: str) -> str:
    """A parameter's name without what compiling, sharding, checkpointing and data-parallel wrappers add."""
    for wrapping in _WRAPPINGS:
        name = name.replace(wrapping, "")
    return name.removeprefix("module.")


def adam_factors(growth: Growth, *, decoupled: bool) -> Factors:
    """For optimizers whose steps don't depend on the gradient's size: Adam, AdamW, RMSprop.

    A learning rate like 1 / fan-in (Yang et al. 2022, table 3), and like 1 / branches where a branch ends (Dey et al. 2025, CompleteP, table 1).
    Decoupled weight decay grows as the rate falls, so that a step shrinks weights by the same share (Wang and Aitchison 2024, section 4); a
    penalty keeps its share of the gradient, and so does epsilon (Yang et al. 2022, appendix B.3; Everett et al. 2024, section 4.3).

    Args:
        growth: of the parameter.
        decoupled: whether weight decay is apart from the gradient.
    """
    rate = 1 / (growth.fan_in * growth.multiplier * growth.branches)
    gradient = growth.multiplier / growth.fan_out
    return Factors(rate, (1 if decoupled else gradient) / rate, gradient)


def sgd_factors(growth: Growth) -> Factors:
    """For gradient descent, with or without momentum: a learning rate like fan-out / fan-in (Yang et al. 2022, table 3).

    A penalty keeps the share by which a step shrinks weights. There is no published rule for depth; what ends a branch is slowed as for Adam.
    """
    rate = growth.fan_out / (growth.fan_in * growth.multiplier**2 * growth.branches)
    return Factors(rate, 1 / rate)


def muon_factors(growth: Growth, longest: int, base_longest: int) -> Factors:
    """For Muon with updates of the spectral norm √longest: one like √(fan-out / fan-in) is wanted (Yang, Simon and Bernstein 2023, condition 1).

    Args:
        growth: of the parameter, a hidden matrix.
        longest: the longest side of the largest matrix that is orthogonalized by itself.
        base_longest: the same of the base.
    """
    wanted = math.sqrt(growth.fan_out / growth.fan_in) / (growth.multiplier * growth.branches)
    rate = wanted / math.sqrt(longest / base_longest)
    return Factors(rate, 1 / rate)


def initial_growth(fan_in: float, fan_out: float) -> float:
    """By how much an initial standard deviation grows: like √(1 / fan-in) · min(1, √(fan-out / fan-in)).

    Yang, Simon and Bernstein 2023, section 2.2, of the growth alone; it is 1 for input, 1/√n for hidden and 1/n for output weights (Yang et al.
    2022, table 3). A network smaller than its base is the base of its base.
    """
    if max(fan_in, fan_out) <= 1 and min(fan_in, fan_out) < 1:
        return 1 / initial_growth(1 / fan_in, 1 / fan_out)
    return math.sqrt(1 / fan_in) * min(1.0, math.sqrt(fan_out / fan_in))


def growths(network: nn.Module, base: nn.Module, shallow: nn.Module | None = None) -> dict[str, Growth]:
    """How each parameter of a network grew.

    Args:
        network: on the meta device.
        base: the network of the base's width and of this one's depth, likewise.
        shallow: the network of the base's width and depth; None where the depth is the same.

    Raises:
        InputError: the networks differ in more than their sizes.
    """
    known, start, end = _named(base), draws(base), draws(network)
    start, end = ({plain_name(name): draw for name, draw in drawn.items()} for drawn in (start, end))
    here = _named(network)
    if here.keys() != known.keys():
        other = min(here.keys() ^ known.keys())
        raise InputError(f"only one of the model and its base has the parameter {other}", expected="a base that differs in its sizes only")
    ending = {plain_name(name) for names in branch_ends(network).values() for name in names}
    depth, scale = (1.0, 1.0) if shallow is None else _deepening(network, base, shallow)
    multiplier = _multipliers(network, base)
    tables = {plain_name(name) for name in _tables(network)}
    found: dict[str, Growth] = {}
    for name, parameter in here.items():
        sizes = _fan_in(name, parameter, end.get(name), tables), _fan_in(name, known[name], start.get(name), tables)
        if parameter.dim() != known[name].dim():
            raise InputError(
                f"the parameter {name} has another number of dimensions in the base", expected="a base that differs in its sizes only"
            )
        fan_in = sizes[0] / sizes[1]
        fan_out = parameter.numel() / known[name].numel() / fan_in
        branches = depth if name in ending else 1.0
        times = multiplier.get(name, 1.0)
        initial = 1 / branches
        if name in end:
            wanted = initial_growth(fan_in, fan_out) / (times * branches) * (scale if name in ending else 1.0)
            initial = wanted * start[name].std / end[name].std
        # What is equal but for rounding is left as it is, to the bit.
        initial = 1.0 if math.isclose(initial, 1.0, rel_tol=1e-9) else initial
        found[name] = Growth(fan_in, fan_out, times, branches, initial, tuple(known[name].shape))
    return found


def _named(network: nn.Module) -> dict[str, nn.Parameter]:
    return {plain_name(name): parameter for name, parameter in network.named_parameters()}


def _tables(network: nn.Module) -> set[str]:
    """Names of the tables of embeddings, which are looked up by their first dimension."""
    return {f"{path}.weight" for path, module in network.named_modules() if isinstance(module, nn.Embedding)}


def _fan_in(name: str, parameter: Tensor, draw: Draw | None, tables: set[str]) -> int:
    """How many numbers are summed up with these weights: as their module says, or else as PyTorch lays weights out, (out, in, ...)."""
    if draw is not None:
        return draw.fan_in
    if name in tables:
        return parameter.shape[0]
    return math.prod(parameter.shape[1:]) if parameter.dim() >= 2 and not name.endswith("bias") else 1


def _multipliers(network: nn.Module, base: nn.Module) -> dict[str, float]:
    """How the factors of the forward pass grew."""
    here, there = (getattr(each, "multipliers", {}) for each in (network, base))
    return {plain_name(name): value / there.get(name, 1.0) for name, value in here.items()}


def _deepening(network: nn.Module, base: nn.Module, shallow: nn.Module) -> tuple[float, float]:
    """The factor of the number of residual branches, and that of the scale which the modules themselves give to what ends one, on the way back."""
    ends = [len(branch_ends(each)) for each in (network, shallow)]
    if not all(ends):
        return 1.0, 1.0
    scales = []
    for each in (shallow, base):
        drawn = draws(each)
        names = [name for found in branch_ends(each).values() for name in found if name in drawn]
        scales.append(drawn[names[0]].scale if names else 1.0)
    return ends[0] / ends[1], scales[0] / scales[1]
